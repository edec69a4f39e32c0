//! Many at once against one limit: what is admitted never exceeds it, not even for a moment.

use super::{Plan, ledger, reserved};
use crate::recovery::left_behind;
use crate::support::books::Auditor;
use crate::support::{Node, Script, Stream};
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_turns_at_once_exactly_those_that_fit_are_admitted() {
    let world = Plan::monthly(&[("tenant", "requests", 3)]).world().await;
    let mut people = Vec::new();
    for name in ["anna", "ben", "carl", "dora"] {
        people.push(world.user(&format!("{name}@acme.test")).await);
    }
    let auditor = Auditor::start(&world.database).await;
    world.provider.always(Script::held(4, 2));
    let asking = (0..12).map(|n| people[n % 4].stream(json!({"text": "Me first!"})));
    let (admitted, refused): (Vec<Stream>, Vec<Stream>) =
        join_all(asking).await.into_iter().partition(|stream| stream.status == 200);
    assert_eq!((admitted.len(), refused.len()), (3, 9));
    let answers: Vec<u16> = refused.iter().map(|stream| stream.status).collect();
    assert_eq!(answers, [429; 9]);
    world.provider.until_waiting(3).await;
    let held = "SELECT reserved * 10 + used AS n FROM billing.quotas_v1 WHERE scope = 'tenant' AND period = 'month' AND meter = 'requests'";
    assert_eq!(world.database.number(held).await, 30);
    assert_eq!(ledger(&world.database).await, Vec::<String>::new(), "nothing is billed yet");

    for _ in 0..3 {
        world.provider.release();
    }
    for answer in join_all(admitted.into_iter().map(Stream::answer)).await {
        assert_eq!(answer.end(), "finish");
    }
    assert_eq!(auditor.finish().await, Vec::<String>::new(), "right at every moment");
    assert_eq!(world.database.number(held).await, 3);
    assert_eq!(reserved(&world.database).await, 0);
    assert_eq!(world.provider.calls(), 3, "who was refused cost nothing");
    assert_eq!(world.database.number("SELECT count(*) AS n FROM turns").await, 3);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failure_gives_back_admits_the_next() {
    let world = Plan::monthly(&[("user", "requests", 1)]).world().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::error(400, "bad_request"));
    assert_eq!(anna.ask("Will you fail?").await.end(), "error");
    assert_eq!(anna.ask("Again?").await.end(), "finish", "the failure was free");
    let (status, _) = anna.post("/v1/chat/send", json!({"text": "Once more?"})).await;
    assert_eq!(status, 429);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_idempotency_key_sent_many_times_at_once_is_one_turn_and_one_bill() {
    let world = Plan::monthly(&[("user", "requests", 2)]).world().await;
    let anna = world.user("anna@acme.test").await;
    let send = || {
        let request = anna.request(reqwest::Method::POST, "/v1/chat/stream");
        let body = json!({"text": "Just once."}).to_string();
        request.header("Idempotency-Key", "once").body(body).send()
    };
    let sent = join_all((0..10).map(|_| send())).await;
    let mut turns = Vec::new();
    for response in sent {
        let stream = Stream::new(response.unwrap());
        assert_eq!(stream.status, 200);
        let answer = stream.answer().await;
        assert_eq!(answer.text(), "Forty-two. [1]");
        turns.push(answer.turn);
    }
    turns.dedup();
    assert_eq!(turns.len(), 1);
    assert_eq!(world.provider.calls(), 1);
    let paid = ["requests 1 exact", "input_tokens 120 exact", "output_tokens 7 exact"];
    assert_eq!(ledger(&world.database).await, paid);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_that_many_begin_at_once_begins_once() {
    let world = Plan::monthly(&[("tenant", "requests", 100)]).world().await;
    for tenant in ["acme", "bolt", "cord", "dart", "echo"] {
        let mut people = Vec::new();
        for name in ["anna", "ben", "carl", "dora"] {
            people.push(world.user(&format!("{name}@{tenant}.test")).await);
        }
        // Two questions of each, and a look at the quota, before any row is there.
        let asking = (0..8).map(|n| people[n % 4].stream(json!({"text": "Me first!"})));
        let looking = people.iter().map(|person| person.get("/v1/quota"));
        let (streams, looks) = tokio::join!(join_all(asking), join_all(looking));
        for stream in streams {
            assert_eq!(stream.status, 200, "nobody waits for somebody who waits for them");
            assert_eq!(stream.answer().await.end(), "finish");
        }
        assert!(looks.iter().all(|(status, _)| *status == 200), "{looks:?}");
    }
    world.database.check_books().await;
}

/// Five hundred questions, forty at once, over two nodes whose counters are spread over four rows, for
/// a limit that admits a hundred.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_admit_together_exactly_what_fits() {
    let (database, provider, anna) = left_behind().await;
    database
        .run(
            "UPDATE plans SET counter_slices = 4, user_concurrent_turns = 1000, tenant_requests_per_minute = 100000,
               user_requests_per_minute = 100000, tenant_tokens_per_minute = 100000000,
               user_tokens_per_minute = 100000000;
             INSERT INTO plan_quotas VALUES ('enterprise', 'tenant', 'day', 'requests', 100)",
        )
        .await;
    let env = [("MAX_TURNS", "1000"), ("CONNECTIONS_PER_USER", "1000"), ("DATABASE_WAIT", "60")];
    let first = Node::with(&database, &provider, &env).await;
    let second = Node::with(&database, &provider, &env).await;
    let nodes = [first.user(&anna), second.user(&anna)];
    provider.always(Script::text(&["Me."], 10, 1));
    let auditor = Auditor::start(&database).await;
    let asking = (0..500).map(|n| nodes[n % 2].post("/v1/chat/send", json!({"text": "Me first!"})));
    let asking = futures_util::stream::iter(asking).buffer_unordered(40);
    let answers: Vec<(u16, serde_json::Value)> = asking.collect().await;
    let admitted = answers.iter().filter(|(status, _)| *status == 200).count();
    let refused = answers.iter().filter(|(_, answer)| answer["code"] == "quota_exceeded").count();
    assert_eq!((admitted, refused), (100, 400));
    assert_eq!(auditor.finish().await, Vec::<String>::new(), "right at every moment");
    assert_eq!(provider.calls(), 100);
    assert_eq!(reserved(&database).await, 0);
    database.check_books().await;
}
