//! Connections to Redis that notice when it is gone.
//!
//! A pool that hands out dead sockets, or waits half a minute for a live one, would turn an outage
//! of Redis into an outage of chat. A connection that failed once is not used again, everything has a
//! deadline, and after a failure nobody tries for a moment.

use super::error::ClusterError;
use crate::runtime::Tasks;
use bb8_redis::bb8::{ManageConnection, Pool};
use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{
    AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError, ScriptInvocation, cmd,
};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a connection may take to be made, or a caller may wait for one.
const ACQUIRE: Duration = Duration::from_millis(250);
/// After a failure, nobody tries for this long.
const PAUSE: Duration = Duration::from_millis(500);
/// Each is shared by many callers at a time, so few are enough.
const CONNECTIONS: u32 = 4;

/// A connection, and whether it ever failed.
pub(super) struct Line {
    pub(super) conn: MultiplexedConnection,
    broken: bool,
}

/// Makes connections, on the main runtime: on a worker's they would die with it.
#[derive(Clone)]
pub(super) struct Manager {
    client: Client,
    tasks: Tasks,
}

impl Manager {
    pub(super) async fn connect_for(&self, answer: Duration) -> Result<Line, RedisError> {
        let client = self.client.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ACQUIRE))
            .set_response_timeout(Some(answer));
        let connecting =
            async move { client.get_multiplexed_async_connection_with_config(&config).await };
        let conn = self.tasks.on_main(connecting).await;
        let conn = conn.map_err(|stopping| io::Error::other(stopping.to_string()))??;
        Ok(Line { conn, broken: false })
    }
}

impl ManageConnection for Manager {
    type Connection = Line;
    type Error = RedisError;

    async fn connect(&self) -> Result<Line, RedisError> {
        self.connect_for(Duration::from_secs(5)).await // callers have shorter deadlines of their own
    }

    async fn is_valid(&self, line: &mut Line) -> Result<(), RedisError> {
        cmd("PING").query_async(&mut line.conn).await
    }

    fn has_broken(&self, line: &mut Line) -> bool {
        line.broken
    }
}

/// The pool with its breaker.
pub(super) struct Redis {
    pool: Pool<Manager>,
    manager: Manager,
    since: Instant,
    /// Milliseconds after `since` until which nobody tries; 0 while all is well.
    away_until: AtomicU64,
}

impl Redis {
    pub(super) fn new(url: &str, tasks: &Tasks) -> Result<Self, ClusterError> {
        let client = Client::open(url).map_err(|error| ClusterError::Url(error.to_string()))?;
        let manager = Manager { client, tasks: tasks.clone() };
        let pool = Pool::builder()
            .max_size(CONNECTIONS)
            .connection_timeout(ACQUIRE)
            .retry_connection(false)
            .test_on_check_out(false) // a round trip per use; a dead one is seen by its failure
            .build_unchecked(manager.clone());
        Ok(Self { pool, manager, since: Instant::now(), away_until: AtomicU64::new(0) })
    }

    /// A connection of its own, for commands that wait in the server for up to `answer`.
    pub(super) async fn dedicated(&self, answer: Duration) -> Result<Line, ClusterError> {
        Ok(self.manager.connect_for(answer).await?)
    }

    /// True until something failed, and again once something worked.
    pub(super) fn healthy(&self) -> bool {
        self.away_until.load(Ordering::Relaxed) == 0
    }

    /// Asks whether it is there and takes writes: one that is full answers, and is of no use.
    pub(super) async fn check(&self, deadline: Duration) -> Result<(), ClusterError> {
        let mut pipe = Pipeline::new();
        pipe.cmd("SET").arg("docent:check").arg(1).arg("EX").arg(60).ignore();
        self.run(&pipe, deadline).await
    }

    /// Remembers that it refused a command.
    pub(super) fn refused(&self, error: RedisError) -> ClusterError {
        let error = ClusterError::from(error);
        self.failed(&error);
        error
    }

    /// Sends commands in one round trip.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        pipe: &Pipeline,
        deadline: Duration,
    ) -> Result<T, ClusterError> {
        self.guarded(deadline, async |line: &mut Line| pipe.query_async(&mut line.conn).await).await
    }

    /// Runs a script.
    pub(super) async fn script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        deadline: Duration,
    ) -> Result<T, ClusterError> {
        let work = async |line: &mut Line| script.invoke_async(&mut line.conn).await;
        self.guarded(deadline, work).await
    }

    async fn guarded<T>(
        &self,
        deadline: Duration,
        work: impl AsyncFnOnce(&mut Line) -> Result<T, RedisError>,
    ) -> Result<T, ClusterError> {
        let now = self.millis();
        if now < self.away_until.load(Ordering::Relaxed) {
            return Err(ClusterError::Away);
        }
        let outcome = async {
            let mut line = self.pool.get().await?;
            match tokio::time::timeout(deadline, work(&mut line)).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(error)) => {
                    line.broken = error.is_unrecoverable_error() || error.is_timeout();
                    Err(ClusterError::from(error))
                }
                Err(_late) => {
                    line.broken = true;
                    Err(ClusterError::Timeout)
                }
            }
        };
        let outcome = outcome.await;
        match &outcome {
            Ok(_) => self.came_back(),
            Err(error) => self.failed(error),
        }
        outcome
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn came_back(&self) {
        if self.away_until.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("Redis is back");
        }
    }

    fn failed(&self, error: &ClusterError) {
        let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
        let until = self.millis().saturating_add(pause).max(1);
        metrics::counter!("docent_redis_failures_total").increment(1);
        if self.away_until.swap(until, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "Redis is away; going on without it");
        }
    }
}
