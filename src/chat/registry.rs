//! Find or start the session actor of a conversation.

use super::service::Core;
use super::session::{Session, Start};
use crate::types::ConversationId;
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Waiting starts of one conversation. Full: the asker is refused as busy.
const MAILBOX: usize = 16;

/// The live sessions of this node.
#[derive(Default)]
pub(super) struct Registry {
    sessions: DashMap<ConversationId, mpsc::Sender<Start>>,
    cut: CancellationToken,
}

impl Registry {
    /// The mailbox of a conversation's actor, which is started if there is none.
    pub(super) fn open(
        self: &Arc<Self>,
        core: &Arc<Core>,
        conversation: ConversationId,
    ) -> mpsc::Sender<Start> {
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

    /// Forgets an actor that has closed its mailbox, and no younger one.
    pub(super) fn remove_closed(&self, conversation: ConversationId) {
        self.sessions.remove_if(&conversation, |_, mailbox| mailbox.is_closed());
    }

    /// Ends all running turns as interrupted.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}
