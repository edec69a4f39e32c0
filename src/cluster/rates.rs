//! Rates that hold for all nodes together: cells of the generic cell rate algorithm in Redis.
//!
//! A cell is one number, the time at which it would be empty again. All cells of a request are looked
//! at in one script, and either all are charged or none is.

use super::error::ClusterError;
use super::node::{Cluster, PROMPT};
use bb8_redis::redis::Script;
use std::sync::LazyLock;
use std::time::Duration;

/// What a full cell holds is what comes in so much time.
const WINDOW: Duration = Duration::from_secs(60);

/// KEYS: cells. ARGV: the window in µs, then for each cell its limit and the cost. Returns what is left
/// of each; or -1, which cell refused (from 1), and in how many µs it would not.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
         local now, window = time[1] * 1000000 + time[2], tonumber(ARGV[1])
         local full, left = {}, {}
         for i, key in ipairs(KEYS) do
           local limit, cost = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
           local at = math.max(tonumber(redis.call('GET', key) or 0), now)
           full[i] = at + window / limit * cost
           local early = full[i] - window - now
           if early > 0 then return {-1, i, math.ceil(early)} end
           left[i] = math.floor((window - (full[i] - now)) * limit / window)
         end
         for i, key in ipairs(KEYS) do
           redis.call('SET', key, string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000) + 1)
         end
         return left",
    )
});

/// A limit per minute, and what of it a request costs.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Whose it is, and of what.
    pub name: String,
    pub limit: u32,
    /// At most `limit`.
    pub cost: u32,
}

/// The answer of all cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// What is left of each.
    Left(Vec<u32>),
    /// The cell with this place refused: the same would be admitted after a while.
    Refused { place: usize, retry_after: Duration },
}

impl Cluster {
    /// Charges all cells, or none.
    ///
    /// # Errors
    /// `Away` without Redis: the caller has its own cells.
    pub async fn take(&self, cells: &[Cell]) -> Result<Taken, ClusterError> {
        let Some(shared) = &self.shared else { return Err(ClusterError::Away) };
        let mut take = TAKE.prepare_invoke();
        take.arg(u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX));
        for cell in cells {
            // Another limit is another cell: a changed plan begins with full ones.
            take.key(format!("docent:rate:{}:{}", cell.name, cell.limit));
            take.arg(cell.limit).arg(cell.cost);
        }
        let answer: Vec<i64> = shared.redis.script(&take, PROMPT).await?;
        Ok(match answer.as_slice() {
            [-1, place, micros] => Taken::Refused {
                place: usize::try_from(*place).unwrap_or(1).saturating_sub(1),
                retry_after: Duration::from_micros(u64::try_from(*micros).unwrap_or(0)),
            },
            left => Taken::Left(left.iter().map(|n| u32::try_from(*n).unwrap_or(0)).collect()),
        })
    }
}
