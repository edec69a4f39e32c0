//! Ingests documents, some at a time, until the server closes; and gives those of a tenant that moves to another
//! embedding model their new vectors.

use crate::documents::{Ingestor, Mover, Outcome};
use crate::runtime::Tasks;
use crate::store::jobs::ClaimedJob;
use std::time::Instant;

/// Starts `concurrency` loops.
pub fn run_ingestion(tasks: &Tasks, ingestor: &Ingestor, mover: &Mover, concurrency: usize) {
    for _ in 0..concurrency {
        let (ingestor, mover, closing) = (ingestor.clone(), mover.clone(), tasks.closing());
        tasks.spawn("ingestion", async move {
            // A job that runs at shutdown is dropped here and its lease given back.
            closing.run_until_cancelled(Box::pin(ingest_forever(ingestor, mover))).await;
        });
    }
}

async fn ingest_forever(ingestor: Ingestor, mover: Mover) {
    loop {
        match ingestor.queue.claim().await {
            Ok(Some(job)) => {
                match job.kind.as_str() {
                    "embed" => mover.run(&job).await,
                    _ => ingest(&ingestor, &job).await,
                }
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

async fn ingest(ingestor: &Ingestor, job: &ClaimedJob) {
    let started = Instant::now();
    let outcome = ingestor.run(job).await;
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
}
