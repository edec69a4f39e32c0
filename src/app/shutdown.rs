//! Shutting down in order. Each step has a deadline and says what it abandons.
//!
//! Readiness is off and new turns are refused at once; running turns finish within the drain
//! timeout, or are ended as interrupted, saved and billed; then sockets close with 1012, jobs go
//! back to the queue, and the listener stops: not before, as turns stream on its threads.

use super::build::Running;
use std::future::Future;
use std::time::Duration;

/// Time for the last frames to leave after a turn's end.
const LAST_FRAMES: Duration = Duration::from_millis(200);
const TASKS: Duration = Duration::from_secs(10);

pub(super) async fn drain(parts: &Running, hurry: impl Future<Output = ()>) {
    tracing::info!(timeout_s = parts.drain_timeout.as_secs(), "Shutting down: draining turns");
    parts.chat.begin_drain();
    tokio::select! {
        () = parts.chat.finish_turns(parts.drain_timeout) => {}
        () = hurry => {
            tracing::warn!("Asked again: not waiting for running turns");
            parts.chat.finish_turns(Duration::ZERO).await;
        }
    }
    tokio::time::sleep(LAST_FRAMES).await;
    parts.closing_sockets.cancel();
    release_jobs(parts).await;
    parts.chat.leave().await;
    tokio::time::sleep(LAST_FRAMES).await;
    parts.handle.stop(true).await;
    parts.tasks.close(TASKS).await;
    release_jobs(parts).await;
    tracing::info!("Shut down");
}

async fn release_jobs(parts: &Running) {
    if let Err(error) = parts.queue.release_all().await {
        tracing::warn!(%error, "Jobs could not be given back; their leases will run out");
    }
}
