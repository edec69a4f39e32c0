//! Asking, over each transport.

use crate::support::{Script, World, WorldOptions};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_streams_with_its_sources_and_its_bill() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("notice.md", b"# Notice\n\nThe notice period is ninety days.").await;
    world.provider.next(Script::text(&["Ninety", " days", " [1]."], 200, 5));
    let answer = anna.ask("How long is the notice period?").await;
    assert_eq!((answer.text().as_str(), answer.end().as_str()), ("Ninety days [1].", "finish"));
    let citation = &answer.citations()[0];
    assert_eq!(
        (citation["file_name"].as_str(), citation["page"].as_i64()),
        (Some("notice.md"), Some(1))
    );
    assert!(citation["snippet"].as_str().unwrap().contains("ninety days"));
    let usage = answer.usage();
    assert_eq!(usage["input_tokens"], 200);
    assert_eq!(usage["output_tokens"], 5);
    assert_eq!(usage["provenance"], "exact");
    assert_eq!(usage["cost_nano_usd"], 200 * 150 + 5 * 600);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_gets_the_same_parts() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut socket = anna.socket().await;
    let accepted = socket.ask("What is six times seven?").await;
    assert_eq!(
        (accepted["type"].as_str(), accepted["request_id"].as_str()),
        (Some("accepted"), Some("r1"))
    );
    let frames = socket.turn().await;
    let replay = anna.attach(accepted["turn_id"].as_str().unwrap(), -1).await.answer().await;
    let live: Vec<_> = frames.iter().map(|frame| frame["part"].clone()).collect();
    assert_eq!(live, replay.parts());
    assert_eq!(replay.text(), "Forty-two. [1]");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_model_answers_from_the_documents() {
    let world = World::with(WorldOptions { provider: false, ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("a.txt", b"The kitchen closes at nine in the evening.").await;
    let answer = anna.ask("When does the kitchen close?").await;
    assert!(answer.text().contains("nine") && answer.text().contains("[1]"), "{}", answer.text());
    assert!(answer.text().contains("demo model"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_ends_the_turn_and_hangs_up_on_the_provider() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(50, 3));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    let turn = stream.turn();
    stream.until_text("w2").await;
    let (status, _) = anna.post(&format!("/v1/turns/{turn}/stop"), json!({})).await;
    assert_eq!(status, 202);
    world.provider.until_closed().await;
    stream.rest().await;
    let answer = anna.attach(&turn, -1).await.answer().await;
    assert_eq!((answer.text().as_str(), answer.end().as_str()), ("w0 w1 w2 ", "abort"));
    assert_eq!(answer.usage()["provenance"], "estimated");
    let (status, _) = anna.post(&format!("/v1/turns/{turn}/stop"), json!({})).await;
    assert_eq!(status, 200, "stopping twice is no error");
    world.database.check_books().await;
}
