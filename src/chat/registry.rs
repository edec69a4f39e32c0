//! Find or start the session actor of a conversation.

use super::service::Core;
use super::session::{Command, Session};
use crate::types::ConversationId;
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Waiting commands of one conversation. Full: the asker is refused as busy.
const MAILBOX: usize = 16;

/// The live sessions of this node.
#[derive(Default)]
pub(super) struct Registry {
    sessions: DashMap<ConversationId, mpsc::Sender<Command>>,
    cut: CancellationToken,
}

impl Registry {
    /// The mailbox of a conversation's actor, which is started if there is none.
    pub(super) fn open(
        self: &Arc<Self>,
        core: &Arc<Core>,
        conversation: ConversationId,
    ) -> mpsc::Sender<Command> {
        let entry = self.sessions.entry(conversation);
        let fresh = || {
            let (sender, inbox) = mpsc::channel(MAILBOX);
            let session = Session {
                conversation,
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

    /// Called by the actor that ends.
    pub(super) fn remove(&self, conversation: ConversationId) {
        self.sessions.remove(&conversation);
    }

    /// Ends all running turns as interrupted.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}
