//! The client against a scripted server on a real socket.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::OpenAi;
use crate::llm::providers::tests::{Answer, KEY, http, patience, question};
use crate::types::Secret;
use crate::{
    llm::{
        ChatEvent, ChatModel as _, Deadlines, FinishReason, Headroom, Left, LlmError, TokenUsage,
        Wait,
    },
    net::script::{Reply, Script},
};

const HELLO: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hällo\"}}],\"usage\":null}\n\n";
const WORLD: &str =
    ": keep-alive\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\" world\"}}]}\r\n\r\n";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":2}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const COUNTED: TokenUsage = TokenUsage {
    input: Some(12),
    cached: None,
    cache_written: None,
    output: Some(2),
    reasoning: None,
};

/// Two calls at once after a thought, as OpenAI and its kin stream them.
pub(in crate::llm::providers) const CALLS: &str = concat!(
    r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"Two cities. "},"finish_reason":null}],"usage":null}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"weather","arguments":""}}]},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}}]}"#,
    "\n\n: ping\n\ndata:\n\n",
    r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Köln\"}"}}]}}]}"#,
    "\r\n\r\n",
    r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Bonn\"}"}}]}}]}"#,
    "\n\n",
    r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    "\n\n",
    r#"data: {"choices":[],"usage":{"prompt_tokens":82,"completion_tokens":34,"total_tokens":116,"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":4}}}"#,
    "\n\ndata: [DONE]\n\n",
);

/// What that says.
pub(in crate::llm::providers) fn calls() -> Vec<ChatEvent> {
    let begin = |index, id: &str| {
        let (id, name) = (id.to_owned(), "weather".to_owned());
        ChatEvent::ToolBegin { index, id, name, signature: None }
    };
    let input = |index, json: &str| ChatEvent::ToolInput { index, json: json.to_owned() };
    vec![
        ChatEvent::Reasoning { text: "Two cities. ".into(), signature: None },
        begin(0, "call_a"),
        input(0, r#"{"city":"#),
        input(0, r#""Köln"}"#),
        begin(1, "call_b"),
        input(1, r#"{"city":"Bonn"}"#),
        ChatEvent::Finished(FinishReason::ToolCalls),
        ChatEvent::Usage(TokenUsage {
            input: Some(82),
            cached: Some(64),
            cache_written: None,
            output: Some(34),
            reasoning: Some(4),
        }),
    ]
}

fn model(server: &Script) -> OpenAi {
    OpenAi::new(http(), &server.url("/v1/"), Some(Secret::new(KEY))).with_deadlines(patience())
}

type Outcome = (String, Option<FinishReason>, Option<TokenUsage>, Option<LlmError>);

/// Everything that an answer of text gave: nothing may follow a finish but usage.
async fn run(model: &OpenAi) -> Outcome {
    let mut outcome: Outcome = Default::default();
    let Answer { events, error } = Answer::of(model, question()).await;
    for event in events {
        match event {
            ChatEvent::Text(text) => {
                assert!(!text.is_empty() && outcome.1.is_none());
                outcome.0.push_str(&text);
            }
            ChatEvent::Finished(reason) => assert!(outcome.1.replace(reason).is_none()),
            ChatEvent::Usage(usage) => {
                outcome.2 = Some(outcome.2.unwrap_or_default().updated(usage));
            }
            other => panic!("{other:?}"),
        }
    }
    outcome.3 = error;
    outcome
}

async fn answered(reply: Reply) -> Outcome {
    let server = Script::start(vec![reply]).await;
    run(&model(&server)).await
}

fn assert_complete(outcome: &Outcome, text: &str, usage: Option<TokenUsage>) {
    assert!(outcome.3.is_none(), "{:?}", outcome.3);
    assert_eq!((outcome.0.as_str(), outcome.1, outcome.2), (text, Some(FinishReason::Stop), usage));
}

#[tokio::test]
async fn an_answer_streams_and_the_request_is_right() {
    let frames = [HELLO, WORLD, STOP, USAGE, DONE].concat();
    let server = Script::start(vec![Reply::sse().then(frames)]).await;
    let outcome = run(&model(&server)).await;
    assert_complete(&outcome, "Hällo world", Some(COUNTED));

    let head = server.requests()[0].to_lowercase();
    assert!(head.starts_with("post /v1/chat/completions http/1.1"), "{head}");
    assert!(head.contains(&format!("authorization: bearer {KEY}")));
    let body = server.body(0);
    assert_eq!(body["max_tokens"], 64);
    assert_eq!(body["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn thoughts_and_calls_stream() {
    let server = Script::start(vec![Reply::sse().then(CALLS)]).await;
    let answer = Answer::of(&model(&server), question()).await;
    assert!(answer.error.is_none(), "{:?}", answer.error);
    assert_eq!(answer.events, calls());
}

#[tokio::test]
async fn a_whole_answer_may_hold_calls() {
    let whole = r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"call_a","type":"function",
        "function":{"name":"weather","arguments":"{}"}}]},"finish_reason":"stop"}]}"#;
    let server = Script::start(vec![Reply::json(200, "", whole)]).await;
    let answer = Answer::of(&model(&server), question()).await;
    let (id, name) = ("call_a".to_owned(), "weather".to_owned());
    let expected = [
        ChatEvent::ToolBegin { index: 0, id, name, signature: None },
        ChatEvent::ToolInput { index: 0, json: "{}".into() },
        ChatEvent::Finished(FinishReason::ToolCalls),
    ];
    assert_eq!(answer.events, expected);
}

