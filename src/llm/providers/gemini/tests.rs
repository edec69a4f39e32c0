//! Gemini's client against a scripted server on a real socket.

use futures_util::StreamExt as _;

use super::Gemini;
use crate::llm::providers::tests::{Answer, KEY, http, patience, question};
use crate::{
    llm::{ChatEvent, ChatModel as _, FinishReason, LlmError, TokenUsage},
    net::script::{Reply, Script},
    types::Secret,
};
use std::time::Duration;

const HELLO: &str = concat!(
    r#"data: {"candidates":[{"content":{"parts":[{"text":"Hällo"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":12,"totalTokenCount":12},"modelVersion":"gemini","responseId":"r"}"#,
    "\r\n\r\n",
);
const PROMPT: TokenUsage = TokenUsage {
    input: Some(12),
    cached: None,
    cache_written: None,
    output: None,
    reasoning: None,
};

/// Two calls after a thought and a text, each signed somewhere else.
pub(in crate::llm::providers) const CALLS: &str = concat!(
    r#"data: {"candidates":[{"content":{"parts":[{"text":"**Köln**","thought":true}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":50,"cachedContentTokenCount":40,"thoughtsTokenCount":7,"totalTokenCount":57},"modelVersion":"gemini-3-pro","responseId":"r"}"#,
    "\r\n\r\n",
    r#"data: {"candidates":[{"content":{"parts":[{"text":"Let me "},{"text":"see.","thoughtSignature":"VGV4dA=="}],"role":"model"}}],"newField":{"x":1}}"#,
    "\r\n\r\n",
    r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"id":"fc1","name":"weather","args":{"city":"Köln"}},"thoughtSignature":"Q2FsbA=="},{"functionCall":{"id":"fc2","name":"time","args":{}}}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":50,"toolUsePromptTokenCount":5,"cachedContentTokenCount":40,"candidatesTokenCount":20,"thoughtsTokenCount":9,"totalTokenCount":84}}"#,
    "\r\n\r\n",
);

/// What that says.
pub(in crate::llm::providers) fn calls() -> Vec<ChatEvent> {
    let thought = |text: &str, signature: Option<&str>| ChatEvent::Reasoning {
        text: text.into(),
        signature: signature.map(str::to_owned),
    };
    let begin = |index, id: &str, name: &str, signature: Option<&str>| {
        let (id, name, signature) = (id.to_owned(), name.to_owned(), signature.map(str::to_owned));
        ChatEvent::ToolBegin { index, id, name, signature }
    };
    let prompt = TokenUsage { input: Some(50), cached: Some(40), ..TokenUsage::default() };
    vec![
        thought("**Köln**", None),
        ChatEvent::Usage(prompt),
        ChatEvent::Text("Let me ".into()),
        ChatEvent::Text("see.".into()),
        thought("", Some("gemini:VGV4dA==")),
        begin(0, "fc1", "weather", Some("gemini:Q2FsbA==")),
        ChatEvent::ToolInput { index: 0, json: r#"{"city":"Köln"}"#.into() },
        begin(1, "fc2", "time", None),
        ChatEvent::ToolInput { index: 1, json: "{}".into() },
        ChatEvent::Finished(FinishReason::ToolCalls),
        ChatEvent::Usage(TokenUsage {
            input: Some(55),
            output: Some(29),
            reasoning: Some(9),
            ..prompt
        }),
    ]
}

fn model(server: &Script) -> Gemini {
    Gemini::new(http(), &server.url("/v1beta"), Some(Secret::new(KEY))).with_deadlines(patience())
}

async fn answered(reply: Reply) -> Answer {
    let server = Script::start(vec![reply]).await;
    Answer::of(&model(&server), question()).await
}

fn end(reason: &str) -> String {
    format!(
        "data: {{\"candidates\":[{{\"finishReason\":\"{reason}\"}}],\
         \"usageMetadata\":{{\"promptTokenCount\":12,\"candidatesTokenCount\":3}}}}\r\n\r\n"
    )
}

#[tokio::test]
async fn an_answer_streams_and_the_request_is_right() {
    let server = Script::start(vec![Reply::sse().then(CALLS)]).await;
    let answer = Answer::of(&model(&server), question()).await;
    assert!(answer.error.is_none(), "{:?}", answer.error);
    assert_eq!(answer.events, calls());

    let head = &server.requests()[0];
    let line = "POST /v1beta/models/m-1:streamGenerateContent?alt=sse HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    assert!(head.to_lowercase().contains(&format!("x-goog-api-key: {KEY}")), "{head}");
    assert_eq!(server.body(0)["generationConfig"]["maxOutputTokens"], 64);
}

#[tokio::test]
async fn every_reason_to_stop_is_understood() {
    for (reason, expected) in [
        ("STOP", FinishReason::Stop),
        ("MAX_TOKENS", FinishReason::Length),
        ("SAFETY", FinishReason::ContentFilter),
        ("RECITATION", FinishReason::ContentFilter),
        ("OTHER", FinishReason::Other),
    ] {
        let answer = answered(Reply::sse().then([HELLO, &end(reason)].concat())).await;
        let expected = [
            ChatEvent::Text("Hällo".into()),
            ChatEvent::Usage(PROMPT),
            ChatEvent::Finished(expected),
            ChatEvent::Usage(TokenUsage { output: Some(3), ..PROMPT }),
        ];
        assert!(answer.error.is_none(), "{:?}", answer.error);
        assert_eq!(answer.events, expected, "{reason}");
    }
    let answer = answered(Reply::sse().then([HELLO, &end("MALFORMED_FUNCTION_CALL")].concat()));
    let error = answer.await.error.unwrap();
    assert_eq!((error.code(), error.retryable()), ("model_failed", true));
}

#[tokio::test]
async fn calls_without_ids_get_some() {
    let call = r#"{"functionCall":{"name":"f","args":{}}}"#;
    let frame = format!(
        "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{call},{call}]}},\
         \"finishReason\":\"STOP\"}}]}}\n\n"
    );
    let answer = answered(Reply::sse().then(frame)).await;
    let ids = answer.events.iter().filter_map(|event| match event {
        ChatEvent::ToolBegin { id, .. } => Some(id.clone()),
        _ => None,
    });
    let ids: Vec<_> = ids.collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
    assert_eq!(answer.events.last(), Some(&ChatEvent::Finished(FinishReason::ToolCalls)));
}

#[tokio::test]
async fn a_prompt_that_is_blocked_is_a_refusal() {
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},\
        \"usageMetadata\":{\"promptTokenCount\":4}}\n\n";
    let error = answered(Reply::sse().then(blocked)).await.error.unwrap();
    assert_eq!((error.code(), error.retryable()), ("model_refused", false));
    assert!(error.to_string().ends_with("content_filter: PROHIBITED_CONTENT"), "{error}");
}

