//! The client against a scripted server on a real socket.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::{Deadlines, OpenAi};
use crate::types::Secret;
use crate::{
    llm::{
        ChatEvent, ChatMessage, ChatModel as _, ChatRequest, FinishReason, LlmError, Role,
        TokenUsage, Wait,
    },
    net::{
        Backoff, ClientOptions, client,
        script::{Reply, Script},
    },
};

const KEY: &str = "sk-test-0123456789";
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

fn model(server: &Script) -> OpenAi {
    let client = client(&ClientOptions::default()).unwrap();
    let second = Duration::from_secs(1);
    OpenAi::new(client, &server.url("/v1/"), Some(Secret::new(KEY)))
        .with_deadlines(Deadlines { headers: second, first_token: second, idle: second })
        .with_backoff(Backoff {
            base: Duration::from_millis(2),
            cap: Duration::from_millis(50),
            retries: 2,
        })
}

fn request() -> ChatRequest {
    let messages = vec![ChatMessage::new(Role::User, "Hello?")];
    ChatRequest::new("m-1", messages, 64)
}

type Outcome = (String, Option<FinishReason>, Option<TokenUsage>, Option<LlmError>);

/// Everything that an answer gave, in order: nothing may follow a finish but usage.
async fn run(model: &OpenAi) -> Outcome {
    let mut outcome: Outcome = Default::default();
    let mut stream = match model.ask(request()).await {
        Ok(answering) => answering.events,
        Err(error) => return (String::new(), None, None, Some(error)),
    };
    while let Some(event) = stream.next().await {
        assert!(outcome.3.is_none() && outcome.2.is_none(), "something after the end");
        match event {
            Ok(ChatEvent::Text(text)) => {
                assert!(!text.is_empty() && outcome.1.is_none());
                outcome.0.push_str(&text);
            }
            Ok(ChatEvent::Finished(reason)) => assert!(outcome.1.replace(reason).is_none()),
            Ok(ChatEvent::Usage(usage)) => {
                assert!(outcome.1.is_some());
                outcome.2 = Some(usage);
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => outcome.3 = Some(error),
        }
    }
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
async fn every_split_of_the_bytes_gives_the_same_answer() {
    let frames = ["\u{feff}", HELLO, WORLD, STOP, USAGE, DONE].concat();
    let bytes = frames.as_bytes();
    let replies = (0..bytes.len())
        .map(|at| Reply::sse().then(&bytes[..at]).then(&bytes[at..]))
        .collect::<Vec<_>>();
    let server = Script::start(replies).await;
    let model = model(&server);
    for at in 0..bytes.len() {
        let outcome = run(&model).await;
        assert!(outcome.3.is_none(), "split at {at}: {:?}", outcome.3);
        assert_complete(&outcome, "Hällo world", Some(COUNTED));
    }
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
async fn a_busy_server_is_asked_again() {
    let busy = Reply::json(429, "retry-after-ms: 5\r\n", r#"{"error":{"message":"slow down"}}"#);
    let down = Reply::json(503, "", "<html>");
    let fine = Reply::sse().then([HELLO, STOP, USAGE, DONE].concat());
    let server = Script::start(vec![busy.clone(), down.clone(), fine.clone()]).await;
    assert_complete(&run(&model(&server)).await, "Hällo", Some(COUNTED));
    assert_eq!(server.requests().len(), 3);

    let server = Script::start(vec![down.clone(), down.clone(), down, fine]).await;
    let (_, _, _, error) = run(&model(&server)).await;
    assert!(matches!(error, Some(LlmError::Status(ref r)) if r.status == 503), "{error:?}");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_final_answer_is_not_asked_for_again() {
    let fine = Reply::sse().then([HELLO, STOP].concat());
    for (reply, code) in [
        (Reply::json(401, "", r#"{"error":{"code":"invalid_api_key"}}"#), "model_unauthorized"),
        (Reply::json(429, "", r#"{"error":{"code":"insufficient_quota"}}"#), "model_unpaid"),
        (Reply::json(429, "retry-after: 60\r\n", "{}"), "model_busy"),
        (Reply::default().reset(), "model_cut_off"),
    ] {
        let server = Script::start(vec![reply, fine.clone()]).await;
        let (_, _, _, error) = run(&model(&server)).await;
        assert_eq!(error.as_ref().map(LlmError::code), Some(code), "{error:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let client = client(&ClientOptions::default()).unwrap();
    let model = OpenAi::new(client.clone(), &base, None).with_backoff(Backoff {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(1),
        retries: 2,
    });
    let (_, _, _, error) = run(&model).await;
    let error = error.unwrap();
    assert!(matches!(error, LlmError::Connect { .. }), "{error:?}");
    assert!(!error.to_string().contains("/v1"), "{error}");
    for (base, key) in [("not a url", "k"), ("http://127.0.0.1:1", "k\u{1}")] {
        let model = OpenAi::new(client.clone(), base, Some(Secret::new(key)));
        let (_, _, _, error) = run(&model).await;
        assert!(matches!(error, Some(LlmError::Request { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection_at_once() {
    let mut server = Script::start(vec![Reply::sse().then(HELLO).hang()]).await;
    let model = model(&server);
    let mut stream = model.ask(request()).await.unwrap().events;
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Text(_)))));
    drop(stream);
    tokio::time::timeout(Duration::from_millis(500), server.closed(1)).await.unwrap();
}

#[tokio::test]
async fn dropping_the_request_closes_the_connection_at_once() {
    let mut server = Script::start(vec![Reply::default().hang()]).await;
    let model = model(&server);
    let asking = tokio::time::timeout(Duration::from_millis(100), model.ask(request()));
    assert!(asking.await.is_err());
    tokio::time::timeout(Duration::from_millis(500), server.closed(1)).await.unwrap();
}

#[test]
fn nothing_printable_holds_the_key_or_the_prompt() {
    let client = client(&ClientOptions::default()).unwrap();
    let model = OpenAi::new(client, "https://api.openai.com/v1", Some(Secret::new(KEY)));
    let shown = format!("{model:?} {:?}", request());
    assert!(!shown.contains(KEY) && !shown.contains("Hello?"), "{shown}");
}
