//! Requests per minute: told before they are used up, refused with the time to wait afterwards.

use super::{Plan, ledger, reserved};
use crate::support::{Script, World};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_asks_too_often_is_told_when_to_come_back() {
    let world = Plan::rates(2, 1).world().await;
    let anna = world.user("anna@acme.test").await;
    assert_eq!(anna.ask("One?").await.end(), "finish");
    let paid = ledger(&world.database).await;
    for path in ["/v1/chat/stream", "/v1/chat/send"] {
        let body = json!({"text": "Two?"}).to_string();
        let refused = anna.request(Method::POST, path).body(body).send().await.unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        assert_eq!(problem["code"], "rate_limited");
        assert_eq!(problem["retry_after_ms"].as_u64().unwrap().div_ceil(1000), wait);
        assert!(problem["detail"].as_str().unwrap().contains("user requests"), "{problem}");
    }
    let mut socket = anna.socket().await;
    let refused = socket.ask("Three?").await;
    assert_eq!(refused["type"], "error");
    assert_eq!(refused["problem"]["code"], "rate_limited");
    assert!(refused["problem"]["retry_after_ms"].is_u64());

    assert_eq!(world.provider.calls(), 1, "refusals ask nobody");
    assert_eq!(ledger(&world.database).await, paid, "and cost nothing");
    assert_eq!(reserved(&world.database).await, 0);
    assert_eq!(anna.get("/v1/me").await.0, 200, "what costs nothing is not limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn colleagues_share_the_tenants_limit_and_nobody_elses() {
    let world = Plan::rates(2, 1).world().await;
    for email in ["anna@acme.test", "ben@acme.test"] {
        assert_eq!(world.user(email).await.ask("One?").await.end(), "finish");
    }
    let carl = world.user("carl@acme.test").await;
    let (status, problem) = carl.post("/v1/chat/send", json!({"text": "One?"})).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
    assert!(problem["detail"].as_str().unwrap().contains("tenant requests"), "{problem}");
    let eve = world.user("eve@globex.test").await;
    assert_eq!(eve.ask("One?").await.end(), "finish", "other tenants do not notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_admitted_up_to_the_limit() {
    let world = Plan::rates(10_000, 4).world().await;
    let anna = world.user("anna@acme.test").await;
    let burst = (0..12).map(|_| anna.post("/v1/chat/send", json!({"text": "Now?"})));
    let burst = futures_util::future::join_all(burst).await;
    let admitted = burst.iter().filter(|(status, _)| *status == 200).count();
    let refused = burst.iter().filter(|(_, body)| body["code"] == "rate_limited").count();
    assert_eq!((admitted, refused), (4, 8), "{burst:?}");
    world.database.check_books().await;
}

/// A world where a user has 2,500 tokens a minute: a short question is estimated at some 2,000.
async fn narrow() -> World {
    let world = Plan::rates(10_000, 10_000).world().await;
    world.database.run("UPDATE plans SET user_tokens_per_minute = 2500 WHERE name = 'tiny'").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_a_minute_are_limited_too() {
    let world = narrow().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(2, 1));
    let mut running = anna.stream(json!({"text": "One?"})).await;
    running.until_text("w0").await;
    let (status, problem) = anna.post("/v1/chat/send", json!({"text": "Two?"})).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
    assert!(problem["detail"].as_str().unwrap().contains("user tokens"), "{problem}");
    world.provider.release();
    running.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_used_less_than_was_estimated_leaves_room_for_the_next() {
    let world = narrow().await;
    world.provider.always(Script::text(&["Yes."], 20, 2));
    let anna = world.user("anna@acme.test").await;
    for question in ["One?", "Two?", "Three?"] {
        assert_eq!(anna.ask(question).await.end(), "finish");
    }
    world.provider.next(Script::error(400, "invalid_request_error"));
    assert_eq!(anna.ask("Four?").await.end(), "error", "it used nothing");
    world.provider.next(Script::held(4, 2));
    let mut stopped = anna.stream(json!({"text": "Five?"})).await;
    stopped.until_text("w1").await;
    assert_eq!(anna.stop(&stopped.turn()).await, 202);
    stopped.rest().await;
    assert_eq!(anna.ask("Six?").await.end(), "finish");
    let nowhere = json!({"text": "Where?", "conversation_id": uuid::Uuid::now_v7()});
    for _ in 0..3 {
        assert_eq!(anna.refused(nowhere.clone()).await.0, 404, "nor does what never began");
    }
    assert_eq!(anna.ask("Seven?").await.end(), "finish");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_used_more_than_was_estimated_takes_it_from_the_next() {
    let world = narrow().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::text(&["Much."], 2_000, 480));
    assert_eq!(anna.ask("One?").await.end(), "finish");
    let (status, problem) = anna.refused(json!({"text": "Two?"})).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
    let wait = problem["retry_after_ms"].as_u64().unwrap();
    assert!((10_000..=60_000).contains(&wait), "some 2,000 of 2,500 a minute are missing: {wait}");
    let ben = world.user("ben@acme.test").await;
    assert_eq!(ben.ask("One?").await.end(), "finish", "it was hers");
}
