//! Ends what moves began, until the server closes: tenants whose last document has its new vectors are
//! switched, vectors that nobody needs are deleted. Every node looks; the rows say what is left.

use crate::documents::Mover;
use crate::runtime::Tasks;
use std::time::Duration;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Starts the loop.
pub fn run_moves(tasks: &Tasks, mover: Mover) {
    let closing = tasks.closing();
    tasks.spawn("embedding moves", async move {
        while closing.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            // A step that runs at shutdown is dropped; what it had not committed is done again.
            if let Some(Err(error)) = closing.run_until_cancelled(Box::pin(mover.round())).await {
                tracing::warn!(%error, "A move to another embedding model waits; trying again");
            }
        }
    });
}
