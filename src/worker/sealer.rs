//! The ledger's keeper: seals what was billed, a few times a second; turns the months, and checks the
//! books. Every node runs it, and one at a time does the work.

use crate::metering;
use crate::runtime::Tasks;
use crate::store::{Db, DbError};
use std::time::Duration;
use tokio::time::Instant;

/// Between two passes: while there is work, and when there was none.
const BUSY: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_secs(1);

/// How often months are looked after, and whether a check is due.
const UPKEEP: Duration = Duration::from_secs(60);

/// Seconds between two checks of the books.
const VERIFY_EVERY: f64 = 3600.0;

/// What it keeps.
#[derive(Clone)]
pub struct Sealer {
    pub db: Db,
    /// Months of the ledger that are kept; `None`: all.
    pub retention_months: Option<u32>,
}

/// Starts the loops: a check of the books must not hold up sealing.
pub fn run_sealer(tasks: &Tasks, sealer: Sealer) {
    let (closing, db) = (tasks.closing(), sealer.db.clone());
    tasks.spawn("sealer", async move {
        let mut pause = Duration::ZERO;
        while closing.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            pause = match metering::seal(&db).await {
                Ok(pass) if pass.more => Duration::ZERO,
                Ok(pass) if pass.rows > 0 => BUSY,
                Ok(_nothing) => IDLE,
                Err(error) => {
                    tracing::warn!(%error, "The ledger could not be sealed; trying again");
                    IDLE
                }
            };
        }
    });
    let closing = tasks.closing();
    tasks.spawn("ledger upkeep", async move {
        let mut next = Instant::now();
        while closing.run_until_cancelled(tokio::time::sleep_until(next)).await.is_some() {
            next = Instant::now() + UPKEEP;
            let upkeep = closing.run_until_cancelled(sealer.upkeep());
            if let Some(Err(error)) = upkeep.await {
                tracing::warn!(%error, "The ledger's upkeep did not succeed; trying again");
            }
        }
    });
}

impl Sealer {
    async fn upkeep(&self) -> Result<(), DbError> {
        metering::make_months(&self.db).await?;
        metering::close_months(&self.db).await?;
        if let Some(kept) = self.retention_months {
            metering::retain(&self.db, kept).await?;
        }
        metering::verify_on(&self.db, VERIFY_EVERY).await?;
        Ok(())
    }
}
