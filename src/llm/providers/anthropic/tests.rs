//! Anthropic's client against a scripted server on a real socket.

use futures_util::StreamExt as _;

use super::Anthropic;
use crate::llm::providers::tests::{Answer, KEY, http, patience, question};
use crate::{
    llm::{ChatEvent, ChatModel as _, Deadlines, FinishReason, LlmError, TokenUsage, Wait},
    net::script::{Reply, Script},
    types::Secret,
};
use std::time::Duration;

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\
    \"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"claude\",\"stop_reason\":null,\
    \"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":100,\"cache_creation_input_tokens\":10,\
    \"output_tokens\":1}}}\n\n";
const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
const HELLO: &str = concat!(
    "event: content_block_start\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hällo"}}"#,
    "\n\nevent: content_block_stop\n",
    r#"data: {"type":"content_block_stop","index":0}"#,
    "\n\n",
);
const PROMPT: TokenUsage = TokenUsage {
    input: Some(135),
    cached: Some(100),
    cache_written: Some(10),
    output: None,
    reasoning: None,
};

fn end(reason: &str) -> String {
    format!(
        "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{reason}\",\
         \"stop_sequence\":null}},\"usage\":{{\"output_tokens\":15}}}}\n\n\
         event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
    )
}

/// A thought, a text and a call, with everything that may come in between.
pub(in crate::llm::providers) const CALLS: &str = concat!(
    "event: message_start\n",
    r#"data: {"type":"message_start","message":{"id":"msg_1","role":"assistant","content":[],"usage":{"input_tokens":25,"cache_creation_input_tokens":10,"cache_read_input_tokens":100,"output_tokens":3}}}"#,
    "\n\nevent: content_block_start\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    "\n\nevent: ping\n",
    r#"data: {"type": "ping"}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Köln? "}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCg=="}}"#,
    "\n\nevent: content_block_stop\n",
    r#"data: {"type":"content_block_stop","index":0}"#,
    "\n\nevent: content_block_start\n",
    r#"data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"blob"}}"#,
    "\n\nevent: content_block_start\n",
    r#"data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Let me see."}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{}}}"#,
    "\n\nevent: brand_new_event\n",
    r#"data: {"type":"brand_new_event","index":2}"#,
    "\n\nevent: content_block_start\n",
    r#"data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"city\": \"Kö"}}"#,
    "\n\nevent: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"ln\"}"}}"#,
    "\n\nevent: content_block_stop\n",
    r#"data: {"type":"content_block_stop","index":3}"#,
    "\n\nevent: message_delta\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"output_tokens_details":{"thinking_tokens":20}}}"#,
    "\n\nevent: message_stop\n",
    r#"data: {"type":"message_stop"}"#,
    "\n\n",
);

/// What that says.
pub(in crate::llm::providers) fn calls() -> Vec<ChatEvent> {
    let thought = |text: &str, signature: Option<&str>| ChatEvent::Reasoning {
        text: text.into(),
        signature: signature.map(str::to_owned),
    };
    let (id, name) = ("toolu_1".to_owned(), "weather".to_owned());
    vec![
        ChatEvent::Usage(PROMPT),
        thought("Köln? ", None),
        thought("", Some("anthropic:EqQBCg==")),
        thought("", Some("anthropic-redacted:blob")),
        ChatEvent::Text("Let me see.".into()),
        ChatEvent::ToolBegin { index: 0, id, name, signature: None },
        ChatEvent::ToolInput { index: 0, json: r#"{"city": "Kö"#.into() },
        ChatEvent::ToolInput { index: 0, json: r#"ln"}"#.into() },
        ChatEvent::Finished(FinishReason::ToolCalls),
        ChatEvent::Usage(TokenUsage { output: Some(89), reasoning: Some(20), ..PROMPT }),
    ]
}

fn model(server: &Script) -> Anthropic {
    Anthropic::new(http(), &server.url("/v1"), Some(Secret::new(KEY))).with_deadlines(patience())
}

async fn answered(reply: Reply) -> Answer {
    let server = Script::start(vec![reply]).await;
    Answer::of(&model(&server), question()).await
}

#[tokio::test]
async fn an_answer_streams_and_the_request_is_right() {
    let server = Script::start(vec![Reply::sse().then(CALLS)]).await;
    let answer = Answer::of(&model(&server), question()).await;
    assert!(answer.error.is_none(), "{:?}", answer.error);
    assert_eq!(answer.events, calls());

    let head = server.requests()[0].to_lowercase();
    assert!(head.starts_with("post /v1/messages http/1.1"), "{head}");
    assert!(head.contains(&format!("x-api-key: {KEY}")) && !head.contains("authorization"));
    assert!(head.contains("anthropic-version: 2023-06-01"), "{head}");
    let body = server.body(0);
    assert_eq!((&body["max_tokens"], &body["stream"]), (&64.into(), &true.into()));
}

#[tokio::test]
async fn every_reason_to_stop_is_understood() {
    for (reason, expected) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("refusal", FinishReason::ContentFilter),
        ("pause_turn", FinishReason::Other),
    ] {
        let answer = answered(Reply::sse().then([START, PING, HELLO, &end(reason)].concat())).await;
        let expected = [
            ChatEvent::Usage(PROMPT),
            ChatEvent::Text("Hällo".into()),
            ChatEvent::Finished(expected),
            ChatEvent::Usage(TokenUsage { output: Some(15), ..PROMPT }),
        ];
        assert!(answer.error.is_none(), "{:?}", answer.error);
        assert_eq!(answer.events, expected, "{reason}");
    }
}

#[tokio::test]
async fn usage_may_be_missing_or_said_again() {
    let bare = "data: {\"type\":\"message_start\",\"message\":{}}\n\n";
    let stop = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
    let answer = answered(Reply::sse().then([bare, HELLO, stop].concat())).await;
    let text = ChatEvent::Text("Hällo".into());
    let finished = ChatEvent::Finished(FinishReason::Stop);
    assert_eq!(answer.events, [text.clone(), finished.clone()]);

    // All figures again, and larger: they count from the beginning.
    let again = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":\
        {\"input_tokens\":30,\"cache_read_input_tokens\":100,\"output_tokens\":7}}\n\n";
    let answer = answered(Reply::sse().then([START, HELLO, again].concat())).await;
    let usage = TokenUsage { input: Some(140), output: Some(7), ..PROMPT };
    let expected = [ChatEvent::Usage(PROMPT), text, finished, ChatEvent::Usage(usage)];
    assert_eq!(answer.events, expected);
}

#[tokio::test]
async fn a_whole_message_reads_like_a_stream() {
    let whole = r#"{"type":"message","content":[{"type":"text","text":"Hällo"},{"type":"tool_use",
        "id":"t","name":"f","input":{"x":1}}],"stop_reason":"tool_use",
        "usage":{"input_tokens":1,"output_tokens":2}}"#;
    let answer = answered(Reply::json(200, "", whole)).await;
    let (id, name) = ("t".to_owned(), "f".to_owned());
    let usage = TokenUsage { input: Some(1), output: Some(2), ..TokenUsage::default() };
    let expected = [
        ChatEvent::Text("Hällo".into()),
        ChatEvent::ToolBegin { index: 0, id, name, signature: None },
        ChatEvent::ToolInput { index: 0, json: r#"{"x":1}"#.into() },
        ChatEvent::Finished(FinishReason::ToolCalls),
        ChatEvent::Usage(usage),
    ];
    assert_eq!(answer.events, expected);
}

