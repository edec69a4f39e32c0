//! The door to chat: ask, attach, stop, drain.

use super::accepted::{Accepted, Refused};
use super::admission::{Admission, Place};
use super::asked::{Asked, What};
use super::commands::{Command, Commands};
use super::estimate::{Estimate, estimate};
use super::feed::Feed;
use super::follow::{Copies, Following};
use super::journal::Journal;
use super::live::LiveTurns;
use super::log::TurnLog;
use super::mirror::Mirror;
use super::open::{NotOpened, Order};
use super::registry::{Registry, SessionKey};
use super::replay::replay;
use super::session::Start;
use super::settle::Settlement;
use super::summary::Summaries;
use super::tend::tend;
use super::unsettled::Unsettled;
use crate::cluster::Cluster;
use crate::config::ChatSettings;
use crate::guard::Guard;
use crate::limiter::{Charge, Plans, RateLimiter};
use crate::llm::router::{Catalogue, Router};
use crate::llm::tokens;
use crate::retrieval::Retriever;
use crate::runtime::Tasks;
use crate::store::turns::{self, Turn};
use crate::store::{Db, DbError, nodes};
use crate::tools::Toolbox;
use crate::types::{ConversationId, Ctx, NodeId, Question, TurnId};
use sha2::{Digest, Sha256};
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// What a turn is estimated to use besides its question, for the rate limiter only.
const TYPICAL_TOKENS: u32 = 2_000;
/// How long taking leave may take.
const LEAVE: Duration = Duration::from_secs(2);

/// What chat is made of.
pub struct ChatParts {
    pub db: Db,
    pub cluster: Cluster,
    pub tasks: Tasks,
    pub node: NodeId,
    pub settings: ChatSettings,
    pub catalogue: Catalogue,
    pub router: Router,
    pub max_output_tokens: u32,
    pub retriever: Retriever,
    pub toolbox: Toolbox,
    pub guard: Guard,
    pub limiter: RateLimiter,
    pub plans: Plans,
}

/// The parts with the turns that live on them.
pub(super) struct Core {
    parts: ChatParts,
    pub(super) live: LiveTurns,
    pub(super) journal: Journal,
    pub(super) mirror: Mirror,
    pub(super) copies: Copies,
    pub(super) unsettled: Unsettled,
    pub(super) summaries: Summaries,
    admission: Arc<Admission>,
    /// When the database was last found away: other nodes, too, need time to come back.
    pub(super) failed_at: Mutex<Option<Instant>>,
    pub(super) events: Feed,
    /// This node has taken leave of the others: its lease is not renewed any more.
    left: CancellationToken,
}

impl Deref for Core {
    type Target = ChatParts;

    fn deref(&self) -> &ChatParts {
        &self.parts
    }
}

impl Core {
    /// Keeps a settlement in a file; false when even that fails.
    pub(super) async fn put_aside(self: &Arc<Self>, settlement: Settlement) -> bool {
        let core = Arc::clone(self);
        let saved = tokio::task::spawn_blocking(move || core.unsettled.save(&settlement)).await;
        match saved {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!(%error, "A turn can neither be settled nor be written to DATA_DIR");
                false
            }
            Err(_panicked) => false,
        }
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
    draining: CancellationToken,
}

impl Chat {
    /// Chat of this node.
    #[must_use]
    pub fn new(parts: ChatParts) -> Self {
        let core = Arc::new(Core {
            live: LiveTurns::default(),
            events: Feed::new(parts.node, parts.cluster.clone()),
            journal: Journal::new(parts.db.clone(), parts.node),
            mirror: Mirror::new(parts.cluster.clone()),
            copies: Copies::default(),
            unsettled: Unsettled::open(&parts.settings.data_dir),
            summaries: Summaries::default(),
            admission: Admission::new(parts.settings.max_turns),
            failed_at: Mutex::default(),
            left: parts.tasks.closing().child_token(),
            parts,
        });
        Self { core, registry: Arc::default(), draining: CancellationToken::new() }
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
        if !ctx.chats() {
            return Err(Refused::Forbidden);
        }
        let hash = fingerprint(&asked);
        if let Some(repeat) = self.find_repeat(ctx, &asked, &hash).await? {
            return Ok(repeat);
        }
        if self.draining() {
            return Err(Refused::Draining);
        }
        let limits = self.core.plans.limits_of(ctx.tenant).await?;
        let estimate = match asked.given() {
            Some(given) => tokens::count_messages(&given.messages),
            None => tokens::count(asked.question().map_or("", Question::as_str)),
        };
        let estimate = estimate.saturating_add(TYPICAL_TOKENS);
        let charge =
            self.core.limiter.admit(ctx, limits, estimate).await.map_err(Refused::RateLimited)?;
        let place = tokio::select! {
            place = self.core.admission.admit(ctx, limits) => place?,
            () = self.draining.cancelled() => return Err(Refused::Draining),
        };
        if self.draining() {
            return Err(Refused::Draining); // the drain waits for those who had a place before it
        }
        let order = Order::new(ctx, asked.clone(), hash.clone());
        match self.start(order, place, charge).await? {
            Ok(accepted) => Ok(accepted),
            Err(NotOpened::Refused(refused)) => Err(refused),
            Err(NotOpened::Repeat) => {
                self.find_repeat(ctx, &asked, &hash).await?.ok_or(Refused::TurnInProgress)
            }
        }
    }

