//! How many answers are written at once.

use super::Plan;
use crate::recovery::left_behind;
use crate::support::{Node, Script};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_and_a_tenant_have_so_many_at_once() {
    let world = Plan::rates(10_000, 10_000).world().await;
    let bounds = "UPDATE plans SET tenant_concurrent_turns = 3, user_concurrent_turns = 2";
    world.database.run(bounds).await;
    let (anna, ben) = (world.user("anna@acme.test").await, world.user("ben@acme.test").await);
    world.provider.always(Script::held(4, 2));
    let mut first = anna.stream(json!({"text": "One."})).await;
    let _second = anna.stream(json!({"text": "Two."})).await;
    let (status, problem) = anna.refused(json!({"text": "Three."})).await;
    assert_eq!((status, &problem["code"]), (429, &json!("too_many_turns")));
    assert!(problem["detail"].as_str().unwrap().starts_with("2 answers"), "{problem}");
    let _third = ben.stream(json!({"text": "Three."})).await;
    let (status, problem) = ben.refused(json!({"text": "Four."})).await;
    assert_eq!((status, &problem["code"]), (429, &json!("too_many_turns")));
    let elsewhere = world.user("zoe@bolt.test").await.stream(json!({"text": "Free?"})).await;
    assert_eq!(elsewhere.status, 200, "another tenant's bound is its own");
    world.provider.until_waiting(4).await;
    assert_eq!(anna.stop(&first.turn()).await, 202);
    first.rest().await;
    let again = anna.stream(json!({"text": "Now?"})).await;
    assert_eq!(again.status, 200, "an answer that ended makes room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_lets_a_few_wait_and_refuses_the_rest() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::with(&database, &provider, &[("MAX_TURNS", "1")]).await;
    let anna = node.user(&anna);
    provider.next(Script::held(4, 2));
    let mut running = anna.stream(json!({"text": "One."})).await;
    running.until_text("w1").await;
    let waiting = tokio::spawn({
        let anna = anna.clone();
        async move { anna.ask("Two.").await }
    });
    while !anna.metrics().await.contains("docent_turns_waiting 1") {}
    let request = anna.request(reqwest::Method::POST, "/v1/chat/stream");
    let refused = request.body(json!({"text": "Three."}).to_string()).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "2");
    assert!(refused.text().await.unwrap().contains("\"overloaded\""));
    provider.release();
    running.rest().await;
    assert_eq!(waiting.await.unwrap().end(), "finish");
    assert_eq!(provider.calls(), 2);
    database.check_books().await;
}
