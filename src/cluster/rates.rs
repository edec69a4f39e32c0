//! Rates of all nodes together: GCRA cells in Redis, each one number, the time in microseconds at
//! which it is full again. Redis' own clock is used, so the nodes' clocks do not matter; all cells of
//! a request are asked in one script, and either all are charged or none is.

use super::error::ClusterError;
use super::node::{Cluster, PROMPT};
use bb8_redis::redis::{Script, ScriptInvocation, cmd};
use std::sync::LazyLock;
use std::time::Duration;

/// What a full cell holds is what comes in so much time.
const WINDOW: Duration = Duration::from_secs(60);

/// KEYS: cells. ARGV: the window in µs, 1 if cells may refuse, then for each cell its limit and the
/// cost: negative to give back, 0 to ask. Returns which cell refused (from 1; 0: none did), and in how
/// many µs each will be full.
const TAKE: &str = "
    local time = redis.call('TIME')
    local now, window, ask = time[1] * 1000000 + time[2], tonumber(ARGV[1]), ARGV[2] == '1'
    local before, after, refused = {0}, {0}, 0
    for i, key in ipairs(KEYS) do
      local limit, cost = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
      local full = math.max(tonumber(redis.call('GET', key) or 0) - now, 0)
      before[i + 1] = math.floor(full)
      after[i + 1] = math.max(full + window / limit * cost, 0)
      if ask and cost > 0 and refused == 0 and after[i + 1] >= window + 1 then refused = i end
    end
    if refused > 0 then
      before[1] = refused
      return before
    end
    for i, key in ipairs(KEYS) do
      local full = after[i + 1]
      if ARGV[2 * i + 2] ~= '0' then
        redis.call('SET', key, string.format('%.0f', now + full), 'PX', math.ceil(full / 1000) + 1)
      end
      after[i + 1] = math.floor(full)
    end
    return after";

static TAKE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(TAKE));

/// A limit per minute, and what of it is taken.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Whose it is, and of what.
    pub name: String,
    pub limit: u32,
    /// At most `limit`; negative to give back.
    pub cost: i64,
}

/// The answer of all cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The place of the first cell that refused: nothing was charged then.
    pub refused: Option<usize>,
    /// How long it takes until each cell is full.
    pub until_full: Vec<Duration>,
}

impl Cluster {
    /// Charges all cells, or none; or only asks, where the cost is 0.
    ///
    /// # Errors
    /// `Away` without Redis: the caller has its own cells.
    pub async fn take(&self, cells: &[Cell]) -> Result<Taken, ClusterError> {
        let answer = self.run_script(cells, true).await?;
        let (refused, full) = answer.split_first().ok_or(ClusterError::Away)?;
        Ok(Taken {
            refused: usize::try_from(*refused).ok().and_then(|place| place.checked_sub(1)),
            until_full: full.iter().copied().map(Duration::from_micros).collect(),
        })
    }

    /// Charges all cells, and gives back where the cost is negative, whatever they hold.
    ///
    /// # Errors
    /// `Away` without Redis.
    pub async fn correct(&self, cells: &[Cell]) -> Result<(), ClusterError> {
        self.run_script(cells, false).await.map(drop)
    }

    /// The same, and nobody waits for it. Best effort: a cell is full again by itself.
    pub fn correct_soon(&self, cells: &[Cell]) {
        let mut eval = cmd("EVAL");
        let keys: Vec<String> = cells.iter().map(Cell::key).collect();
        let numbers = cells.iter().flat_map(|cell| [i64::from(cell.limit), cell.cost]);
        eval.arg(TAKE).arg(keys.len()).arg(keys).arg(window_micros()).arg(0);
        eval.arg(numbers.collect::<Vec<_>>());
        self.send(eval);
    }

    async fn run_script(&self, cells: &[Cell], ask: bool) -> Result<Vec<u64>, ClusterError> {
        let Some(shared) = &self.shared else { return Err(ClusterError::Away) };
        let mut take: ScriptInvocation<'_> = TAKE_SCRIPT.prepare_invoke();
        take.arg(window_micros()).arg(u8::from(ask));
        for cell in cells {
            take.key(cell.key()).arg(cell.limit).arg(cell.cost);
        }
        shared.redis.script(&take, PROMPT).await
    }
}

impl Cell {
    /// Another limit is another cell: a changed plan begins with full ones.
    fn key(&self) -> String {
        format!("docent:rate:{}:{}", self.name, self.limit)
    }
}

fn window_micros() -> u64 {
    u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX)
}