#[tokio::test]
async fn a_failure_in_the_middle_is_told_after_what_the_prompt_cost() {
    let overloaded = format!(
        "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\
         \"message\":\"Overloaded, {KEY}\"}}}}\n\n"
    );
    let answer = answered(Reply::sse().then([START, HELLO, &overloaded].concat())).await;
    assert_eq!(answer.events, [ChatEvent::Usage(PROMPT), ChatEvent::Text("Hällo".into())]);
    let error = answer.error.unwrap();
    assert_eq!((error.code(), error.retryable()), ("model_overloaded", true));
    let line = format!("{error} {error:?}");
    assert!(line.contains("Overloaded, ***") && !line.contains(KEY), "{line}");

    let answer = answered(Reply::sse().then([START, HELLO].concat())).await;
    assert!(matches!(answer.error, Some(LlmError::Cut)), "{:?}", answer.error);
    let answer = answered(Reply::sse().then([START, HELLO, "data: {oops\n\n"].concat())).await;
    assert!(matches!(answer.error, Some(LlmError::Protocol { .. })), "{:?}", answer.error);
    assert_eq!(answer.events.len(), 2);
}

#[tokio::test]
async fn refusals_are_told_by_status_and_type() {
    for (status, kind, message, code, retryable) in [
        (400, "invalid_request_error", "prompt is too long: 9 > 8", "model_too_long", false),
        (400, "invalid_request_error", "max_tokens: missing", "model_failed", false),
        (401, "authentication_error", "invalid x-api-key", "model_unauthorized", false),
        (402, "billing_error", "pay", "model_unpaid", false),
        (403, "permission_error", "no", "model_unauthorized", false),
        (404, "not_found_error", "model: claude-9", "model_unknown", false),
        (413, "request_too_large", "too large", "model_too_long", false),
        (429, "rate_limit_error", "slow down", "model_busy", true),
        (500, "api_error", "oops", "model_failed", true),
        (504, "timeout_error", "late", "model_timeout", true),
        (529, "overloaded_error", "busy", "model_overloaded", true),
    ] {
        let body = format!(
            r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"r"}}"#
        );
        let server = Script::start(vec![Reply::json(status, "retry-after: 2\r\n", &body)]).await;
        let error = Answer::of(&model(&server), question()).await.error.unwrap();
        assert_eq!((error.code(), error.retryable()), (code, retryable), "{kind}: {error}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    }
}

#[tokio::test]
async fn thinking_in_silence_is_a_sign_of_life() {
    let silent = "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":\
        {\"type\":\"thinking\",\"thinking\":\"\"}}\n\n";
    let impatient = Deadlines { first_token: Duration::from_millis(300), ..patience() };
    let rest = [HELLO, &end("end_turn")].concat();
    let late = Duration::from_millis(500);
    let thinks = Reply::sse().then(START).then(silent).pause(late).then(&rest);
    let server = Script::start(vec![thinks]).await;
    let model_one = model(&server).with_deadlines(impatient);
    let answer = Answer::of(&model_one, question()).await;
    assert!(answer.error.is_none(), "{:?}", answer.error);

    // A ping is none.
    let server = Script::start(vec![Reply::sse().then([START, PING].concat()).hang()]).await;
    let model_two = model(&server).with_deadlines(impatient);
    let error = Answer::of(&model_two, question()).await.error;
    assert!(matches!(error, Some(LlmError::Timeout { what: Wait::FirstToken, .. })), "{error:?}");
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection_at_once() {
    let mut server = Script::start(vec![Reply::sse().then([START, HELLO].concat()).hang()]).await;
    let model = model(&server);
    let mut stream = model.ask(question()).await.unwrap().events;
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Usage(PROMPT)))));
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Text(_)))));
    drop(stream);
    server.closed(1).await;
}
