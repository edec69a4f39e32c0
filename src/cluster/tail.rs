//! One connection that waits for all streams this node listens to.
//!
//! What is read is handed to listeners at once, which only change memory: nothing is queued here. After
//! an outage reading goes on behind the last entry that was read, so nothing is missed that Redis
//! still has.

use super::error::ClusterError;
use super::redis::{Line, Redis};
use bb8_redis::redis::streams::{StreamKey, StreamReadReply};
use bb8_redis::redis::{Pipeline, Value, cmd};
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long one read waits for news.
const BLOCK: Duration = Duration::from_secs(1);
/// A read that is not answered by then never will be.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two attempts to reach Redis.
const PAUSE: Duration = Duration::from_millis(500);
/// Entries of one stream in one answer.
const COUNT: usize = 256;

/// Whether a listener wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    More,
    Done,
}

/// Somebody who reads a stream. Called on the one task that reads: it must not wait.
pub trait Listener: Send {
    /// An entry, in order.
    fn entry(&mut self, id: &str, payload: &[u8]) -> Next;

    /// False once nobody needs it any more.
    fn wanted(&self) -> bool {
        true
    }
}

struct Subscription {
    /// The id of the last entry that was read.
    after: String,
    listener: Box<dyn Listener>,
}

/// The listeners of this node.
pub(super) struct Tail {
    redis: Arc<Redis>,
    /// Written to make a waiting read look at `added`.
    inbox: String,
    added: Mutex<Vec<(String, Subscription)>>,
}

impl Tail {
    pub(super) fn new(redis: Arc<Redis>, inbox: String) -> Self {
        Self { redis, inbox, added: Mutex::default() }
    }

    /// Reads a stream from behind `after` on; a second listener of a stream replaces the first.
    pub(super) fn listen(&self, key: String, after: &str, listener: Box<dyn Listener>) {
        let subscription = Subscription { after: after.to_owned(), listener };
        self.added().push((key, subscription));
    }

    /// Makes new listeners heard now, and not when the read that waits has ended.
    pub(super) async fn wake(&self) {
        let mut pipe = Pipeline::new();
        pipe.cmd("XADD").arg(&self.inbox).arg("MAXLEN").arg("~").arg(100).arg("*");
        pipe.arg("p").arg("").ignore();
        // Redis is away: the reading begins with the new ones when it is back.
        drop(self.redis.run::<()>(&pipe, Duration::from_secs(1)).await);
    }

    fn added(&self) -> std::sync::MutexGuard<'_, Vec<(String, Subscription)>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads for as long as it is polled.
    pub(super) async fn run(&self) {
        let mut streams: HashMap<String, Subscription> = HashMap::new();
        let mut line = None;
        loop {
            streams.extend(mem::take(&mut *self.added()));
            streams.retain(|_, subscription| subscription.listener.wanted());
            match self.read(&mut line, &mut streams).await {
                Ok(Some(reply)) => {
                    reply.keys.into_iter().for_each(|stream| hand_out(stream, &mut streams));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "Streams cannot be read; trying again");
                    line = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn read(
        &self,
        line: &mut Option<Line>,
        streams: &mut HashMap<String, Subscription>,
    ) -> Result<Option<StreamReadReply>, ClusterError> {
        let line = match line {
            Some(line) => line,
            None => line.insert(self.redis.dedicated(ANSWER).await?),
        };
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(COUNT).arg("BLOCK").arg(BLOCK.as_millis().to_string()).arg("STREAMS");
        for key in streams.keys() {
            read.arg(key);
        }
        for subscription in streams.values_mut() {
            read.arg(&subscription.after);
        }
        Ok(read.query_async(&mut line.conn).await?)
    }
}

fn hand_out(stream: StreamKey, streams: &mut HashMap<String, Subscription>) {
    for entry in stream.ids {
        let Some(subscription) = streams.get_mut(&stream.key) else { return };
        let payload = match entry.map.get("p") {
            Some(Value::BulkString(bytes)) => bytes.as_slice(),
            _ => &[],
        };
        let next = subscription.listener.entry(&entry.id, payload);
        subscription.after = entry.id;
        if next == Next::Done {
            streams.remove(&stream.key);
        }
    }
}
