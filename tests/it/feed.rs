//! Two tabs of one person: each hears what happens in the other, and nobody else does.

use crate::support::{Script, Socket, World};
use serde_json::{Value, json};

/// The next event, which must be of this kind; returns what it says.
async fn hears(socket: &mut Socket, event: &str, wanted: &[(&str, &Value)]) -> Value {
    let (said, frame) = socket.event().await;
    assert_eq!(said, event, "{frame}");
    for (name, value) in wanted {
        assert_eq!(&&frame[*name], value, "{name} of {frame}");
    }
    frame
}

/// Nothing was said to this connection about conversations.
async fn heard_nothing(socket: &mut Socket) {
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.any().await, json!({"type": "pong"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_sees_what_another_tab_does() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut ben = world.user("ben@acme.test").await.socket().await;
    let mut elsewhere = world.user("anna@globex.test").await.socket().await;
    let mut nobody = Socket::open(&anna.base, None, &[]).await.unwrap();
    let (mut desk, mut phone) = (anna.socket().await, anna.socket().await);
    world.provider.next(Script::held(6, 3));
    let accepted = desk.ask("How does one count?").await;
    let (conversation, turn) = (&accepted["conversation_id"], &accepted["turn_id"]);
    let of_turn = [("conversation_id", conversation), ("turn_id", turn)];
    let title = json!("How does one count?");
    for socket in [&mut phone, &mut desk] {
        hears(socket, "created", &[("conversation_id", conversation), ("title", &title)]).await;
        hears(socket, "turn_started", &of_turn).await;
    }
    phone.send(json!({"type": "attach", "turn_id": turn})).await;
    world.provider.release();
    assert_eq!(desk.turn().await.last().unwrap()["part"]["type"], "finish");
    assert_eq!(phone.turn().await.last().unwrap()["part"]["type"], "finish");
    for socket in [&mut desk, &mut phone] {
        hears(socket, "turn_ended", &[of_turn[0], of_turn[1], ("state", &json!("complete"))]).await;
    }
    // Over HTTP it is the same, and the socket that is not asked by hears it, too.
    let path = format!("/v1/conversations/{}", conversation.as_str().unwrap());
    world.provider.next(Script::held(6, 3));
    let mut stream =
        anna.stream(json!({"conversation_id": conversation, "text": "And then?"})).await;
    let second = json!(stream.turn());
    for socket in [&mut desk, &mut phone] {
        hears(socket, "turn_started", &[of_turn[0], ("turn_id", &second)]).await;
    }
    stream.until_text("w2").await;
    assert_eq!(anna.stop(&stream.turn()).await, 202);
    assert_eq!(anna.patch(&path, json!({"title": "Counting"})).await.0, 200);
    for socket in [&mut desk, &mut phone] {
        // In any order: the turn ends when it has been billed.
        let mut seen = [socket.event().await, socket.event().await];
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        let [(renamed, named), (ended, end)] = &seen;
        assert_eq!((renamed.as_str(), ended.as_str()), ("renamed", "turn_ended"));
        assert_eq!(
            (&named["conversation_id"], &named["title"]),
            (conversation, &json!("Counting"))
        );
        assert_eq!((&end["turn_id"], &end["state"]), (&second, &json!("stopped")));
    }
    assert_eq!(anna.delete(&path).await.0, 204);
    for socket in [&mut desk, &mut phone] {
        hears(socket, "deleted", &[("conversation_id", conversation)]).await;
    }
    for stranger in [&mut ben, &mut elsewhere, &mut nobody] {
        if stranger.protocol.is_some() {
            heard_nothing(stranger).await;
        }
    }
    // One that says who it is in its first message hears what happens from then on.
    nobody.send(json!({"type": "auth", "token": anna.token})).await;
    assert_eq!(nobody.next().await["type"], "ready");
    heard_nothing(&mut nobody).await;
    let answer = anna.ask("Something else?").await;
    let frame = hears(&mut nobody, "created", &[]).await;
    assert_eq!(frame["conversation_id"], answer.conversation);
    heard_nothing(&mut ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_no_news() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut ben = world.user("ben@acme.test").await.socket().await;
    let mut socket = anna.socket().await;
    let theirs = anna.ask("Mine?").await.conversation;
    for event in ["created", "turn_started", "turn_ended"] {
        assert_eq!(socket.event().await.0, event);
    }
    let path = format!("/v1/conversations/{theirs}");
    let stranger = world.user("ben@acme.test").await;
    assert_eq!(stranger.patch(&path, json!({"title": "Mine"})).await.0, 404);
    assert_eq!(stranger.delete(&path).await.0, 404);
    let ask = json!({"text": "Hm?", "conversation_id": theirs});
    assert_eq!(stranger.refused(ask).await.0, 404);
    assert_eq!(anna.patch(&path, json!({"title": " "})).await.0, 400);
    assert_eq!(anna.refused(json!({"text": "Hm?", "assistant": "nobody"})).await.0, 404);
    heard_nothing(&mut ben).await;
    heard_nothing(&mut socket).await;
}