    /// What this would cost, and whether it would be taken; nothing is started, held or counted.
    ///
    /// # Errors
    /// Where [`Chat::ask`] refuses, but for limits.
    pub async fn estimate(&self, ctx: Ctx, asked: Asked) -> Result<Estimate, Refused> {
        if !ctx.chats() {
            return Err(Refused::Forbidden);
        }
        estimate(&self.core, &Order::new(ctx, asked, Vec::new())).await
    }

    async fn start(
        &self,
        order: Order,
        place: Place,
        charge: Charge,
    ) -> Result<Result<Accepted, NotOpened>, Refused> {
        let key = SessionKey::new(order.ctx, order.conversation);
        let (reply, answer) = oneshot::channel();
        let near = Handle::current();
        let mut start = Start { order: Box::new(order), reply, place, charge, near };
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
        let conversation = turn.conversation_id;
        Ok(log.map(|log| Accepted { turn: turn.id, conversation, log, standing: None }))
    }

    /// What happens in users' conversations.
    #[must_use]
    pub fn events(&self) -> &Feed {
        &self.core.events
    }

    /// The log of a turn of this user: from memory, from the node that runs it, or from the database.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn attach(&self, ctx: Ctx, turn: TurnId) -> Result<Option<Arc<TurnLog>>, DbError> {
        let known = self.core.live.get(ctx, turn).map(|live| live.log);
        if let Some(log) = known.or_else(|| self.core.copies.get(ctx, turn)) {
            return Ok(Some(log));
        }
        let found = replay(&self.core.db, ctx, turn).await?;
        Ok(found.map(|(log, running)| if running { self.follow(ctx, log) } else { log }))
    }

    fn follow(&self, ctx: Ctx, log: Arc<TurnLog>) -> Arc<TurnLog> {
        let (db, cluster) = (self.core.db.clone(), self.core.cluster.clone());
        let following = Following { ctx, db, cluster, tasks: self.core.tasks.clone() };
        self.core.copies.follow(following, log)
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
            live.ends.stop.cancel();
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
        self.core.cluster.tell(found.owner, &Command::Stop(turn).encode());
        Ok(Some(Stopped::Stopping))
    }

    /// Forgets the logs of turns that quote a document which was deleted, and all ended ones here.
    pub fn forget(&self, quoting: &[TurnId]) {
        self.core.live.forget_ended();
        self.core.cluster.forget(quoting);
    }

    /// Registers this node, without which its turns would be taken for orphans, and begins to work
    /// with the others.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn join(&self) -> Result<(), DbError> {
        let mut tx = self.core.db.system().await?;
        nodes::renew(&mut tx, self.core.node).await?;
        tx.commit().await?;
        let tasks = &self.core.tasks;
        let commands = Commands(Arc::downgrade(&self.core));
        self.core.cluster.start(Box::new(commands), Box::new(self.core.events.clone())).await;
        let (core, closing) = (Arc::clone(&self.core), tasks.closing());
        tasks.spawn("turn-mirror", async move { core.mirror.run(closing).await });
        let (core, closing) = (Arc::clone(&self.core), tasks.closing());
        tasks.spawn("turn-journal", async move { core.journal.run(closing).await });
        let core = Arc::clone(&self.core);
        tasks.spawn("turn-lease", async move { tend(&core, core.left.clone()).await });
        Ok(())
    }

    /// Takes leave of the other nodes: what this one still runs is closed by them.
    pub async fn leave(&self) {
        self.core.left.cancel();
        drop(tokio::time::timeout(LEAVE, self.core.mirror.flush()).await);
        let left = async {
            let mut tx = self.core.db.system().await?;
            nodes::leave(&mut tx, self.core.node).await?;
            tx.commit().await
        };
        if !matches!(tokio::time::timeout(LEAVE, left).await, Ok(Ok(()))) {
            tracing::warn!("Could not take leave; this node's lease will run out");
        }
    }

    /// Takes no new turns from now on.
    pub fn begin_drain(&self) {
        self.draining.cancel();
    }

    /// True once [`Chat::begin_drain`] was called.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled by [`Chat::begin_drain`].
    #[must_use]
    pub fn drain(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Waits for running turns at most `patience`, then ends them as interrupted and waits until
    /// they are settled.
    pub async fn finish_turns(&self, patience: Duration) {
        let all_done = async {
            while !self.core.admission.is_idle() {
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
    // A repeat of the question that began a named conversation finds it there.
    let conversation = asked.conversation().filter(|_| asked.name().is_none());
    hash.update(conversation.map(ConversationId::uuid).unwrap_or_default());
    hash.update(asked.assistant.as_deref().unwrap_or_default());
    hash.update([0]);
    hash.update(asked.question().map_or("", Question::as_str));
    // No text has a NUL in it: what follows one is not text.
    if asked.draft {
        hash.update([0, 3]);
    }
    match &asked.what {
        What::Question { .. } => {}
        What::Named { name, .. } => hash.update([&[0, 4], name.as_str().as_bytes()].concat()),
        What::Edit { of, .. } => hash.update([&[0, 1], of.uuid().as_bytes().as_slice()].concat()),
        What::Regenerate { message, .. } => {
            hash.update([&[0, 2], message.uuid().as_bytes().as_slice()].concat());
        }
        What::Decision { approval, approved, .. } => {
            hash.update([0, 4, u8::from(*approved)]);
            hash.update(approval.uuid());
        }
        What::Given(_) => hash.update([0, 3]), // the wishes' is of the whole request
    }
    hash.update(&asked.wishes.fingerprint);
    hash.finalize().to_vec()
}
