//! Housekeeping once a minute: cells, tickets, tokens, keys, logs and notices that nobody needs any more.

use crate::accounts::{KnownKeys, Login};
use crate::guard::Guard;
use crate::limiter::{Plans, RateLimiter};
use crate::llm::router::Catalogue;
use crate::runtime::Tasks;
use crate::store::{
    Db, DbError, conversations, exported, nodes, refresh_tokens, segments, turns, ws_tickets,
};
use crate::telemetry::MetricsPage;
use crate::tools::Toolbox;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(60);

/// What it cleans.
pub struct Janitor {
    pub db: Db,
    pub limiter: RateLimiter,
    pub plans: Plans,
    pub models: Catalogue,
    pub toolbox: Toolbox,
    pub guard: Guard,
    pub login: Login,
    pub keys: KnownKeys,
    pub metrics: MetricsPage,
    /// How long the logs of ended turns are kept.
    pub retention: Duration,
}

/// Starts the loop.
pub fn run_janitor(tasks: &Tasks, janitor: Janitor) {
    let closing = tasks.closing();
    tasks.spawn("janitor", async move {
        while closing.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            janitor.limiter.sweep();
            janitor.plans.sweep();
            janitor.models.sweep();
            janitor.toolbox.sweep();
            janitor.guard.sweep();
            janitor.login.sweep();
            janitor.keys.sweep();
            janitor.metrics.upkeep();
            if let Err(error) = janitor.forget_expired().await {
                tracing::warn!(%error, "What has expired could not be deleted; trying again");
            }
        }
    });
}

impl Janitor {
    /// Deletes the rows whose time is over.
    ///
    /// # Errors
    /// When the database cannot be asked; nothing was deleted then.
    pub async fn forget_expired(&self) -> Result<(), DbError> {
        let mut tx = self.db.system().await?;
        ws_tickets::delete_expired(&mut tx).await?;
        refresh_tokens::delete_expired(&mut tx).await?;
        segments::delete_old(&mut tx, self.retention.as_secs_f64()).await?;
        conversations::delete_passing(&mut tx, self.retention.as_secs_f64()).await?;
        turns::free_keys(&mut tx).await?;
        nodes::delete_gone(&mut tx).await?;
        exported::forget_old_notices(&mut tx).await?;
        tx.commit().await
    }
}
