//! The one way to start a background task.
//!
//! An actix worker owns a runtime of its own that dies with the listener, so nothing that must
//! outlive it may be spawned there: `Tasks` holds the main runtime's handle. A panic is
//! logged and counted, never silent. Deliberately absent: restarts; a task that must go on loops.

use std::future::Future;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Spawns named tasks on the main runtime. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    handle: Handle,
    tracker: TaskTracker,
    closing: CancellationToken,
}

impl Tasks {
    /// Captures the runtime this is called on: call it on the main one.
    #[must_use]
    pub fn current() -> Self {
        Self {
            handle: Handle::current(),
            tracker: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// Runs `future` to its end on the main runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let span = tracing::info_span!("task", task.name = name);
        let work = self.handle.spawn(future.instrument(span));
        self.handle.spawn(self.tracker.track_future(async move {
            if let Err(stop) = work.await
                && stop.is_panic()
            {
                metrics::counter!("docent_task_panics_total", "task" => name).increment(1);
                tracing::error!(task.name = name, "A background task panicked");
            }
        }))
    }

    /// Runs `future` on the main runtime and waits for it: for connections that must not belong to
    /// a worker's runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the place that spawns")]
    pub async fn on_main<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        self.handle.spawn(future).await
    }

    /// Runs `future` on another runtime and waits for it here: where its bytes come from and go to.
    ///
    /// # Errors
    /// When it panicked, or that runtime ended before it.
    #[expect(clippy::disallowed_methods, reason = "this is the place that spawns")]
    pub async fn on<T: Send + 'static>(
        &self,
        runtime: &Handle,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        runtime.spawn(future.in_current_span()).await
    }

    /// Says when background loops should end.
    #[must_use]
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Tells loops to end and waits at most `deadline` for every task; logs what it abandons.
    pub async fn close(&self, deadline: Duration) {
        self.closing.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks.abandoned = self.tracker.len(), "Gave up waiting for tasks");
        }
    }
}
