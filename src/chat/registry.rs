//! Find or start the session actor of a conversation.

use super::service::Core;
use super::session::{Session, Start};
use crate::types::{ConversationId, Ctx, TenantId, UserId};
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Waiting starts of one conversation. Full: the asker is refused as busy.
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
    sessions: DashMap<SessionKey, mpsc::Sender<Start>>,
    cut: CancellationToken,
}

impl Registry {
    /// The mailbox of a conversation's actor, which is started if there is none.
    pub(super) fn open(self: &Arc<Self>, core: &Arc<Core>, key: SessionKey) -> mpsc::Sender<Start> {
        let entry = self.sessions.entry(key);
        let fresh = || {
            let (sender, inbox) = mpsc::channel(MAILBOX);
            let session = Session {
                key,
                core: Arc::clone(core),
                registry: Arc::clone(self),
                inbox,
                cut: self.cut.clone(),
            };
            core.tasks.spawn("session", session.run());
            sender
        };
        entry.or_insert_with(fresh).clone()
    }

    /// Forgets an actor that has closed its mailbox, and no younger one.
    pub(super) fn remove_closed(&self, key: SessionKey) {
        self.sessions.remove_if(&key, |_, mailbox| mailbox.is_closed());
    }

    /// Ends all running turns as interrupted.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}
