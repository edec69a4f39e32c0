//! The same walls around a WebSocket.

use super::{fingerprint, settled_in};
use crate::support::{Socket, World};
use serde_json::{Value, json};

/// What does not differ from one refusal to the next.
fn refusal(mut frame: Value) -> Value {
    assert_eq!(frame["type"], "error", "{frame}");
    assert_eq!(frame["problem"]["code"], "not_found", "{frame}");
    frame["problem"]["request_id"].take();
    frame["turn_id"].take();
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_ids_are_not_found_over_a_socket() {
    let world = World::start().await;
    let (anna, hers) = settled_in(&world, "anna@acme.test", "rosebud").await;
    let mut strangers = Vec::new();
    for email in ["eve@globex.test", "ben@acme.test"] {
        strangers.push(world.user(email).await.socket().await);
    }
    let before = fingerprint(&world.database).await;
    for socket in &mut strangers {
        let invented = uuid::Uuid::now_v7().to_string();
        for frame in [
            |turn: &str, _: &str| json!({"type": "attach", "turn_id": turn, "after": -1}),
            |turn: &str, _: &str| json!({"type": "stop", "turn_id": turn}),
            |_: &str, conversation: &str| json!({"type": "send", "request_id": "r", "conversation_id": conversation, "text": "?"}),
        ] {
            socket.send(frame(&hers.turn, &hers.conversation)).await;
            let foreign = refusal(socket.next().await);
            socket.send(frame(&invented, &invented)).await;
            assert_eq!(foreign, refusal(socket.next().await), "the two can be told apart");
        }
    }
    assert_eq!(before, fingerprint(&world.database).await, "nothing was changed");
    let mut own = anna.socket().await;
    own.send(json!({"type": "attach", "turn_id": hers.turn, "after": -1})).await;
    assert!(own.turn().await.len() > 3, "its owner may");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_socket() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (_, issued) = anna.post("/v1/ws-tickets", json!({})).await;
    let offer = format!("docent.v1, ticket.{}", issued["ticket"].as_str().unwrap());
    let mut first = Socket::open(&anna.base, Some(&offer), &[]).await.expect("101");
    assert_eq!(first.protocol.as_deref(), Some("docent.v1"), "the ticket is not repeated");
    assert_eq!(first.next().await["type"], "ready");
    assert_eq!(Socket::open(&anna.base, Some(&offer), &[]).await.err(), Some(401));
    assert_eq!(first.ask("Still there?").await["type"], "accepted", "the first is not harmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_sockets_with_one_ticket_one_opens() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (_, issued) = anna.post("/v1/ws-tickets", json!({})).await;
    let offer = format!("docent.v1, ticket.{}", issued["ticket"].as_str().unwrap());
    let open = (0..8).map(|_| Socket::open(&anna.base, Some(&offer), &[]));
    let opened = futures_util::future::join_all(open).await;
    assert_eq!(opened.iter().filter(|socket| socket.is_ok()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_waited_too_long_opens_nothing() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (_, issued) = anna.post("/v1/ws-tickets", json!({})).await;
    assert_eq!(issued["expires_in"], 30);
    world.database.run("UPDATE ws_tickets SET expires_at = expires_at - interval '30 s'").await;
    let offer = format!("docent.v1, ticket.{}", issued["ticket"].as_str().unwrap());
    assert_eq!(Socket::open(&anna.base, Some(&offer), &[]).await.err(), Some(401));
    for invented in ["wt_", "wt_AAAA", "x", ""] {
        let offer = format!("docent.v1, ticket.{invented}");
        assert_eq!(Socket::open(&anna.base, Some(&offer), &[]).await.err(), Some(401));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_for_a_socket_that_has_not_said_who_it_is() {
    let world = World::start().await;
    let (anna, hers) = settled_in(&world, "anna@acme.test", "rosebud").await;
    let mut nobody = Socket::open(&anna.base, Some("docent.v1"), &[]).await.expect("101");
    nobody.send(json!({"type": "attach", "turn_id": hers.turn, "after": -1})).await;
    let refused = nobody.next().await;
    let no = refused["close"] == 4401 || refused["problem"]["code"] == "unauthenticated";
    assert!(no, "{refused}");
    assert_eq!(world.provider.calls(), 1);
}
