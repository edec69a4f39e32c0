//! Asking again with the same `Idempotency-Key`: one turn, one bill, and the same answer.

use crate::support::{Script, World, WorldOptions, joined, joined_parts};
use docent::store::turns;
use futures_util::future::join_all;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_attaches_while_it_runs_and_replays_afterwards() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let question = json!({"text": "Count."});
    world.provider.next(Script::held(6, 3));
    let mut first = anna.stream_once("a key", question.clone()).await;
    let mut all = first.until_text("w2").await;
    // The draft says that the value is a quoted string; many clients send it bare.
    let mut repeat = anna.stream_once("\"a key\"", question.clone()).await;
    assert_eq!((repeat.status, repeat.turn()), (200, first.turn()));
    assert_eq!(repeat.conversation(), first.conversation());
    world.provider.release();
    all.extend(first.rest().await);
    assert_eq!(repeat.rest().await, all);
    assert_eq!(anna.stream_once("a key", question.clone()).await.rest().await, all);
    let (database, provider) = (world.database.clone(), world.provider.clone());
    world.stop().await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let anna = world.back(&anna);
    assert_eq!(anna.stream_once("a key", question).await.rest().await, all, "after a restart");
    assert_eq!(world.provider.calls(), 1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_one_request_of_one_user() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let first = anna.stream_once("k", json!({"text": "One."})).await.answer().await;
    for other in [
        json!({"text": "Two."}),
        json!({"text": "One.", "assistant": "default"}),
        json!({"text": "One.", "conversation_id": first.conversation}),
    ] {
        let refused = anna.stream_once("k", other.clone()).await;
        assert_eq!(refused.status, 422, "{other}");
    }
    let bens = world.user("ben@acme.test").await.stream_once("k", json!({"text": "Two."})).await;
    assert_eq!(bens.status, 200, "another user's key is another key");
    assert_ne!(bens.answer().await.turn, first.turn);
    let mut socket = anna.socket().await;
    let again = json!({"type": "send", "text": "One.", "idempotency_key": "k"});
    socket.send(again).await;
    assert_eq!(socket.next().await["turn_id"], first.turn, "on every transport");
    let parts = socket.turn().await.into_iter().map(|frame| frame["part"].clone());
    assert_eq!(joined_parts(parts), first.parts());
    assert_eq!(world.provider.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_a_socket_is_its_own_key() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (mut first, mut again) = (anna.socket().await, anna.socket().await);
    let request = json!({"type": "send", "request_id": "5f2c", "text": "Count."});
    world.provider.next(Script::held(6, 3));
    first.send(request.clone()).await;
    let accepted = first.next().await;
    assert_eq!(accepted["type"], "accepted", "{accepted}");
    again.send(request.clone()).await; // the connection broke, or so it seemed
    assert_eq!(again.next().await, accepted, "while it runs");
    world.provider.release();
    let parts = |frames: Vec<Value>| joined_parts(frames.into_iter().map(|f| f["part"].clone()));
    let all = parts(first.turn().await);
    assert_eq!(parts(again.turn().await), all);
    again.send(request).await;
    assert_eq!(again.next().await, accepted, "and when it is over");
    assert_eq!(parts(again.turn().await), all);
    again.send(json!({"type": "send", "request_id": "5f2c", "text": "Count again."})).await;
    assert_eq!(again.next().await["problem"]["code"], "idempotency_conflict");
    let http = anna.stream_once("5f2c", json!({"text": "Count."})).await;
    assert_eq!(http.turn(), accepted["turn_id"], "on every transport");
    again
        .send(json!({"type": "send", "request_id": "5f2c", "idempotency_key": "k", "text": "No."}))
        .await;
    assert_ne!(again.next().await["turn_id"], accepted["turn_id"], "a key of its own counts");
    again.turn().await;
    for unfit in ["", "a\u{0}b", &"k".repeat(201)] {
        again.send(json!({"type": "send", "request_id": unfit, "text": "Hm?"})).await;
        assert_eq!(again.next().await["problem"]["code"], "invalid_request", "{unfit:?}");
    }
    assert_eq!(world.provider.calls(), 2);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_free_again_after_a_day() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (one, two) = (json!({"text": "One."}), json!({"text": "Two."}));
    let first = anna.stream_once("k", one.clone()).await.answer().await;
    let clean = async || {
        let db = world.db();
        let mut tx = db.system().await.unwrap();
        let freed = turns::free_keys(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        freed
    };
    for (age, freed) in [("23 hours", 0), ("2 hours", 1)] {
        let age = format!("UPDATE turns SET created_at = created_at - interval '{age}'");
        world.database.run(&age).await;
        assert_eq!(clean().await, freed);
        let status = anna.stream_once("k", two.clone()).await.status;
        assert_eq!(status, if freed == 0 { 422 } else { 200 }, "{age}");
    }
    assert_ne!(anna.stream_once("k", two).await.turn(), first.turn);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_a_length_on_every_transport() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut socket = anna.socket().await;
    let question = json!({"text": "One."});
    for key in ["", "\"\"", &"k".repeat(201)] {
        assert_eq!(anna.stream_once(key, question.clone()).await.status, 400, "{key:?}");
    }
    for key in ["", "a\u{0}b", &"k".repeat(201)] {
        let frame =
            json!({"type": "send", "request_id": "r", "text": "One.", "idempotency_key": key});
        socket.send(frame).await;
        let error = socket.next().await;
        assert_eq!((&error["type"], &error["request_id"]), (&json!("error"), &json!("r")));
        assert_eq!(error["problem"]["code"], "invalid_request", "{key:?}");
    }
    assert_eq!(world.provider.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_repeats_at_once_are_one_turn_and_one_bill() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let asking = (0..20).map(|_| async {
        let stream = anna.stream_once("impatient", json!({"text": "Well?"})).await;
        assert_eq!(stream.status, 200);
        stream.answer().await
    });
    let answers = join_all(asking).await;
    for answer in &answers {
        assert_eq!(joined(&answer.events), joined(&answers[0].events));
        assert_eq!(answer.conversation, answers[0].conversation);
    }
    assert_eq!(world.provider.calls(), 1);
    for (what, sql) in [
        ("turns", "SELECT count(*) AS n FROM turns"),
        ("conversations", "SELECT count(*) AS n FROM conversations"),
        (
            "requests",
            "SELECT sum(quantity)::bigint AS n FROM usage_ledger WHERE meter = 'requests'",
        ),
    ] {
        assert_eq!(world.database.number(sql).await, 1, "{what}");
    }
    world.database.check_books().await;
}
