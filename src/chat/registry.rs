//! Find or start the session actor of a conversation.

use super::service::ChatParts;
use super::session::{Command, Session};
use crate::types::{ConversationId, Ctx, TenantId, UserId};
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Waiting commands of one conversation. Full: the asker is refused as busy.
const MAILBOX: usize = 16;

/// Whose conversation: a stranger who names its id meets an actor of their own, which finds nothing,
/// and not the owner's, which would tell that it is there and could be kept busy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionKey {
    tenant: TenantId,
    user: UserId,
    conversation: ConversationId,
}

impl SessionKey {
    pub(super) fn new(ctx: Ctx, conversation: ConversationId) -> Self {
        Self { tenant: ctx.tenant, user: ctx.user, conversation }
    }
}

/// The live sessions of this node.
#[derive(Default)]
pub(super) struct Registry {
    sessions: DashMap<SessionKey, mpsc::Sender<Command>>,
    cut: CancellationToken,
}

impl Registry {
    /// The mailbox of a conversation's actor, which is started if there is none.
    pub(super) fn open(
        self: &Arc<Self>,
        parts: &Arc<ChatParts>,
        key: SessionKey,
    ) -> mpsc::Sender<Command> {
        let entry = self.sessions.entry(key);
        let fresh = || {
            let (sender, inbox) = mpsc::channel(MAILBOX);
            let session = Session {
                key,
                parts: Arc::clone(parts),
                registry: Arc::clone(self),
                inbox,
                cut: self.cut.clone(),
            };
            parts.tasks.spawn("session", session.run());
            sender
        };
        entry.or_insert_with(fresh).clone()
    }

    /// Called by the actor that ends.
    pub(super) fn remove(&self, key: SessionKey) {
        self.sessions.remove(&key);
    }

    /// Ends all running turns as interrupted.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}
