//! The door to chat: ask, attach, stop, drain.

use super::accepted::{Accepted, Asked, Refused};
use super::feed::Feed;
use super::live::LiveTurns;
use super::log::TurnLog;
use super::open::{NotOpened, Order};
use super::recovery::close_orphans;
use super::registry::{Registry, SessionKey};
use super::replay::replay;
use super::session::Start;
use crate::limiter::{Plans, RateLimiter};
use crate::llm::{ChatModel, tokens};
use crate::retrieval::Retriever;
use crate::runtime::Tasks;
use crate::store::turns::{self, Turn};
use crate::store::{Db, DbError, nodes};
use crate::types::{ConversationId, Ctx, NodeId, TurnId};
use sha2::{Digest, Sha256};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

/// What a turn is estimated to use besides its question, for the rate limiter only.
const TYPICAL_TOKENS: u32 = 2_000;
/// How often the lease is renewed, stops are looked for, and orphans are closed.
const TEND: Duration = Duration::from_millis(500);

/// What chat is made of.
pub struct ChatParts {
    pub db: Db,
    pub tasks: Tasks,
    pub node: NodeId,
    pub model: Arc<dyn ChatModel>,
    pub default_model: String,
    pub max_output_tokens: u32,
    pub retriever: Retriever,
    pub limiter: RateLimiter,
    pub plans: Plans,
}

/// The parts with the turns that live on them.
pub(super) struct Core {
    parts: ChatParts,
    pub(super) live: LiveTurns,
    pub(super) events: Feed,
}

impl Deref for Core {
    type Target = ChatParts;

    fn deref(&self) -> &ChatParts {
        &self.parts
    }
}

/// The answer to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It ends within moments.
    Stopping,
    /// It had ended before.
    AlreadyEnded,
}

/// Chat. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    core: Arc<Core>,
    registry: Arc<Registry>,
    draining: Arc<AtomicBool>,
}

impl Chat {
    /// Chat of this node.
    #[must_use]
    pub fn new(parts: ChatParts) -> Self {
        let core = Arc::new(Core { parts, live: LiveTurns::default(), events: Feed::default() });
        Self { core, registry: Arc::default(), draining: Arc::default() }
    }

    /// Starts a turn, or attaches to the one that the same idempotency key started. When this
    /// returns, the question is durable and the turn goes on without the caller.
    ///
    /// # Errors
    /// When it is refused: nothing was started then.
    pub async fn ask(&self, ctx: Ctx, asked: Asked) -> Result<Accepted, Refused> {
        let outcome = self.try_ask(ctx, asked).await;
        if outcome.is_err() {
            metrics::counter!("docent_turns_total", "outcome" => "refused").increment(1);
        }
        outcome
    }