#[tokio::test]
async fn a_base_with_a_query_keeps_it_and_limits_are_read() {
    let limits = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\
        x-ratelimit-remaining-requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n\r\n";
    let server = Script::start(vec![Reply::raw(limits).then([HELLO, STOP, DONE].concat())]).await;
    let base = server.url("/openai/deployments/gpt/?api-version=2024-10-21");
    let model = OpenAi::new(http(), &base, None);
    let answering = model.ask(question()).await.unwrap();
    let left = Left { remaining: 59, resets_in: Duration::from_secs(1) };
    assert_eq!(answering.headroom, Headroom { requests: Some(left), tokens: None });
    let line = server.requests()[0].lines().next().unwrap().to_owned();
    let path = "/openai/deployments/gpt/chat/completions?api-version=2024-10-21";
    assert_eq!(line, format!("POST {path} HTTP/1.1"));
}

#[tokio::test]
async fn endings_that_are_fine() {
    // No [DONE].
    let outcome = answered(Reply::sse().then([HELLO, STOP].concat())).await;
    assert_complete(&outcome, "Hällo", None);
    // No finish reason, but [DONE].
    let outcome = answered(Reply::sse().then([HELLO, USAGE, DONE].concat())).await;
    assert_complete(&outcome, "Hällo", Some(COUNTED));
    // Usage with the last choice, then a reset instead of [DONE].
    let last = r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":2}}"#;
    let reply = Reply::sse().then(HELLO).then(format!("data: {last}\n\n")).hang();
    let outcome = answered(reply).await;
    assert_complete(&outcome, "Hällo", Some(COUNTED));
    // Garbage after the finish.
    let outcome = answered(Reply::sse().then([HELLO, STOP, "data: {\n\n"].concat())).await;
    assert_complete(&outcome, "Hällo", None);
    // A whole completion from a server that cannot stream.
    let whole = r#"{"choices":[{"message":{"content":"Hällo"},"finish_reason":"stop"}]}"#;
    assert_complete(&answered(Reply::json(200, "", whole)).await, "Hällo", None);
}

#[tokio::test]
async fn endings_that_are_not() {
    let (text, finish, _, error) = answered(Reply::sse().then(HELLO)).await;
    assert_eq!((text.as_str(), finish), ("Hällo", None));
    assert!(matches!(error, Some(LlmError::Cut)), "{error:?}");

    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n: x\n\n\r\n";
    let (_, _, _, error) = answered(Reply::raw(chunked).reset()).await;
    assert!(matches!(error, Some(LlmError::Broken { .. })), "{error:?}");

    let (text, _, _, error) = answered(Reply::sse().then(HELLO).then("data: {oops\n\n")).await;
    assert_eq!(text, "Hällo");
    assert!(matches!(error, Some(LlmError::Protocol { .. })), "{error:?}");

    let (_, _, _, error) = answered(Reply::sse().then("data: \u{ff}").then(b"\xff\n\n")).await;
    assert!(matches!(error, Some(LlmError::Protocol { .. })), "{error:?}");

    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<hi>";
    let (_, _, _, error) = answered(Reply::raw(html)).await;
    assert!(matches!(error, Some(LlmError::Protocol { .. })), "{error:?}");
}

