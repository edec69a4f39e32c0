//! The matrix: each way to fail before the first words, of the first model and of all of them.

use super::*;
use crate::llm::router::breaker::{Breaker, Guarded};
use crate::llm::router::{AfterCut, Capabilities};
use crate::llm::{
    Answering, ChatMessage, ChatModel, Deadlines, Effort, FinishReason, OpenAi, Role, Tool,
};
use crate::net::script::{Reply, Script};
use crate::net::{ClientOptions, Clients};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn hello() -> Reply {
    Reply::sse().then(HELLO).then(STOP)
}

fn candidate(id: &str, url: &str) -> Candidate {
    let seconds = Duration::from_secs;
    let first_token = Duration::from_millis(300);
    let deadlines = Deadlines { headers: seconds(10), first_token, idle: seconds(10) };
    let model = OpenAi::new(Clients::new(ClientOptions::default()).unwrap(), url, None);
    let guarded = Guarded { provider: "p".into(), model: id.into(), key: [0; 8], tenant: None };
    Candidate {
        id: id.into(),
        provider: "p".into(),
        name: format!("{id}-as-its-provider-says"),
        model: Arc::new(model.with_deadlines(deadlines)),
        context_window: 1000,
        max_output: 100,
        capabilities: Capabilities::ALL,
        total: seconds(30),
        breaker: Breaker::new(guarded),
    }
}

fn route(candidates: Vec<Candidate>) -> Route {
    let candidates = candidates.into_iter().map(Arc::new).collect();
    Route { name: "r".into(), candidates, after_cut: AfterCut::Continue }
}

fn router() -> Router {
    let (base, cap) = (Duration::from_millis(1), Duration::from_millis(100));
    Router::default().with_backoff(Backoff { base, cap, retries: 2 })
}

fn request() -> ChatRequest {
    ChatRequest::new("", vec![ChatMessage::new(Role::User, "Hello?")], 4096)
}

/// Code of each attempt; `ok` answered.
fn codes(attempts: &[Attempt]) -> Vec<&str> {
    let errors = attempts.iter().map(|attempt| attempt.error.as_ref());
    errors.map(|error| error.map_or("ok", |error| error.code.as_str())).collect()
}

async fn text(mut events: ChatStream) -> String {
    let mut text = String::new();
    while let Some(event) = events.next().await {
        match event.unwrap() {
            ChatEvent::Text(more) => text.push_str(&more),
            ChatEvent::Finished(reason) => assert_eq!(reason, FinishReason::Stop),
            other => panic!("{other:?}"),
        }
    }
    text
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Refused,
    Tls,
    Unauthorized,
    Limited,
    Broken,
    Silent,
    Reset,
    Garbage,
}

/// A server that has the fault, for as often as it is asked.
struct Faulty {
    url: String,
    _script: Option<Script>,
    _tasks: JoinSet<()>,
}

impl Fault {
    const ALL: [Self; 8] = [
        Self::Refused,
        Self::Tls,
        Self::Unauthorized,
        Self::Limited,
        Self::Broken,
        Self::Silent,
        Self::Reset,
        Self::Garbage,
    ];

    fn reply(self) -> Option<Reply> {
        Some(match self {
            Self::Refused | Self::Tls => return None,
            Self::Unauthorized => Reply::json(401, "", "{\"error\":{\"message\":\"who?\"}}"),
            Self::Limited => Reply::json(429, "retry-after: 60\r\n", "{}"),
            Self::Broken => Reply::json(500, "", "{}"),
            Self::Silent => Reply::sse().hang(),
            Self::Reset => Reply::sse().reset(),
            Self::Garbage => Reply::sse().then("data: <html>\n\n"),
        })
    }