    async fn try_ask(&self, ctx: Ctx, asked: Asked) -> Result<Accepted, Refused> {
        if !ctx.role.chats() {
            return Err(Refused::Forbidden);
        }
        let hash = fingerprint(&asked);
        if let Some(repeat) = self.find_repeat(ctx, &asked, &hash).await? {
            return Ok(repeat);
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refused::Draining);
        }
        let limits = self.core.plans.limits_of(ctx.tenant).await?;
        let estimate = tokens::count(asked.question.as_str()).saturating_add(TYPICAL_TOKENS);
        let headroom =
            self.core.limiter.admit(ctx, limits, estimate).map_err(Refused::RateLimited)?;
        let order = Order {
            ctx,
            turn: TurnId::new(),
            conversation: asked.conversation.unwrap_or_else(ConversationId::new),
            is_new: asked.conversation.is_none(),
            hash: hash.clone(),
            asked: asked.clone(),
        };
        match self.start(order).await? {
            Ok(accepted) => Ok(Accepted { headroom, ..accepted }),
            Err(NotOpened::Refused(refused)) => Err(refused),
            Err(NotOpened::Repeat) => {
                self.find_repeat(ctx, &asked, &hash).await?.ok_or(Refused::IdempotencyConflict)
            }
        }
    }

    async fn start(&self, order: Order) -> Result<Result<Accepted, NotOpened>, Refused> {
        let key = SessionKey::new(order.ctx, order.conversation);
        let (reply, answer) = oneshot::channel();
        let mut start = Start { order: Box::new(order), reply };
        // The actor may be ending just now; the one opened after it is not.
        for _ in 0..2 {
            match self.registry.open(&self.core, key).try_send(start) {
                Ok(()) => return answer.await.map_err(|_gone| Refused::Busy),
                Err(TrySendError::Full(_)) => return Err(Refused::Busy),
                Err(TrySendError::Closed(back)) => {
                    self.registry.remove_closed(key);
                    start = back;
                }
            }
        }
        Err(Refused::Busy)
    }

    async fn find_repeat(
        &self,
        ctx: Ctx,
        asked: &Asked,
        hash: &[u8],
    ) -> Result<Option<Accepted>, Refused> {
        let Some(key) = &asked.idempotency_key else { return Ok(None) };
        let mut tx = self.core.db.tenant(ctx.tenant).await?;
        let turn = Turn::find_by_key(&mut tx, ctx.tenant, ctx.user, key.as_str()).await?;
        tx.commit().await?;
        let Some(turn) = turn else { return Ok(None) };
        if turn.request_hash != hash {
            return Err(Refused::IdempotencyConflict);
        }
        let log = self.attach(ctx, turn.id).await?;
        Ok(log.map(|log| Accepted {
            turn: turn.id,
            conversation: turn.conversation_id,
            log,
            headroom: Vec::new(),
        }))
    }

    /// What happens in users' conversations.
    #[must_use]
    pub fn events(&self) -> &Feed {
        &self.core.events
    }

    /// The log of a turn of this user, from memory or from the database.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn attach(&self, ctx: Ctx, turn: TurnId) -> Result<Option<Arc<TurnLog>>, DbError> {
        match self.core.live.get(ctx, turn) {
            Some(live) => Ok(Some(live.log)),
            None => replay(&self.core.db, &self.core.tasks, ctx, turn).await,
        }
    }

    /// Stops a turn of this user; stopping it again changes nothing. `None`: no such turn.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn stop(&self, ctx: Ctx, turn: TurnId) -> Result<Option<Stopped>, DbError> {
        if let Some(live) = self.core.live.get(ctx, turn) {
            if live.log.ended() {
                return Ok(Some(Stopped::AlreadyEnded));
            }
            live.stop.cancel();
            return Ok(Some(Stopped::Stopping));
        }
        let mut tx = self.core.db.tenant(ctx.tenant).await?;
        let found = Turn::find(&mut tx, ctx.tenant, turn).await?;
        let Some(found) = found.filter(|turn| turn.user_id == ctx.user) else { return Ok(None) };
        if found.state != "running" {
            return Ok(Some(Stopped::AlreadyEnded));
        }
        turns::request_stop(&mut tx, ctx.tenant, turn).await?;
        tx.commit().await?;
        Ok(Some(Stopped::Stopping))
    }

    /// Forgets ended logs: a document that they may quote was deleted.
    pub fn forget_ended(&self) {
        self.core.live.forget_ended();
    }

    /// Registers this node; without it its turns would be taken for orphans.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn register(&self) -> Result<(), DbError> {
        let mut tx = self.core.db.system().await?;
        nodes::renew(&mut tx, self.core.node).await?;
        tx.commit().await
    }

    /// Keeps this node's lease and closes orphans, until `closing`.
    pub async fn keep_leases(&self) {
        let closing = self.core.tasks.closing();
        let mut tick = tokio::time::interval(TEND);
        while closing.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.tend().await {
                tracing::warn!(%error, "Turns could not be tended; trying again");
            }
        }
    }

    async fn tend(&self) -> Result<(), DbError> {
        self.core.live.sweep();
        let running = self.core.live.running();
        let mut tx = self.core.db.system().await?;
        nodes::renew(&mut tx, self.core.node).await?;
        let own = if running.is_empty() {
            Vec::new()
        } else {
            nodes::turns_of(&mut tx, self.core.node).await?
        };
        tx.commit().await?;
        own.iter().filter(|turn| turn.stop_requested).for_each(|turn| self.core.live.stop(turn.id));
        close_orphans(&self.core.db, &self.core.events).await?;
        Ok(())
    }

    /// Takes no new turns from now on.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True once [`Chat::begin_drain`] was called.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Waits for running turns at most `patience`, then ends them as interrupted and waits until
    /// they are settled.
    pub async fn finish_turns(&self, patience: Duration) {
        let all_done = async {
            while !self.core.live.running().is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::pin!(all_done);
        if tokio::time::timeout(patience, &mut all_done).await.is_err() {
            tracing::warn!(turns = self.core.live.running().len(), "Cutting turns short");
            self.registry.cut();
            drop(tokio::time::timeout(Duration::from_secs(10), all_done).await);
        }
    }
}

/// Of all that makes two requests the same.
fn fingerprint(asked: &Asked) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(asked.conversation.map(ConversationId::uuid).unwrap_or_default());
    hash.update(asked.assistant.as_deref().unwrap_or_default());
    hash.update([0]);
    hash.update(asked.question.as_str());
    hash.finalize().to_vec()
}