#[tokio::test]
async fn a_failure_in_the_middle_is_told_after_what_it_cost() {
    let failure = format!(
        "data: {{\"error\":{{\"code\":503,\"message\":\"Overloaded, {KEY}\",\
         \"status\":\"UNAVAILABLE\"}}}}\n\n"
    );
    let answer = answered(Reply::sse().then([HELLO, &failure].concat())).await;
    assert_eq!(answer.events, [ChatEvent::Text("Hällo".into()), ChatEvent::Usage(PROMPT)]);
    let error = answer.error.unwrap();
    assert_eq!((error.code(), error.retryable()), ("model_overloaded", true));
    let line = format!("{error} {error:?}");
    assert!(line.contains("unavailable: Overloaded, ***") && !line.contains(KEY), "{line}");

    // What was counted until then is known when the rest never comes.
    let counted = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"!\"}]}}],\
        \"usageMetadata\":{\"promptTokenCount\":12,\"candidatesTokenCount\":2}}\n\n";
    let answer = answered(Reply::sse().then([HELLO, counted].concat())).await;
    assert!(matches!(answer.error, Some(LlmError::Cut)), "{:?}", answer.error);
    let usage = TokenUsage { output: Some(2), ..PROMPT };
    assert_eq!(answer.events.last(), Some(&ChatEvent::Usage(usage)));
}

#[tokio::test]
async fn refusals_are_told_by_status() {
    for (status, word, message, code, retryable) in [
        (400, "INVALID_ARGUMENT", "bad schema", "model_failed", false),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum",
            "model_too_long",
            false,
        ),
        (401, "UNAUTHENTICATED", "who?", "model_unauthorized", false),
        (403, "PERMISSION_DENIED", "no", "model_unauthorized", false),
        (404, "NOT_FOUND", "models/x is not found", "model_unknown", false),
        (429, "RESOURCE_EXHAUSTED", "quota", "model_busy", true),
        (500, "INTERNAL", "oops", "model_failed", true),
        (503, "UNAVAILABLE", "busy", "model_overloaded", true),
        (504, "DEADLINE_EXCEEDED", "late", "model_timeout", true),
    ] {
        let body =
            format!(r#"{{"error":{{"code":{status},"message":"{message}","status":"{word}"}}}}"#);
        let error = answered(Reply::json(status, "", &body)).await.error.unwrap();
        assert_eq!((error.code(), error.retryable()), (code, retryable), "{word}: {error}");
    }
}

#[tokio::test]
async fn details_tell_of_a_bad_key_and_of_when_to_come_back() {
    let body = r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT",
        "details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}]"#;
    let error = answered(Reply::json(400, "", body)).await.error.unwrap();
    assert_eq!(error.code(), "model_unauthorized");

    let body = r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}"#;
    let error = answered(Reply::json(429, "", body)).await.error.unwrap();
    assert_eq!(error.retry_after(), Some(Duration::from_millis(34_500)));
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection_at_once() {
    let mut server = Script::start(vec![Reply::sse().then(HELLO).hang()]).await;
    let model = model(&server);
    let mut stream = model.ask(question()).await.unwrap().events;
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Text(_)))));
    drop(stream);
    server.closed(1).await;
}