    async fn server(self) -> Faulty {
        let mut tasks = JoinSet::new();
        if let Some(reply) = self.reply() {
            let script = Script::start(vec![reply; 3]).await;
            return Faulty { url: script.url("/v1"), _script: Some(script), _tasks: tasks };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if self == Self::Tls {
            // What a server without TLS says to a greeting in TLS.
            tasks.spawn(async move {
                loop {
                    let (mut socket, _) = listener.accept().await.unwrap();
                    let mut greeting = [0; 1024];
                    assert!(socket.read(&mut greeting).await.unwrap() > 0);
                    socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
                }
            });
            return Faulty { url: format!("https://{address}/v1"), _script: None, _tasks: tasks };
        }
        drop(listener);
        Faulty { url: format!("http://{address}/v1"), _script: None, _tasks: tasks }
    }

    /// What an attempt says of it, and the status.
    fn said(self) -> (&'static str, Option<u16>) {
        match self {
            Self::Refused | Self::Tls => ("model_unreachable", None),
            Self::Unauthorized => ("model_unauthorized", Some(401)),
            Self::Limited => ("model_busy", Some(429)),
            Self::Broken => ("model_failed", Some(500)),
            Self::Silent => ("model_timeout", None),
            Self::Reset => ("model_cut_off", None),
            Self::Garbage => ("model_protocol", None),
        }
    }

    /// Nothing had begun, and nobody asked us to stay away.
    fn is_repeated(self) -> bool {
        matches!(self, Self::Refused | Self::Tls | Self::Broken)
    }

    /// One is enough to know.
    fn opens_at_once(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Limited)
    }

    fn check(self, candidate: &Candidate, failures: u32) {
        let standing = candidate.breaker.standing();
        let expected = match self.opens_at_once() {
            true => ("open", 0),
            false => ("closed", failures),
        };
        assert_eq!((standing.state, standing.failures), expected, "{self:?}");
        assert_eq!(standing.last.unwrap().error.code(), self.said().0, "{self:?}");
    }
}

#[tokio::test]
async fn whatever_the_first_model_does_the_second_one_answers() {
    for fault in Fault::ALL {
        let (faulty, healthy) = (fault.server().await, Script::start(vec![hello()]).await);
        let route = route(vec![candidate("a", &faulty.url), candidate("b", &healthy.url("/v1"))]);
        let begun = router().begin(&route, 0, request()).await;
        let begun = begun.unwrap_or_else(|_| panic!("{fault:?}: nobody answered"));
        assert_eq!(begun.candidate, 1, "{fault:?}");
        assert_eq!(codes(&begun.attempts), [fault.said().0, "ok"], "{fault:?}: asked once");
        assert_eq!(begun.attempts[0].status, fault.said().1, "{fault:?}");
        assert_eq!(text(begun.events).await, "Hello", "{fault:?}");
        fault.check(&route.candidates[0], 1);
        let healthy = route.candidates[1].breaker.standing();
        assert_eq!((healthy.state, healthy.failures), ("closed", 0));
    }
}

#[tokio::test]
async fn when_all_models_fail_those_are_asked_again_that_cannot_have_begun() {
    for fault in Fault::ALL {
        let servers = [fault.server().await, fault.server().await];
        let route = route(vec![candidate("a", &servers[0].url), candidate("b", &servers[1].url)]);
        let exhausted = router().begin(&route, 0, request()).await.err().unwrap();
        let rounds = if fault.is_repeated() { 3 } else { 1 };
        let asked: Vec<(&str, &str)> = exhausted
            .attempts
            .iter()
            .map(|a| (a.model.as_str(), a.error.as_ref().unwrap().code.as_str()))
            .collect();
        let code = fault.said().0;
        assert_eq!(asked, [("a", code), ("b", code)].repeat(rounds), "{fault:?}");
        assert_eq!(exhausted.error.code(), code, "{fault:?}");
        let public = exhausted.error.public_message();
        assert!(!public.contains("127.0.0.1") && !public.contains("who?"), "{public}");
        for candidate in &route.candidates {
            fault.check(candidate, u32::try_from(rounds).unwrap());
        }
    }
}

#[tokio::test]
async fn each_model_is_asked_by_its_own_name_and_within_its_own_length() {
    let broken = Script::start(vec![Fault::Broken.reply().unwrap()]).await;
    let healthy = Script::start(vec![hello()]).await;
    let mut second = candidate("b", &healthy.url("/v1"));
    second.max_output = 50;
    second.capabilities.reasoning = false;
    let route = route(vec![candidate("a", &broken.url("/v1")), second]);
    let thoughtful = ChatRequest { effort: Some(Effort::Low), ..request() };
    router().begin(&route, 0, thoughtful).await.unwrap();
    let efforts = [&broken, &healthy].map(|script| script.body(0)["reasoning_effort"].clone());
    assert_eq!(efforts, [serde_json::json!("low"), serde_json::Value::Null]);
    let asked = |script: &Script| {
        let body = script.body(0);
        (body["model"].as_str().unwrap().to_owned(), body["max_tokens"].as_u64().unwrap())
    };
    assert_eq!(asked(&broken), ("a-as-its-provider-says".to_owned(), 100));
    assert_eq!(asked(&healthy), ("b-as-its-provider-says".to_owned(), 50));
}

