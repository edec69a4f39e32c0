//! Leaving and coming back: a turn does not care who watches, and every reader sees the same bytes.

use crate::support::{
    Event, Script, Step, Stream, User, World, WorldOptions, joined, joined_parts,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Rejoins with the header a browser sends.
async fn with_last_event_id(user: &User, turn: &str, id: &str) -> Stream {
    let path = format!("/v1/turns/{turn}/stream");
    let request = user.request(Method::GET, &path).header("last-event-id", id);
    Stream::new(request.send().await.unwrap())
}

/// Joins after each offset of `all`, both ways, and must read what follows there.
async fn resumes_everywhere(user: &User, turn: &str, all: &[Event]) {
    for (n, left) in all.iter().enumerate() {
        let after = i64::try_from(n).unwrap() - 1;
        let rest = user.attach(turn, after).await.rest().await;
        assert_eq!(rest, all[n..], "after {after}");
        if let Some(id) = &left.id {
            assert_eq!(with_last_event_id(user, turn, id).await.rest().await, all[n + 1..], "{id}");
        }
    }
    let last = &all[all.len() - 2..];
    let beyond = user.attach(turn, 9_999).await.rest().await;
    assert_eq!(beyond, last, "who saw more than there is gets the end, not silence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_does_not_stop_the_turn() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(12, 5));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    let (turn, seen) = (stream.turn(), stream.until_text("w4").await);
    drop(stream);
    world.provider.release();
    let answer = anna.attach(&turn, -1).await.answer().await;
    assert_eq!(answer.end(), "finish");
    assert!(answer.text().starts_with("w0 w1 ") && answer.text().ends_with("w11 "));
    answer.begins_with(&seen);
    assert_eq!(answer.usage()["provenance"], "exact");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_offset_resumes_to_the_bytes_of_who_never_left() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("a.md", b"# Counting\n\nOne counts from zero.").await;
    world.provider.next(Script::held(8, 4));
    let mut stayed = anna.stream(json!({"text": "How does one count?"})).await;
    let turn = stayed.turn();
    let mut all = stayed.until_text("w3").await;
    let mut rejoined = Vec::new();
    for (n, event) in all.iter().enumerate() {
        rejoined.push((n, anna.attach(&turn, i64::try_from(n).unwrap() - 1).await));
        let id = event.id.as_deref().unwrap();
        rejoined.push((n + 1, with_last_event_id(&anna, &turn, id).await));
    }
    world.provider.release();
    all.extend(stayed.rest().await);
    assert!(all.len() > 14, "{all:?}");
    for (n, mut stream) in rejoined {
        assert_eq!(stream.rest().await, all[n..], "while it ran, from {n}");
    }
    resumes_everywhere(&anna, &turn, &all).await;
    let (database, provider) = (world.database.clone(), world.provider.clone());
    world.stop().await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    resumes_everywhere(&world.back(&anna), &turn, &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_can_be_followed_from_another_node() {
    let world = World::start().await;
    let (database, provider) = (world.database.clone(), world.provider.clone());
    let other = World::on(database, provider, WorldOptions::default()).await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(8, 4));
    let mut stayed = anna.stream(json!({"text": "Count."})).await;
    let mut all = stayed.until_text("w3").await;
    let mut elsewhere = other.back(&anna).attach(&stayed.turn(), -1).await;
    let mut seen = elsewhere.until_text("w3").await; // it runs, and is seen there
    world.provider.release();
    all.extend(stayed.rest().await);
    seen.extend(elsewhere.rest().await);
    assert_eq!(seen, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_readers_see_the_same() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(40, 10));
    let mut asked = anna.stream(json!({"text": "Count."})).await;
    let (turn, mut all) = (asked.turn(), asked.until_text("w9").await);
    let mut streams = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..5 {
        streams.push(anna.attach(&turn, -1).await);
        let mut socket = anna.socket().await;
        socket.send(json!({"type": "attach", "turn_id": turn})).await;
        sockets.push(socket);
    }
    world.provider.release();
    all.extend(asked.rest().await);
    let parts = joined_parts(all[..all.len() - 1].iter().map(Event::part));
    for seen in join_all(streams.iter_mut().map(Stream::rest)).await {
        assert_eq!(joined(&seen), joined(&all));
    }
    let last = all[all.len() - 2].offset();
    for frames in join_all(sockets.iter_mut().map(|socket| socket.turn())).await {
        assert_eq!(frames.last().unwrap()["offset"].as_u64(), last.map(|offset| offset as u64));
        assert_eq!(joined_parts(frames.iter().map(|frame| frame["part"].clone())), parts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_twice_on_one_socket_repeats_nothing_after_the_point_of_return() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut socket = anna.socket().await;
    world.provider.next(Script::held(10, 5));
    let turn = socket.ask("Count.").await["turn_id"].clone();
    let mut offset = json!(-1);
    while offset.as_i64() < Some(6) {
        offset = socket.next().await["offset"].clone(); // start, text-start, w0 to w4
    }
    for _ in 0..2 {
        socket.send(json!({"type": "attach", "turn_id": turn, "after": 3})).await;
    }
    socket.send(json!({"type": "ping"})).await;
    // The first of the two may have replayed already; nothing of it comes after the second's.
    let mut offsets = Vec::new();
    loop {
        let frame = socket.next().await;
        match frame["offset"].as_u64() {
            Some(offset) => offsets.push(offset),
            None => assert_eq!(frame["type"], "pong"),
        }
        if frame["type"] == "pong" {
            world.provider.release();
        }
        if frame["part"]["type"] == "finish" {
            break;
        }
    }
    let again = offsets.iter().rposition(|offset| *offset == 4).unwrap();
    let expected: Vec<u64> = (4..4 + u64::try_from(offsets.len() - again).unwrap()).collect();
    assert_eq!(offsets[again..], expected, "{offsets:?}");
    let replay = anna.attach(turn.as_str().unwrap(), -1).await.answer().await;
    let last = replay.events[replay.events.len() - 2].offset();
    assert_eq!(offsets.last().copied(), last.map(|offset| offset as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_holds_nothing_up_and_misses_nothing() {
    const WORDS: usize = 20_000;
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let word = |n: usize| format!("{n:05} {} ", "x".repeat(40));
    let mut steps: Vec<Step> = (0..WORDS).map(|n| Step::Text(word(n))).collect();
    steps.insert(1, Step::Wait);
    steps.extend([Step::Finish, Step::Usage(10, 20), Step::Done]);
    world.provider.next(Script::steps(steps));
    let mut stream = anna.stream(json!({"text": "Count far."})).await;
    let turn = stream.turn();
    stream.until_text("00000").await;
    // A socket with the smallest window there is: the server cannot write ahead.
    let tcp = tokio::net::TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(2048).unwrap();
    let address = anna.base.trim_start_matches("http://").parse().unwrap();
    let mut slow = tcp.connect(address).await.unwrap();
    let request = format!(
        "GET /v1/turns/{turn}/stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         authorization: Bearer {}\r\n\r\n",
        anna.token
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let mut socket = anna.socket().await;
    socket.send(json!({"type": "attach", "turn_id": turn})).await;
    world.provider.release();
    let all = anna.attach(&turn, -1).await.answer().await;
    assert_eq!(all.end(), "finish", "the turn ended while nobody read those two");
    assert_eq!(all.text(), (0..WORDS).map(word).collect::<String>());
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let slowly = Stream::events_in(&text);
    assert_eq!(joined(&slowly), joined(&all.events));
    let frames = socket.turn().await;
    assert_eq!(joined_parts(frames.iter().map(|frame| frame["part"].clone())), all.parts());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_merged_text_a_reader_goes_on_where_it_ended() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(3000, 0));
    world.provider.release();
    let all = anna.ask("Count far.").await;
    let replay = anna.attach(&all.turn, -1).await.rest().await;
    assert!(replay.len() < 100, "the pieces are merged: {}", replay.len());
    assert_eq!(joined(&replay), joined(&all.events));
    for (n, event) in replay.iter().enumerate().filter(|(_, event)| event.id.is_some()) {
        let mut whole = replay[..=n].to_vec();
        whole.extend(
            with_last_event_id(&anna, &all.turn, event.id.as_ref().unwrap()).await.rest().await,
        );
        assert_eq!(joined(&whole), joined(&all.events), "by header after {:?}", event.id);
        let mut socket = anna.socket().await;
        let (turn, after) = (&all.turn, event.offset());
        socket.send(json!({"type": "attach", "turn_id": turn, "after": after})).await;
        if event.part()["type"] == "finish" {
            continue; // it has seen all there is
        }
        let mut next = after.unwrap() as u64 + 1;
        let mut parts: Vec<Value> = replay[..=n].iter().map(Event::part).collect();
        for frame in socket.turn().await {
            let offset = frame["offset"].as_u64().unwrap();
            assert_eq!(frame["first_offset"].as_u64().unwrap_or(offset), next, "no gap: {frame}");
            next = offset + 1;
            parts.push(frame["part"].clone());
        }
        assert_eq!(joined_parts(parts), all.parts(), "by socket after {after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_of_return_must_belong_to_the_turn() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let ben = world.user("ben@acme.test").await;
    let (turn, other) = (anna.ask("One.").await.turn, anna.ask("Two.").await.turn);
    for id in ["7", "nonsense", &format!("{other}.3"), &format!("{turn}."), &format!("{turn}.x")] {
        let mut refused = with_last_event_id(&anna, &turn, id).await;
        assert_eq!(refused.status, 400, "{id:?}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert!(refused.next().await.is_none());
    }
    assert_eq!(anna.get(&format!("/v1/turns/{turn}/stream?after=x")).await.0, 400);
    assert_eq!(ben.attach(&turn, -1).await.status, 404, "another user's turn is not there");
    assert_eq!(anna.attach("0190b8f0-0000-7000-8000-000000000000", -1).await.status, 404);
    assert_eq!(anna.attach("nonsense", -1).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_what_it_is_before_its_first_part() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(2, 0));
    let request = anna.request(Method::POST, "/v1/chat/stream");
    let mut response = request.body(json!({"text": "Hm?"}).to_string()).send().await.unwrap();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("x-vercel-ai-ui-message-stream", "v1"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    for name in ["x-turn-id", "x-conversation-id", "x-request-id", "ratelimit", "ratelimit-policy"]
    {
        assert!(response.headers().contains_key(name), "{name}");
    }
    // The model has said nothing yet: proxies and clients see an open stream all the same.
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"retry: 1000\n: ok\n\n"), "{first:?}");
    world.provider.release();
}
