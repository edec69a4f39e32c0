//! What happens in a user's conversations, told to the user's open sockets on every node: a tab sees
//! what another tab does.

use crate::cluster::{Cluster, Listener, Next, Status};
use crate::types::{ConversationId, MessageId, NodeId, TenantId, TurnId, UserId};
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use utoipa::ToSchema;

/// Events that wait for one socket. Full: it is told that it missed some.
const WAITING: usize = 32;

/// Something that happened in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ConversationEvent {
    Created {
        conversation_id: ConversationId,
        title: String,
    },
    TurnStarted {
        conversation_id: ConversationId,
        turn_id: TurnId,
    },
    TurnEnded {
        conversation_id: ConversationId,
        turn_id: TurnId,
        /// complete, stopped or failed.
        state: String,
    },
    Renamed {
        conversation_id: ConversationId,
        title: String,
    },
    /// The user looks at another branch now.
    Branched {
        conversation_id: ConversationId,
        /// Its last message.
        message_id: MessageId,
    },
    Deleted {
        conversation_id: ConversationId,
    },
    /// There were more events than the socket took: read the list again.
    Missed,
}

type Person = (TenantId, UserId);

/// An event on its way to other nodes.
#[derive(Serialize, Deserialize)]
struct Letter {
    node: NodeId,
    tenant: TenantId,
    user: UserId,
    event: ConversationEvent,
}

/// The events of all users. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    node: NodeId,
    cluster: Cluster,
    people: Arc<DashMap<Person, Sender<Arc<str>>>>,
}

impl Feed {
    /// The feed of a node.
    #[must_use]
    pub fn new(node: NodeId, cluster: Cluster) -> Self {
        Self { node, cluster, people: Arc::default() }
    }

    /// Tells the user's sockets, on whichever node they are.
    pub fn publish(&self, tenant: TenantId, user: UserId, event: &ConversationEvent) {
        self.deliver(tenant, user, event);
        if self.cluster.status() != Status::Alone {
            let letter = Letter { node: self.node, tenant, user, event: event.clone() };
            self.cluster.publish(&serde_json::to_string(&letter).unwrap_or_default());
        }
    }

    /// Tells the user's sockets on this node. The event is encoded once, and only when somebody
    /// listens.
    fn deliver(&self, tenant: TenantId, user: UserId, event: &ConversationEvent) {
        if let Some(sockets) = self.people.get(&(tenant, user)) {
            // An error means that the last one is just leaving.
            drop(sockets.send(encode(event)));
        }
    }

    /// Listens to a user's events from now on.
    #[must_use]
    pub fn subscribe(&self, tenant: TenantId, user: UserId) -> Subscription {
        let person = (tenant, user);
        let sockets = self.people.entry(person).or_insert_with(|| broadcast::channel(WAITING).0);
        let events = Some(sockets.subscribe());
        drop(sockets);
        Subscription { feed: self.clone(), person, events }
    }
}

/// Passes on what happens on other nodes.
impl Listener for Feed {
    fn entry(&mut self, _id: &str, payload: &[u8]) -> Next {
        // What cannot be read is of a newer version.
        if let Ok(letter) = serde_json::from_slice::<Letter>(payload)
            && letter.node != self.node
        {
            self.deliver(letter.tenant, letter.user, &letter.event);
        }
        Next::More
    }
}

/// One listener; dropping it ends it.
pub struct Subscription {
    feed: Feed,
    person: Person,
    /// There until it is dropped.
    events: Option<Receiver<Arc<str>>>,
}

impl Subscription {
    /// The next event, as the frame that is sent. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Arc<str> {
        match &mut self.events {
            Some(events) => match events.recv().await {
                Ok(frame) => frame,
                Err(RecvError::Lagged(_)) => encode(&ConversationEvent::Missed),
                Err(RecvError::Closed) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.events = None;
        self.feed.people.remove_if(&self.person, |_, sockets| sockets.receiver_count() == 0);
    }
}

/// The frame, as docs/websocket.md has it.
fn encode(event: &ConversationEvent) -> Arc<str> {
    #[derive(Serialize)]
    struct Frame<'a> {
        r#type: &'static str,
        #[serde(flatten)]
        event: &'a ConversationEvent,
    }
    // Serialising our own enum into memory cannot fail.
    serde_json::to_string(&Frame { r#type: "conversation", event }).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_hears_their_own_events_and_is_told_what_they_missed() {
        let feed = Feed::new(NodeId::new(), Cluster::default());
        let (tenant, anna, ben) = (TenantId::new(), UserId::new(), UserId::new());
        let (mut desk, mut phone) = (feed.subscribe(tenant, anna), feed.subscribe(tenant, anna));
        let conversation_id = ConversationId::new();
        let renamed = ConversationEvent::Renamed { conversation_id, title: "\"A\"".into() };
        feed.deliver(tenant, ben, &ConversationEvent::Missed);
        feed.deliver(TenantId::new(), anna, &ConversationEvent::Missed);
        feed.deliver(tenant, anna, &renamed);
        let frame = desk.next().await;
        assert_eq!(
            &*frame,
            format!(
                r#"{{"type":"conversation","event":"renamed","conversation_id":"{conversation_id}","title":"\"A\""}}"#
            )
        );
        assert_eq!(serde_json::from_str::<ConversationEvent>(&frame).unwrap(), renamed);
        assert!(Arc::ptr_eq(&frame, &phone.next().await), "it is encoded once");
        for _ in 0..=WAITING {
            feed.deliver(tenant, anna, &renamed);
        }
        assert_eq!(&*phone.next().await, r#"{"type":"conversation","event":"missed"}"#);
        assert_eq!(phone.next().await, frame, "and then what is still there");
        drop((desk, phone));
        assert!(feed.people.is_empty(), "nobody is remembered who does not listen");
    }
}
