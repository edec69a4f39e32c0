//! Claiming jobs, keeping the lease while one runs, waking when one is queued here.

use crate::store::jobs::{self, ClaimedJob};
use crate::store::{Db, DbError};
use crate::types::NodeId;
use rand::RngExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a silent owner keeps a job, in seconds.
pub const LEASE_SECONDS: f64 = 15.0;
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The longest that a provider may ask for, in seconds.
const MOST_PATIENCE: f64 = 3600.0;
/// How often a node looks for jobs that other nodes queued or lost.
const POLL: Duration = Duration::from_secs(1);

/// The queue as one node sees it. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    db: Db,
    node: NodeId,
    queued: Arc<Notify>,
    /// This node takes no more.
    closed: Arc<AtomicBool>,
}

impl Queue {
    /// The queue of `node`.
    #[must_use]
    pub fn new(db: Db, node: NodeId) -> Self {
        Self { db, node, queued: Arc::default(), closed: Arc::default() }
    }

    /// The node whose leases these are.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Says that a job was committed, so that it starts at once.
    pub fn wake(&self) {
        self.queued.notify_one();
    }

    /// Waits for [`Queue::wake`] or the next poll.
    pub async fn wait(&self) {
        drop(tokio::time::timeout(POLL, self.queued.notified()).await);
    }

    /// Takes the next due job, if there is one; none after [`Queue::release_all`].
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn claim(&self) -> Result<Option<ClaimedJob>, DbError> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut tx = self.db.system().await?;
        let job = jobs::claim(&mut tx, self.node, LEASE_SECONDS).await?;
        tx.commit().await?;
        Ok(job)
    }

    /// Runs `work` while the lease is kept; `None` when the lease was lost, and the work dropped.
    pub async fn keep<T>(&self, job: &ClaimedJob, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.beat_until_lost(job) => None,
        }
    }

    async fn beat_until_lost(&self, job: &ClaimedJob) {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            match self.beat(job).await {
                Ok(true) => {}
                Ok(false) => return,
                // The lease may still hold; whether it does is checked when the result is committed.
                Err(error) => {
                    tracing::warn!(job.id = %job.id, %error, "A job's lease could not be renewed");
                }
            }
        }
    }

    async fn beat(&self, job: &ClaimedJob) -> Result<bool, DbError> {
        let mut tx = self.db.tenant(job.tenant_id).await?;
        let held = jobs::heartbeat(&mut tx, job, self.node, LEASE_SECONDS).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Back to the queue with `error`, when the job is still ours: due after a while, at least as long as a
    /// provider `asked` for.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn put_back(
        &self,
        job: &ClaimedJob,
        error: &str,
        asked: Option<Duration>,
    ) -> Result<(), DbError> {
        let mut tx = self.db.tenant(job.tenant_id).await?;
        if jobs::lock_owned(&mut tx, job, self.node).await? {
            let asked = asked.unwrap_or_default().as_secs_f64().min(MOST_PATIENCE);
            jobs::retry(&mut tx, job, error, backoff_seconds(job.attempts).max(asked)).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Gives back what this node holds: it shuts down. What it took while it was told so is given back by
    /// the second call, when its loops have ended.
    ///
    /// # Errors
    /// When the database cannot be asked; the leases then run out by themselves.
    pub async fn release_all(&self) -> Result<usize, DbError> {
        self.closed.store(true, Ordering::Relaxed);
        let mut tx = self.db.system().await?;
        let released = jobs::release_all(&mut tx, self.node).await?;
        tx.commit().await?;
        Ok(released)
    }
}

/// Seconds to wait after the nth failed attempt: 1, 4, 16, 64 … with up to half of it on top.
fn backoff_seconds(attempt: i32) -> f64 {
    let base = 4_f64.powi(attempt.clamp(1, 6) - 1);
    base * (1.0 + rand::rng().random_range(0.0..0.5))
}
