//! Ingests documents, some at a time, until the server closes.

use crate::documents::{Ingestor, Outcome};
use crate::runtime::Tasks;
use std::time::Instant;

/// Starts `concurrency` loops.
pub fn run_ingestion(tasks: &Tasks, ingestor: &Ingestor, concurrency: usize) {
    for _ in 0..concurrency {
        let (ingestor, closing) = (ingestor.clone(), tasks.closing());
        tasks.spawn("ingestion", async move {
            // A job that runs at shutdown is dropped here and its lease given back.
            closing.run_until_cancelled(Box::pin(ingest_forever(ingestor))).await;
        });
    }
}

async fn ingest_forever(ingestor: Ingestor) {
    loop {
        match ingestor.queue.claim().await {
            Ok(Some(job)) => {
                let started = Instant::now();
                let outcome = ingestor.run(&job).await;
                let word = match outcome {
                    Outcome::Ready => "ready",
                    Outcome::Failed => "failed",
                    Outcome::Retrying => "retried",
                    Outcome::Abandoned => "abandoned",
                };
                metrics::counter!("docent_ingestions_total", "outcome" => word).increment(1);
                metrics::histogram!("docent_ingestion_seconds").record(started.elapsed());
                tracing::info!(document.id = %job.document_id, outcome = word,
                    elapsed_ms = started.elapsed().as_millis(), "Ingested a document");
                ingestor.queue.wake(); // there may be more: let another loop look too
            }
            Ok(None) => ingestor.queue.wait().await,
            Err(error) => {
                tracing::warn!(%error, "The job queue cannot be read; trying again");
                ingestor.queue.wait().await;
            }
        }
    }
}