#[tokio::test]
async fn a_model_at_rest_is_passed_over_and_the_reason_is_kept() {
    let tired = Script::start(vec![Fault::Unauthorized.reply().unwrap(), hello()]).await;
    let healthy = Script::start(vec![hello(), hello()]).await;
    let urls = [tired.url("/v1"), healthy.url("/v1")];
    let route = route(vec![candidate("a", &urls[0]), candidate("b", &urls[1])]);
    router().begin(&route, 0, request()).await.unwrap();
    let begun = router().begin(&route, 0, request()).await.unwrap();
    assert_eq!(codes(&begun.attempts), [Failure::SKIPPED, "ok"]);
    assert!(begun.attempts[0].error.as_ref().unwrap().detail.contains("401"));
    assert_eq!(tired.requests().len(), 1);
    // Nobody else is left: it is refused at once, or somebody has mended it.
    let alone = Route { candidates: vec![Arc::clone(&route.candidates[0])], ..route };
    let begun = router().begin(&alone, 0, request()).await.unwrap();
    assert_eq!(codes(&begun.attempts), [Failure::SKIPPED, "ok"]);
}

fn candidate_at_rest() -> Candidate {
    let candidate = candidate("c", "http://127.0.0.1:1/v1");
    let complaint = crate::net::Complaint::default();
    let refusal = crate::net::Refusal { status: 401, complaint, retry_after: None };
    candidate.breaker.admit().unwrap().failed(&LlmError::Status(refusal));
    candidate
}

#[tokio::test]
async fn a_short_wait_that_the_provider_asks_for_is_kept() {
    let later = Reply::json(429, "retry-after-ms: 20\r\n", "{}");
    let server = Script::start(vec![later, hello()]).await;
    let route = route(vec![candidate("a", &server.url("/v1"))]);
    let begun = router().begin(&route, 0, request()).await.unwrap();
    assert_eq!(codes(&begun.attempts), ["model_busy", "ok"]);
    assert_eq!(text(begun.events).await, "Hello");
    assert_eq!(route.candidates[0].breaker.standing().state, "closed");
}

#[tokio::test]
async fn a_rate_limit_that_is_used_up_steers_to_others_until_it_is_there_again() {
    let openai = "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 6m0s\r\n";
    let soon = (Utc::now() + Duration::from_secs(360)).to_rfc3339();
    let anthropic = format!(
        "anthropic-ratelimit-requests-remaining: 0\r\nanthropic-ratelimit-requests-reset: {soon}\r\n"
    );
    let whole = r#"{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}"#;
    for headers in [openai, anthropic.as_str()] {
        for (status, body, first) in [(200, whole, "ok"), (429, "{}", "model_busy")] {
            let server = Script::start(vec![Reply::json(status, headers, body)]).await;
            let healthy = Script::start(vec![hello(), hello()]).await;
            let urls = [server.url("/v1"), healthy.url("/v1")];
            let route = route(vec![candidate("a", &urls[0]), candidate("b", &urls[1])]);
            let begun = router().begin(&route, 0, request()).await.unwrap();
            assert_eq!(codes(&begun.attempts)[0], first);
            let begun = router().begin(&route, 0, request()).await.unwrap();
            assert_eq!(codes(&begun.attempts), [Failure::SKIPPED, "ok"], "{status}: {headers}");
            let wait = route.candidates[0].breaker.standing().wait.unwrap();
            assert!(wait > Duration::from_secs(300), "{wait:?}");
        }
    }
}

