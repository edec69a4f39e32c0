//! This node among the others.

use super::error::ClusterError;
use super::redis::Redis;
use super::seats::keep_seats;
use super::stream::{Run, Writer, end_of, is_fenced, log_key};
use super::tail::{Listener, Tail};
use crate::runtime::Tasks;
use crate::types::{NodeId, Secret, TurnId};
use bb8_redis::redis::streams::StreamRangeReply;
use bb8_redis::redis::{Cmd, Pipeline, RedisError, RedisResult, Value, cmd};
use bytes::Bytes;
use dashmap::DashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Every node reads it; each event is for the nodes that know the user.
const EVENTS: &str = "docent:events";
const KEPT_EVENTS: usize = 1_000;
/// Commands and events that wait to be sent.
const OUTBOX: usize = 1_024;
const KEPT_COMMANDS: usize = 1_000;
const INBOX_EXPIRY: Duration = Duration::from_secs(3_600);
/// Of work that nobody waits for.
const PATIENT: Duration = Duration::from_secs(2);
/// Of work that a client waits for.
pub(super) const PROMPT: Duration = Duration::from_millis(250);

/// How this node stands to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No `REDIS_URL`: nodes meet in PostgreSQL only.
    Alone,
    Connected,
    /// Redis does not answer.
    Away,
}

/// The other nodes, reached through Redis. Cheap to clone.
#[derive(Clone, Default)]
pub struct Cluster {
    pub(super) shared: Option<Arc<Shared>>,
}

pub(super) struct Shared {
    node: NodeId,
    pub(super) redis: Arc<Redis>,
    tail: Arc<Tail>,
    outbox: mpsc::Sender<Cmd>,
    /// What this node holds, with the set it is in.
    pub(super) seats: DashMap<Uuid, String>,
    pub(super) tasks: Tasks,
}

impl Cluster {
    /// Joins the nodes that meet at `url`. Redis may be away: it is tried for as long as this node
    /// lives.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn join(url: &Secret, node: NodeId, tasks: &Tasks) -> Result<Self, ClusterError> {
        let redis = Arc::new(Redis::new(url.expose(), tasks)?);
        let tail = Arc::new(Tail::new(Arc::clone(&redis), inbox(node)));
        // Full: Redis has been away for a while, and what is sent is best effort.
        let (outbox, unsent) = mpsc::channel(OUTBOX);
        let (seats, tasks) = (DashMap::new(), tasks.clone());
        let shared = Arc::new(Shared { node, redis, tail, outbox, seats, tasks });
        let closing = shared.tasks.closing();
        let sending = send_all(Arc::clone(&shared.redis), unsent);
        shared.tasks.spawn("cluster-outbox", async move {
            closing.run_until_cancelled(sending).await;
        });
        Ok(Self { shared: Some(shared) })
    }

    /// Begins to listen to commands for this node, and to the events of all nodes from now on.
    pub async fn start(&self, commands: Box<dyn Listener>, events: Box<dyn Listener>) {
        let Some(shared) = self.shared.clone() else { return };
        shared.tail.listen(inbox(shared.node), "0", commands);
        let newest = shared.newest_event().await;
        let (holder, closing) = (Arc::clone(&shared), shared.tasks.closing());
        shared.tasks.spawn("cluster-seats", async move {
            closing.run_until_cancelled(keep_seats(&holder)).await;
        });
        let closing = shared.tasks.closing();
        shared.tasks.clone().spawn("cluster-tail", async move {
            let work = async {
                let newest = match newest {
                    Ok(newest) => newest,
                    Err(_away) => shared.await_newest_event().await,
                };
                shared.tail.listen(EVENTS.into(), &newest, events);
                shared.tail.run().await;
            };
            closing.run_until_cancelled(work).await;
        });
    }

    /// Whether Redis is used, and there.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.shared {
            None => Status::Alone,
            Some(shared) if shared.redis.healthy() => Status::Connected,
            Some(_) => Status::Away,
        }
    }

    /// Asks Redis now: a node without traffic would not notice.
    pub async fn check(&self) -> Status {
        if let Some(shared) = &self.shared {
            drop(shared.redis.check(PROMPT).await); // remembered in the status
        }
        self.status()
    }

    /// Appends to logs, in one round trip. What is there already, or was written by a closer, is
    /// left as it is: that is no error.
    ///
    /// # Errors
    /// When Redis did not take all of it; the same can be sent again.
    pub async fn append(&self, runs: &[Run]) -> Result<(), ClusterError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        if runs.is_empty() {
            return Ok(());
        }
        let mut pipe = Pipeline::new();
        runs.iter().for_each(|run| run.append(&mut pipe));
        shared.replies(&mut pipe).await.map(drop)
    }

    /// Keeps the owner of a turn from writing any more, and reads what it wrote.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn take_over(&self, turn: TurnId) -> Result<Vec<Run>, ClusterError> {
        let Some(shared) = &self.shared else { return Ok(Vec::new()) };
        let fence = Run { turn, writer: Writer::Closer, end: 0, lines: Bytes::new(), last: true };
        let mut pipe = Pipeline::new();
        fence.append(&mut pipe);
        pipe.cmd("XRANGE").arg(log_key(turn)).arg("-").arg("+");
        let Some(Ok(read)) = shared.replies(&mut pipe).await?.pop() else { return Ok(Vec::new()) };
        let range: StreamRangeReply =
            bb8_redis::redis::from_redis_value(read).map_err(RedisError::from)?;
        let run = |entry: bb8_redis::redis::streams::StreamId| Run {
            turn,
            writer: Writer::Owner,
            end: end_of(&entry.id),
            lines: Bytes::from(entry.get::<Vec<u8>>("p").unwrap_or_default()),
            last: false,
        };
        Ok(range.ids.into_iter().map(run).filter(|run| !run.lines.is_empty()).collect())
    }

    /// Follows a turn's log from its beginning, as far as Redis has it; nothing without Redis.
    pub fn listen(&self, turn: TurnId, listener: Box<dyn Listener>) {
        let Some(shared) = self.shared.clone() else { return };
        shared.tail.listen(log_key(turn), "0", listener);
        shared.tasks.clone().spawn("cluster-wake", async move { shared.tail.wake().await });
    }

    /// Sends a command to a node. Best effort: who needs it done has it in PostgreSQL, too.
    pub fn tell(&self, node: NodeId, command: &str) {
        let key = inbox(node);
        let mut expire = cmd("EXPIRE");
        expire.arg(&key).arg(INBOX_EXPIRY.as_secs());
        self.send(post(&key, KEPT_COMMANDS, command));
        self.send(expire);
    }

    /// Tells all nodes, this one as well. Best effort.
    pub fn publish(&self, event: &str) {
        self.send(post(EVENTS, KEPT_EVENTS, event));
    }

    /// Tells whoever follows this channel, on all nodes. Best effort.
    pub fn post(&self, channel: &str, payload: &str) {
        let key = channel_key(channel);
        let mut expire = cmd("EXPIRE");
        expire.arg(&key).arg(INBOX_EXPIRY.as_secs());
        self.send(post(&key, KEPT_COMMANDS, payload));
        self.send(expire);
    }

    /// Follows a channel, from the oldest that is still there; nothing without Redis.
    pub fn follow(&self, channel: &str, listener: Box<dyn Listener>) {
        if let Some(shared) = &self.shared {
            shared.tail.listen(channel_key(channel), "0", listener);
        }
    }

    /// Deletes the copies of logs. Best effort: they expire by themselves.
    pub fn forget(&self, turns: &[TurnId]) {
        if turns.is_empty() {
            return;
        }
        let mut delete = cmd("DEL");
        for turn in turns {
            delete.arg(log_key(*turn));
        }
        self.send(delete);
    }

    /// In the order of the calls.
    pub(super) fn send(&self, command: Cmd) {
        if let Some(shared) = &self.shared
            && shared.outbox.try_send(command).is_err()
        {
            metrics::counter!("docent_cluster_dropped_total").increment(1);
        }
    }
}

