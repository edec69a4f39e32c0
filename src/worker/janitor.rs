//! Housekeeping once a minute: cells, tickets, tokens and keys that nobody needs any more.

use crate::accounts::Login;
use crate::limiter::{Plans, RateLimiter};
use crate::runtime::Tasks;
use crate::store::{Db, DbError, refresh_tokens, turns, ws_tickets};
use crate::telemetry::MetricsPage;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(60);

/// Starts the loop.
pub fn run_janitor(
    tasks: &Tasks,
    db: Db,
    limiter: RateLimiter,
    plans: Plans,
    login: Login,
    metrics: MetricsPage,
) {
    let closing = tasks.closing();
    tasks.spawn("janitor", async move {
        while closing.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            limiter.sweep();
            plans.sweep();
            login.sweep();
            metrics.upkeep();
            if let Err(error) = forget_expired(&db).await {
                tracing::warn!(%error, "Expired tokens could not be deleted; trying again");
            }
        }
    });
}

async fn forget_expired(db: &Db) -> Result<(), DbError> {
    let mut tx = db.system().await?;
    ws_tickets::delete_expired(&mut tx).await?;
    refresh_tokens::delete_expired(&mut tx).await?;
    turns::free_keys(&mut tx).await?;
    tx.commit().await
}
