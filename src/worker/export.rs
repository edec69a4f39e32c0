//! Exports the ledger, each vendor in a loop of its own, until the server closes.

use crate::export::{Exporter, Round};
use crate::runtime::Tasks;

/// Starts the loop of an exporter.
pub fn run_exporter(tasks: &Tasks, exporter: Exporter) {
    let closing = tasks.closing();
    tasks.spawn("exporter", async move {
        // A request that runs at shutdown is dropped; what it was about is sent again.
        closing.run_until_cancelled(Box::pin(export_forever(&exporter))).await;
        if let Err(error) = exporter.release().await {
            tracing::warn!(%error, "An exporter's lease could not be given back");
        }
    });
}

async fn export_forever(exporter: &Exporter) {
    loop {
        let round = match exporter.measure().await {
            Ok(()) => exporter.round().await,
            Err(error) => Err(error),
        };
        match round {
            Ok(Round::Moved(_)) => continue,
            Ok(Round::Idle | Round::Held) => {}
            Err(error) => {
                let exporter = exporter.name();
                tracing::warn!(%error, exporter, "The ledger cannot be exported; trying again");
            }
        }
        tokio::time::sleep(exporter.pace().idle).await;
    }
}
