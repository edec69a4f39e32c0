//! A deploy: nodes are replaced one after the other under the eyes of their readers.

use crate::recovery::left_behind;
use crate::support::{Balancer, Event, Node, Redis, Script, Stream, User};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Reads a turn to its end over as many connections as it takes; returns its text and its end.
async fn follow(user: User, mut stream: Stream) -> (String, String) {
    let (turn, mut text, mut next) = (stream.turn(), String::new(), 0);
    loop {
        while let Some(event) = stream.next().await {
            if event.data == "[DONE]" {
                panic!("the terminal part comes before");
            }
            let (offset, part) = (event.offset().unwrap(), event.part());
            assert!(offset >= next, "nothing comes twice: {event:?}");
            next = offset + 1;
            text.push_str(part["delta"].as_str().unwrap_or_default());
            let kind = part["type"].as_str().unwrap().to_owned();
            if ["finish", "error", "abort"].contains(&kind.as_str()) {
                return (text, kind);
            }
        }
        let seen = i64::try_from(next).unwrap() - 1;
        stream = loop {
            // A connection that a node took just before it left is not answered.
            match user.try_attach(&turn, seen).await {
                Ok(stream) => break stream,
                Err(error) => assert!(error.is_request() && !error.is_timeout(), "{error}"),
            }
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_part_of_any_answer() {
    let redis = Redis::start().await;
    let (database, provider, anna) = left_behind().await;
    let env = [("REDIS_URL", redis.url.as_str()), ("DRAIN_TIMEOUT", "60")];
    let start = || Node::with(&database, &provider, &env);
    let (first, second) = (start().await, start().await);
    let balancer = Balancer::before(&[&first.base, &second.base]).await;
    let anna = User { base: balancer.base.clone(), ..anna };
    let mut readers = Vec::new();
    for n in 0..10 {
        provider.next(Script::held(40, 20));
        let stream = anna.stream(json!({"text": format!("Count {n}.")})).await;
        let turn = stream.turn();
        readers.push(tokio::spawn(follow(anna.clone(), stream)));
        // Somebody who reads it through the next node.
        let other = anna.attach(&turn, -1).await;
        readers.push(tokio::spawn(follow(anna.clone(), other)));
    }
    provider.until_waiting(10).await;
    let third = start().await;
    balancer.set(&[&second.base, &third.base]);
    let stopping = tokio::spawn(first.terminate());
    for _ in 0..10 {
        provider.release();
    }
    let (code, log) = stopping.await.unwrap();
    assert_eq!(code, Some(0), "{log:#?}");
    let (code, log) = second.terminate().await;
    assert_eq!(code, Some(0), "{log:#?}");
    let whole: String = (0..40).map(|n| format!("w{n} ")).collect();
    for reader in join_all(readers).await {
        assert_eq!(reader.unwrap(), (whole.clone(), "finish".to_owned()));
    }
    database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_through_a_node_that_stops_is_sent_on() {
    let redis = Redis::start().await;
    let (database, provider, anna) = left_behind().await;
    let env = [("REDIS_URL", redis.url.as_str()), ("DRAIN_TIMEOUT", "60")];
    let owner = Node::with(&database, &provider, &env).await;
    let passer = Node::with(&database, &provider, &env).await;
    provider.next(Script::held(40, 20));
    let mut here = owner.user(&anna).stream(json!({"text": "Count."})).await;
    here.until_text("w19").await;
    let there = passer.user(&anna);
    let mut stream = there.attach(&here.turn(), -1).await;
    let mut seen = stream.until_text("w19").await;
    let mut socket = there.socket().await;
    socket.send(json!({"type": "attach", "turn_id": here.turn(), "after": 30})).await;
    let mut idle = there.socket().await;
    let (code, log) = passer.terminate().await;
    assert_eq!(code, Some(0), "{log:#?}");
    for socket in [&mut socket, &mut idle] {
        let close = socket.next().await;
        assert_eq!((&close["close"], &close["reason"]["reconnect"]), (&json!(1012), &json!(true)));
        assert!(close["reason"]["reconnect_in_ms"].as_u64().unwrap() <= 3000);
    }
    assert_eq!(stream.rest().await, Vec::<Event>::new(), "no [DONE], and no end that is none");
    let last = stream.asides().pop().map(str::to_owned);
    assert!(last.is_some_and(|line| line.starts_with("retry: ")), "when to come back");
    let last = i64::try_from(seen.last().unwrap().offset().unwrap()).unwrap();
    let mut again = owner.user(&anna).attach(&here.turn(), last).await;
    provider.release();
    seen.extend(again.rest().await);
    let text: String =
        seen.iter().filter_map(|e| e.part()["delta"].as_str().map(str::to_owned)).collect();
    assert!(text.starts_with("w0 w1 ") && text.ends_with("w38 w39 "), "{text}");
    assert_eq!(seen.last().map(Event::part), Some(Value::Null));
    database.check_books().await;
}