#[tokio::test]
async fn failures_inside_a_good_response() {
    let failure = format!(r#"{{"error":{{"message":"Key {KEY} died","code":"server_error"}}}}"#);
    for reply in [
        Reply::sse().then(HELLO).then(format!("data: {failure}\n\n")),
        Reply::sse().then(HELLO).then(format!("event: error\ndata: {failure}\n\n")),
        Reply::json(200, "", &failure),
    ] {
        let (_, finish, _, error) = answered(reply).await;
        let error = error.unwrap();
        assert!(matches!(&error, LlmError::Upstream(_)) && finish.is_none(), "{error:?}");
        let line = format!("{error} {error:?}");
        assert!(line.contains("Key *** died") && !line.contains(KEY), "{line}");
    }
}

#[tokio::test]
async fn silence_has_three_deadlines() {
    let (_, _, _, error) = answered(Reply::default().hang()).await;
    assert!(matches!(error, Some(LlmError::Timeout { what: Wait::Headers, .. })), "{error:?}");

    let role = HELLO.split_inclusive("\n\n").next().unwrap();
    let comments = Reply::sse().then(role).then(": still here\n\n").hang();
    let server = Script::start(vec![comments]).await;
    let short = Duration::from_millis(300);
    let patient = Duration::from_secs(5);
    let model_one = model(&server).with_deadlines(Deadlines {
        headers: patient,
        first_token: short,
        idle: patient,
    });
    let (_, _, _, error) = run(&model_one).await;
    assert!(matches!(error, Some(LlmError::Timeout { what: Wait::FirstToken, .. })), "{error:?}");

    let server = Script::start(vec![Reply::sse().then(HELLO).hang()]).await;
    let model_two = model(&server).with_deadlines(Deadlines {
        headers: patient,
        first_token: patient,
        idle: short,
    });
    let (text, _, _, error) = run(&model_two).await;
    assert_eq!(text, "Hällo");
    assert!(matches!(error, Some(LlmError::Idle { .. })), "{error:?}");
}

#[tokio::test]
async fn silence_before_the_first_token_is_thinking() {
    let role = HELLO.split_inclusive("\n\n").next().unwrap();
    let rest = [HELLO, STOP, DONE].concat();
    let reply = Reply::sse().then(role).pause(Duration::from_millis(200)).then(rest);
    let server = Script::start(vec![reply]).await;
    let patient = Duration::from_secs(5);
    let model = model(&server).with_deadlines(Deadlines {
        headers: patient,
        first_token: patient,
        idle: Duration::from_millis(50),
    });
    assert_complete(&run(&model).await, "Hällo", None);
}

#[tokio::test]
async fn a_refusal_is_told_and_not_asked_about_again() {
    let fine = Reply::sse().then([HELLO, STOP].concat());
    let busy = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
    for (reply, code, retryable) in [
        (Reply::json(429, "retry-after-ms: 5\r\n", busy), "model_busy", true),
        (Reply::json(503, "", "<html>"), "model_overloaded", true),
        (
            Reply::json(401, "", r#"{"error":{"code":"invalid_api_key"}}"#),
            "model_unauthorized",
            false,
        ),
        (Reply::json(429, "", r#"{"error":{"code":"insufficient_quota"}}"#), "model_unpaid", false),
        (Reply::default().reset(), "model_cut_off", true),
    ] {
        let server = Script::start(vec![reply, fine.clone()]).await;
        let (_, _, _, error) = run(&model(&server)).await;
        let error = error.unwrap();
        assert_eq!((error.code(), error.retryable()), (code, retryable), "{error:?}");
        if code == "model_busy" {
            assert_eq!(error.retry_after(), Some(Duration::from_millis(5)));
        }
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let model = OpenAi::new(http(), &base, None);
    let (_, _, _, error) = run(&model).await;
    let error = error.unwrap();
    assert!(matches!(error, LlmError::Connect { .. }), "{error:?}");
    assert!(!error.to_string().contains("/v1"), "{error}");
    for (base, key) in [("not a url", "k"), ("http://127.0.0.1:1", "k\u{1}")] {
        let model = OpenAi::new(http(), base, Some(Secret::new(key)));
        let (_, _, _, error) = run(&model).await;
        assert!(matches!(error, Some(LlmError::Request { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection_at_once() {
    let mut server = Script::start(vec![Reply::sse().then(HELLO).hang()]).await;
    let model = model(&server);
    let mut stream = model.ask(question()).await.unwrap().events;
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Text(_)))));
    drop(stream);
    tokio::time::timeout(Duration::from_millis(500), server.closed(1)).await.unwrap();
}

#[tokio::test]
async fn dropping_the_request_closes_the_connection_at_once() {
    let mut server = Script::start(vec![Reply::default().hang()]).await;
    let model = model(&server);
    let asking = tokio::time::timeout(Duration::from_millis(100), model.ask(question()));
    assert!(asking.await.is_err());
    tokio::time::timeout(Duration::from_millis(500), server.closed(1)).await.unwrap();
}

#[test]
fn nothing_printable_holds_the_key_or_the_prompt() {
    let model = OpenAi::new(http(), "https://api.openai.com/v1", Some(Secret::new(KEY)));
    let shown = format!("{model:?} {:?}", question());
    assert!(!shown.contains(KEY) && !shown.contains("Hello?"), "{shown}");
}