/// An entry for a stream.
fn post(key: &str, kept: usize, payload: &str) -> Cmd {
    let mut command = cmd("XADD");
    command.arg(key).arg("MAXLEN").arg("~").arg(kept).arg("*").arg("p").arg(payload);
    command
}

impl Shared {
    /// Of each command; the fence is the only refusal that is none.
    async fn replies(&self, pipe: &mut Pipeline) -> Result<Vec<RedisResult<Value>>, ClusterError> {
        pipe.ignore_errors();
        let mut replies: Vec<RedisResult<Value>> = self.redis.run(pipe, PATIENT).await?;
        let refused = replies.iter().position(|reply| reply.is_err() && !is_fenced(reply));
        match refused.map(|place| replies.swap_remove(place)) {
            Some(Err(error)) => Err(self.redis.refused(error)),
            _ => Ok(replies),
        }
    }

    /// The id of the last event there is.
    async fn newest_event(&self) -> Result<String, ClusterError> {
        let mut pipe = Pipeline::new();
        pipe.cmd("XREVRANGE").arg(EVENTS).arg("+").arg("-").arg("COUNT").arg(1);
        let (range,): (StreamRangeReply,) = self.redis.run(&pipe, PATIENT).await?;
        Ok(range.ids.into_iter().next().map_or_else(|| "0".into(), |entry| entry.id))
    }

    /// The same, as soon as Redis can be asked.
    async fn await_newest_event(&self) -> String {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if let Ok(newest) = self.newest_event().await {
                return newest;
            }
        }
    }
}

/// Sends what comes, many at once when they come fast. What Redis does not take is lost; that was
/// counted and logged where it failed.
async fn send_all(redis: Arc<Redis>, mut unsent: mpsc::Receiver<Cmd>) {
    let mut commands = Vec::new();
    while unsent.recv_many(&mut commands, OUTBOX).await > 0 {
        let mut pipe = Pipeline::new();
        pipe.ignore_errors();
        for command in commands.drain(..) {
            pipe.add_command(command);
        }
        drop(redis.run::<Vec<RedisResult<Value>>>(&pipe, PATIENT).await);
    }
}

fn channel_key(channel: &str) -> String {
    format!("docent:channel:{channel}")
}

fn inbox(node: NodeId) -> String {
    format!("docent:node:{node}")
}