#[tokio::test]
async fn what_is_too_long_goes_to_a_larger_window_and_what_is_refused_to_nobody() {
    let refuse =
        |code: &str| Reply::json(400, "", &format!("{{\"error\":{{\"code\":\"{code}\"}}}}"));
    let small =
        Script::start(vec![refuse("context_length_exceeded"), refuse("content_filter")]).await;
    let (same, large) = (Script::start(vec![hello()]).await, Script::start(vec![hello()]).await);
    let mut third = candidate("c", &large.url("/v1"));
    third.context_window = 2000;
    let (first, second) = (small.url("/v1"), same.url("/v1"));
    let route = route(vec![candidate("a", &first), candidate("b", &second), third]);
    let begun = router().begin(&route, 0, request()).await.unwrap();
    assert_eq!(codes(&begun.attempts), ["model_too_long", Failure::SKIPPED, "ok"]);
    let refused = router().begin(&route, 0, request()).await.err().unwrap();
    assert_eq!(codes(&refused.attempts), ["model_refused"]);
    assert_eq!((same.requests().len(), large.requests().len()), (0, 1));
    let standing = route.candidates[0].breaker.standing();
    assert_eq!((standing.state, standing.failures), ("closed", 0), "the requests' own fault");
}

#[tokio::test]
async fn a_model_is_not_asked_for_what_it_cannot_do_nor_before_its_turn() {
    let servers = [Script::start(vec![hello()]).await, Script::start(vec![hello(), hello()]).await];
    let mut plain = candidate("a", &servers[0].url("/v1"));
    plain.capabilities.tools = false;
    let route = route(vec![plain, candidate("b", &servers[1].url("/v1"))]);
    let tool = Tool {
        name: "clock".into(),
        description: String::new(),
        parameters: serde_json::json!({"type": "object"}),
        strict: false,
    };
    let with_tools = ChatRequest { tools: vec![tool], ..request() };
    let begun = router().begin(&route, 0, with_tools).await.unwrap();
    assert_eq!(codes(&begun.attempts), [Failure::SKIPPED, "ok"]);
    let begun = router().begin(&route, 1, request()).await.unwrap();
    assert_eq!((begun.candidate, codes(&begun.attempts)), (1, vec!["ok"]));
    assert!(servers[0].requests().is_empty());
    let nobody = router().begin(&route, 2, request()).await.err().unwrap();
    assert_eq!((nobody.attempts.len(), nobody.error.code()), (0, "model_misconfigured"));
}

#[tokio::test]
async fn a_cut_after_the_first_words_is_the_callers_and_the_breaker_hears_of_it() {
    let server = Script::start(vec![Reply::sse().then(HELLO)]).await;
    let route = route(vec![candidate("a", &server.url("/v1")), candidate_at_rest()]);
    let begun = router().begin(&route, 0, request()).await.unwrap();
    let seen: Vec<_> = begun.events.collect().await;
    assert!(matches!(&seen[..], [Ok(ChatEvent::Text(_)), Err(LlmError::Cut)]), "{seen:?}");
    assert_eq!(route.candidates[0].breaker.standing().failures, 1);
}

/// Says these things, and then nothing for ever.
struct Says(Vec<ChatEvent>);

impl ChatModel for Says {
    fn provider(&self) -> &'static str {
        "says"
    }

    fn ask(&self, _: ChatRequest) -> BoxFuture<'_, Result<Answering, LlmError>> {
        let said = stream::iter(self.0.clone().into_iter().map(Ok));
        let events: ChatStream = said.chain(stream::pending()).boxed();
        ready(Ok(events.into())).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_last_for_ever_and_what_was_counted_is_kept() {
    let usage = TokenUsage { input: Some(7), ..TokenUsage::default() };
    let says = |events: Vec<ChatEvent>| {
        let mut candidate = candidate("a", "http://127.0.0.1:1/v1");
        candidate.model = Arc::new(Says(events));
        candidate
    };
    let word = ChatEvent::Text("Well".into());
    let route = route(vec![
        says(vec![ChatEvent::Usage(usage)]),
        says(vec![ChatEvent::Usage(usage), word.clone()]),
    ]);
    let begun = router().begin(&route, 0, request()).await.unwrap();
    assert_eq!(codes(&begun.attempts), ["model_timeout", "ok"]);
    assert_eq!(begun.attempts[0].usage, usage, "it will be on the bill");
    let seen: Vec<_> = begun.events.collect().await;
    let [Ok(ChatEvent::Usage(first)), Ok(second), Err(error)] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert_eq!((*first, second), (usage, &word), "nothing of the beginning is lost");
    assert!(matches!(error, LlmError::Timeout { what: Wait::End, .. }), "{error}");
}
