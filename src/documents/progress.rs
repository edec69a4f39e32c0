//! Tells who watches a document that something changed. Only a nudge: the state is in the database,
//! so that a missed nudge, or one on another node, costs a second and no truth.

use crate::types::DocumentId;
use std::time::Duration;
use tokio::sync::broadcast;

/// Nudges that a slow watcher may miss before it is told "look anyway".
const BACKLOG: usize = 256;
const POLL: Duration = Duration::from_secs(1);

/// The nudges of this node. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    sender: broadcast::Sender<DocumentId>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0 }
    }
}

impl Progress {
    /// Something changed.
    pub fn nudge(&self, document: DocumentId) {
        drop(self.sender.send(document)); // nobody may be watching
    }

    /// Watches one document.
    #[must_use]
    pub fn watch(&self, document: DocumentId) -> Watcher {
        Watcher { document, receiver: self.sender.subscribe() }
    }
}

/// Waits for nudges.
pub struct Watcher {
    document: DocumentId,
    receiver: broadcast::Receiver<DocumentId>,
}

impl Watcher {
    /// Returns when the document may have changed, at the latest after a second.
    pub async fn changed(&mut self) {
        let nudge = async {
            loop {
                match self.receiver.recv().await {
                    Ok(document) if document == self.document => return,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        drop(tokio::time::timeout(POLL, nudge).await);
    }
}
