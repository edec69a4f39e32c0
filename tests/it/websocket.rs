//! Chat over a WebSocket: who gets in, what is understood, and how it closes.

use crate::support::{Script, Socket, World, WorldOptions, joined_parts};
use futures_util::SinkExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_socket() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let offer = anna.offer().await;
    let mut socket = Socket::open(&anna.base, Some(&offer), &[]).await.unwrap();
    assert_eq!(socket.protocol.as_deref(), Some("docent.v1"), "the ticket is not said back");
    let ready = socket.next().await;
    assert_eq!((&ready["type"], ready["heartbeat_ms"].as_u64()), (&json!("ready"), Some(25_000)));
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await, json!({"type": "pong"}));
    let again = Socket::open(&anna.base, Some(&offer), &[]).await;
    assert_eq!(again.err(), Some(401), "a ticket is used up");
    let wrong = Socket::open(&anna.base, Some("docent.v1, ticket.wrong"), &[]).await;
    assert_eq!(wrong.err(), Some(401));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_can_say_who_it_is() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut socket = Socket::open(&anna.base, Some("docent.v1"), &[]).await.unwrap();
    assert_eq!(socket.protocol.as_deref(), Some("docent.v1"));
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.next().await["type"], "pong", "a watchdog needs no log-in");
    socket.send(json!({"type": "auth", "token": anna.token})).await;
    assert_eq!(socket.next().await["type"], "ready");
    assert_eq!(socket.ask("Hello?").await["type"], "accepted");
    assert_eq!(socket.turn().await.last().unwrap()["part"]["type"], "finish");
    // A new token of the same person is fine; another person needs another socket.
    socket.send(json!({"type": "auth", "token": anna.token})).await;
    assert_eq!(socket.next().await["type"], "ready");
    let ben = world.user("ben@acme.test").await;
    socket.send(json!({"type": "auth", "token": ben.token})).await;
    assert_eq!(socket.next().await["close"], 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_to_get_a_token() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for frame in [
        json!({"type": "auth", "token": "wrong"}),
        json!({"type": "auth", "token": anna.refresh_token}),
        json!({"type": "send", "text": "Hello?"}),
        json!({"type": "attach", "turn_id": "0190b8f0-0000-7000-8000-000000000000"}),
        json!({"type": "stop", "turn_id": "0190b8f0-0000-7000-8000-000000000000"}),
    ] {
        let mut socket = Socket::open(&anna.base, None, &[]).await.unwrap();
        socket.send(frame.clone()).await;
        let close = socket.next().await;
        assert_eq!(
            (&close["close"], &close["reason"]["reconnect"]),
            (&json!(4401), &json!(true)),
            "{frame}"
        );
    }
    assert_eq!(world.provider.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_pages_may_connect() {
    let allowed = ("ALLOWED_ORIGINS", "https://app.example.test".to_owned());
    let world =
        World::with(WorldOptions { settings: vec![allowed], ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    let own = anna.base.clone();
    let host = own.trim_start_matches("http://");
    for origin in [own.as_str(), "https://app.example.test", "HTTPS://APP.example.test"] {
        let offer = anna.offer().await;
        let opened = Socket::open(&anna.base, Some(&offer), &[("origin", origin)]).await;
        assert!(opened.is_ok(), "{origin}: {:?}", opened.err());
    }
    for origin in [
        "https://evil.test",
        "null",
        "",
        "https://app.example.test.evil.test",
        "http://app.example.test",
        "https://app.example.test:8443",
        &format!("http://{host}.evil.test"),
        &format!("http://evil.test/{host}"),
    ] {
        let offer = anna.offer().await;
        let opened = Socket::open(&anna.base, Some(&offer), &[("origin", origin)]).await;
        assert_eq!(opened.err(), Some(403), "{origin}");
    }
    anna.socket().await; // programs send no origin
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_of_ours_closes_with_its_code() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let raw = |bytes: &[u8]| {
        Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(Data::Text), true))
    };
    for (what, message, code) in [
        ("binary", Message::binary(b"{}".to_vec()), 1003),
        ("invalid UTF-8", raw(b"{\"type\": \"\xff\xfe\"}"), 1007),
        ("over 64 KiB", Message::text("x".repeat(64 * 1024 + 1)), 1009),
    ] {
        let mut socket = anna.socket().await;
        socket.stream.send(message).await.unwrap();
        let close = socket.next().await;
        assert_eq!(
            (&close["close"], &close["reason"]["reconnect"]),
            (&json!(code), &json!(false)),
            "{what}"
        );
    }
    let mut socket = anna.socket().await;
    let padded = format!("{{\"type\": \"ping\"{}}}", " ".repeat(64 * 1024 - 16));
    assert_eq!(padded.len(), 64 * 1024);
    socket.stream.send(Message::text(padded)).await.unwrap();
    assert_eq!(socket.next().await["type"], "pong", "64 KiB are taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_answered_and_the_socket_lives() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut socket = anna.socket().await;
    let id = "0190b8f0-0000-7000-8000-000000000000";
    for (frame, code, request, turn) in [
        ("{", "invalid_request", json!(null), json!(null)),
        ("[]", "invalid_request", json!(null), json!(null)),
        (r#"{"type": "dance", "request_id": "r"}"#, "invalid_request", json!("r"), json!(null)),
        (r#"{"type": "send", "request_id": "r"}"#, "invalid_request", json!("r"), json!(null)),
        (
            r#"{"type": "send", "request_id": "r", "text": " "}"#,
            "invalid_request",
            json!("r"),
            json!(null),
        ),
        (
            r#"{"type": "send", "request_id": "r", "text": "?", "assistant": "x"}"#,
            "not_found",
            json!("r"),
            json!(null),
        ),
        (
            &format!(r#"{{"type": "attach", "turn_id": "{id}"}}"#),
            "not_found",
            json!(null),
            json!(id),
        ),
        (&format!(r#"{{"type": "stop", "turn_id": "{id}"}}"#), "not_found", json!(null), json!(id)),
    ] {
        socket.stream.send(Message::text(frame.to_owned())).await.unwrap();
        let error = socket.next().await;
        assert_eq!(
            (&error["type"], &error["problem"]["code"]),
            (&json!("error"), &json!(code)),
            "{frame}"
        );
        assert_eq!((&error["request_id"], &error["turn_id"]), (&request, &turn), "{frame}");
    }
    assert_eq!(socket.ask("Hello?").await["type"], "accepted");
    assert_eq!(socket.turn().await.last().unwrap()["part"]["type"], "finish");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_turn_is_not_there() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(4, 2));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    stream.until_text("w1").await;
    let mut socket = world.user("ben@acme.test").await.socket().await;
    for kind in ["attach", "stop"] {
        socket.send(json!({"type": kind, "turn_id": stream.turn()})).await;
        assert_eq!(socket.next().await["problem"]["code"], "not_found", "{kind}");
    }
    world.provider.release();
    let events = stream.rest().await;
    assert_eq!(events[events.len() - 2].part()["type"], "finish", "it was not stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_a_turn_that_any_socket_watches() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (mut desk, mut phone) = (anna.socket().await, anna.socket().await);
    world.provider.next(Script::held(50, 3));
    let turn = desk.ask("Count.").await["turn_id"].clone();
    while desk.next().await["part"]["delta"] != "w2 " {}
    phone.send(json!({"type": "stop", "turn_id": turn})).await;
    world.provider.until_closed().await;
    assert_eq!(desk.turn().await.last().unwrap()["part"]["type"], "abort");
    // Stopping what has ended is no error: nothing comes but the answer to the ping.
    phone.send(json!({"type": "stop", "turn_id": turn})).await;
    phone.send(json!({"type": "ping"})).await;
    assert_eq!(phone.next().await["type"], "pong");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_turns_share_a_socket() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut socket = anna.socket().await;
    let (mut turns, mut seen) = (Vec::new(), BTreeMap::<String, Vec<Value>>::new());
    for request in ["left", "right"] {
        world.provider.next(Script::held(6, 3));
        socket.send(json!({"type": "send", "request_id": request, "text": request})).await;
    }
    let mut running = 2;
    while running > 0 {
        let frame = socket.next().await;
        match frame["type"].as_str() {
            Some("accepted") => turns.push(frame),
            Some("part") => {
                let turn = frame["turn_id"].as_str().unwrap().to_owned();
                let part = &frame["part"];
                running -= i32::from(part["type"] == "finish");
                let held = part["delta"] == "w2 ";
                seen.entry(turn).or_default().push(frame);
                let both = |frames: &Vec<Value>| frames.last().unwrap()["part"]["delta"] == "w2 ";
                if held && seen.len() == 2 && seen.values().all(both) {
                    world.provider.release(); // neither ends before both have begun
                    world.provider.release();
                }
            }
            _ => panic!("{frame}"),
        }
    }
    assert_ne!(turns[0]["conversation_id"], turns[1]["conversation_id"]);
    assert_ne!(turns[0]["request_id"], turns[1]["request_id"]);
    for turn in turns {
        let turn = turn["turn_id"].as_str().unwrap();
        let replay = anna.attach(turn, -1).await.answer().await;
        let parts = seen[turn].iter().map(|frame| frame["part"].clone());
        assert_eq!(joined_parts(parts), replay.parts());
        assert!(seen[turn].iter().enumerate().all(|(n, frame)| frame["offset"] == n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_says_goodbye_after_the_last_word() {
    let mut world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (mut busy, mut idle) = (anna.socket().await, anna.socket().await);
    world.provider.next(Script::held(6, 3));
    busy.ask("Count.").await;
    while busy.next().await["part"]["delta"] != "w2 " {}
    world.begin_shutdown();
    let refused = loop {
        let reply = idle.ask("Me, too?").await;
        if reply["type"] == "error" {
            break reply;
        }
        idle.turn().await; // asked before the server had heard of its shutdown
    };
    assert_eq!(refused["problem"]["code"], "unavailable");
    assert!(refused["problem"]["retry_after_ms"].is_u64());
    world.provider.release();
    assert_eq!(busy.turn().await.last().unwrap()["part"]["type"], "finish");
    for socket in [&mut busy, &mut idle] {
        let close = socket.next().await;
        assert_eq!((&close["close"], &close["reason"]["reconnect"]), (&json!(1012), &json!(true)));
        let wait = close["reason"]["reconnect_in_ms"].as_u64();
        assert!(wait.is_some_and(|ms| ms <= 3000), "not all at once: {close}");
    }
    world.stop().await;
}
