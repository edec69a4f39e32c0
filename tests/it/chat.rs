//! Asking, over each transport.

use crate::support::{Script, World, WorldOptions, joined_parts};
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
    assert_eq!(accepted["type"], "accepted");
    let frames = socket.turn().await;
    let replay = anna.attach(accepted["turn_id"].as_str().unwrap(), -1).await.answer().await;
    let live = frames.iter().map(|frame| frame["part"].clone());
    assert_eq!(joined_parts(live), replay.parts());
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

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_comes_in_one_piece() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("a.md", b"The kitchen closes at nine in the evening.").await;
    let (status, answer) =
        anna.post("/v1/chat/send", json!({"text": "When does the kitchen close?"})).await;
    assert_eq!(status, 200, "{answer}");
    let turn = answer["turn_id"].as_str().unwrap();
    let streamed = anna.attach(turn, -1).await.answer().await;
    assert_eq!(answer["text"], streamed.text());
    assert_eq!(answer["citations"], json!(streamed.citations()));
    assert_eq!(answer["citations"][0]["file_name"], "a.md");
    assert_eq!(answer["usage"], streamed.usage());
    assert_eq!((&answer["model"], &answer["provider"]), (&json!("gpt-4o-mini"), &json!("openai")));
    assert!(answer["latency_ms"].is_u64());
    let (status, there) = anna
        .get(&format!("/v1/conversations/{}", answer["conversation_id"].as_str().unwrap()))
        .await;
    assert_eq!((status, &there["running_turn_id"]), (200, &json!(null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_makes_a_whole_answer_a_problem_that_names_the_turn() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::error(401, "invalid_api_key"));
    let (status, problem) = anna.post("/v1/chat/send", json!({"text": "Hello?"})).await;
    assert_eq!((status, &problem["code"]), (502, &json!("upstream_failed")));
    let turn = problem["turn_id"].as_str().unwrap();
    let streamed = anna.attach(turn, -1).await.answer().await;
    assert_eq!(problem["detail"], streamed.of("error")[0]["errorText"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_answers_one_question_at_a_time() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut socket = anna.socket().await;
    world.provider.next(Script::held(4, 2));
    let mut first = anna.stream(json!({"text": "Count."})).await;
    first.until_text("w1").await;
    let second = json!({"conversation_id": first.conversation(), "text": "And now?"});
    let (status, problem) = anna.refused(second.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("turn_in_progress")));
    let mut frame = second.clone();
    frame["type"] = json!("send");
    frame["request_id"] = json!("mine");
    socket.send(frame).await;
    let error = socket.next().await;
    assert_eq!((&error["type"], &error["request_id"]), (&json!("error"), &json!("mine")));
    assert_eq!(error["problem"]["code"], "turn_in_progress");
    world.provider.release();
    first.rest().await;
    // Both refusals cost nothing, and the conversation is free again.
    assert_eq!(anna.ask_in(&first.conversation(), "And now?").await.end(), "finish");
    assert_eq!(world.provider.calls(), 2);
    let billed = "SELECT sum(quantity)::bigint AS n FROM usage_ledger WHERE meter = 'requests'";
    assert_eq!(world.database.number(billed).await, 2);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_cannot_be_asked() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let ben = world.user("ben@acme.test").await;
    let bens = ben.ask("Mine.").await.conversation;
    for body in [
        json!({"text": "Hello?", "assistant": "nobody"}),
        json!({"text": "Hello?", "assistant": "no\u{0}body"}),
        json!({"text": "Hello?", "assistant": "0190b8f0-0000-7000-8000-000000000000"}),
        json!({"text": "Hello?", "conversation_id": "0190b8f0-0000-7000-8000-000000000000"}),
        json!({"text": "Hello?", "conversation_id": bens}),
    ] {
        let (status, problem) = anna.refused(body.clone()).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{body}");
    }
    assert_eq!(world.provider.calls(), 1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_has_a_length() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for body in [
        json!({"text": ""}),
        json!({"text": " \n\t\u{0} "}),
        json!({"text": "x".repeat(16_001)}),
        json!({"text": 7}),
        json!({}),
        json!({"text": "Hello?", "conversation_id": "not an id"}),
    ] {
        let (status, problem) = anna.refused(body.clone()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")), "{body}");
    }
    let (status, _) = anna.refused(json!({"text": "x".repeat(300_000)})).await;
    assert_eq!(status, 413);
    assert_eq!(anna.ask(&"ä".repeat(16_000)).await.end(), "finish", "the longest is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_streamed_is_what_is_stored() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("a.md", b"The kitchen closes at nine in the evening.").await;
    let answer = anna.ask("When does the kitchen close?").await;
    let messages = anna.messages(&answer.conversation).await;
    assert_eq!(messages.len(), 2);
    let (question, stored) = (&messages[0], &messages[1]);
    assert_eq!(question["text"], "When does the kitchen close?");
    assert_eq!((&question["role"], &stored["role"]), (&json!("user"), &json!("assistant")));
    assert_eq!((&question["usage"], &question["citations"]), (&json!(null), &json!([])));
    assert_eq!(stored["id"], answer.of("start")[0]["messageId"]);
    assert_eq!(stored["turn_id"], answer.turn);
    assert_eq!((&stored["text"], &stored["status"]), (&json!(answer.text()), &json!("complete")));
    assert_eq!(stored["citations"], json!(answer.citations()));
    assert_eq!(stored["usage"], answer.usage());
    let source = &answer.of("source-document")[0];
    assert_eq!(source["sourceId"], stored["citations"][0]["document_id"]);
}
