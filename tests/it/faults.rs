//! What a provider can do to us, and that a turn survives all of it: one end, honest books, and a
//! conversation that goes on.

use crate::support::{Answer, Script, Step, User, World, WorldOptions};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// A way to fail (or nearly), and what must come of it.
struct Case {
    name: &'static str,
    /// What the provider does, request by request.
    scripts: Vec<Script>,
    /// The terminal part, and the text before it.
    end: (&'static str, &'static str),
    /// What the ledger says of input and output: exact, estimated, or nothing.
    billed: Option<(&'static str, &'static str)>,
}

fn text(text: &str) -> Step {
    Step::Text(text.into())
}

fn raw(bytes: impl AsRef<[u8]>) -> Step {
    Step::Raw(bytes.as_ref().to_vec())
}

/// A frame that says only what was used.
fn usage(json: Value) -> Step {
    raw(format!("data: {}\n\n", json!({"choices": [], "usage": json})))
}

fn after(header: &str, script: Script) -> Script {
    Script { headers: format!("{header}\r\n"), ..script }
}

fn json_body(body: Value) -> Script {
    let steps = vec![raw(body.to_string())];
    Script { content_type: "application/json", ..Script::steps(steps) }
}

const EXACT: Option<(&str, &str)> = Some(("exact", "exact"));
const ESTIMATED: Option<(&str, &str)> = Some(("estimated", "estimated"));

/// Runs the cases one after the other, each in a conversation of its own.
async fn survives(cases: Vec<Case>) {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for case in cases {
        let (name, requests) = (case.name, case.scripts.len());
        let before = world.provider.calls();
        case.scripts.into_iter().for_each(|script| world.provider.next(script));
        let answer = anna.ask("What is six times seven?").await;
        assert_eq!((answer.end().as_str(), answer.text().as_str()), case.end, "{name}");
        assert_eq!(world.provider.calls() - before, requests, "{name}: requests");
        world.provider.until_closed().await;
        assert_eq!(billed(&world, &answer).await, expected(case.billed), "{name}");
        is_stored_as_streamed(&anna, &answer).await;
        let next = anna.ask_in(&answer.conversation, "And now?").await;
        assert_eq!(next.end(), "finish", "{name}: the conversation goes on");
        world.database.check_books().await;
    }
}

fn expected(billed: Option<(&str, &str)>) -> Vec<String> {
    let lines = billed.map(|(input, output)| {
        vec![format!("input_tokens {input}"), format!("output_tokens {output}")]
    });
    lines.unwrap_or_default()
}

async fn billed(world: &World, answer: &Answer) -> Vec<String> {
    let sql = format!(
        "SELECT meter || ' ' || provenance AS t FROM usage_ledger
         WHERE turn_id = '{}' AND meter LIKE '%put_tokens' ORDER BY meter",
        answer.turn
    );
    world.database.texts(&sql).await
}

async fn is_stored_as_streamed(anna: &User, answer: &Answer) {
    let messages = anna.messages(&answer.conversation).await;
    let (stored, complete) = (&messages[1], answer.end() == "finish");
    assert_eq!(stored["text"], answer.text());
    assert_eq!(stored["status"], if complete { "complete" } else { "failed" });
    assert_eq!(stored["usage"], answer.usage());
    if !complete {
        let why = &answer.of("data-error")[0]["data"];
        assert!(why["code"].is_string() && why["retryable"].is_boolean(), "for programs: {why}");
        let error = &answer.of("error")[0]["errorText"];
        assert!(error.as_str().unwrap().ends_with('.'), "a sentence for people: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_before_the_first_token_cost_nothing() {
    let nothing = ("error", "");
    survives(vec![
        Case {
            name: "a wrong key is not tried again",
            scripts: vec![Script::error(401, "invalid_api_key")],
            end: nothing,
            billed: None,
        },
        Case {
            name: "a wrong request is not tried again",
            scripts: vec![Script::error(400, "context_length_exceeded")],
            end: nothing,
            billed: None,
        },
        Case {
            name: "three failures are enough",
            scripts: vec![Script::error(500, "server_error"); 3],
            end: nothing,
            billed: None,
        },
        Case {
            name: "an error with status 200",
            scripts: vec![json_body(json!({"error": {"message": "no", "code": "server_error"}}))],
            end: nothing,
            billed: None,
        },
        Case {
            name: "a page instead of an answer",
            scripts: vec![Script {
                content_type: "text/html",
                ..Script::steps(vec![raw("<html>Log in to the Wi-Fi</html>")])
            }],
            end: nothing,
            billed: None,
        },
        Case {
            name: "a body that is no answer",
            scripts: vec![json_body(json!(["surprise"]))],
            end: nothing,
            billed: None,
        },
        Case {
            name: "an empty stream",
            scripts: vec![Script::steps(vec![])],
            end: nothing,
            billed: None,
        },
        Case {
            name: "a reset before the first token",
            scripts: vec![Script::steps(vec![Step::Reset])],
            end: nothing,
            billed: None,
        },
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_provider_is_asked_again_and_billed_once() {
    survives(vec![
        Case {
            name: "429, and come back in a second",
            scripts: vec![
                after("retry-after: 1", Script::error(429, "rate_limit_exceeded")),
                Script::text(&["Forty-two."], 10, 2),
            ],
            end: ("finish", "Forty-two."),
            billed: EXACT,
        },
        Case {
            name: "503, twice",
            scripts: vec![
                Script::error(503, "overloaded"),
                Script::error(502, "bad_gateway"),
                Script::text(&["Forty-two."], 10, 2),
            ],
            end: ("finish", "Forty-two."),
            billed: EXACT,
        },
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_kept_and_estimated() {
    let partial = ("error", "Forty");
    let case = |name, steps: Vec<Step>| {
        let steps = [vec![text("Forty")], steps].concat();
        Case { name, scripts: vec![Script::steps(steps)], end: partial, billed: ESTIMATED }
    };
    let error = r#"data: {"error":{"message":"boom","type":"server_error"}}"#;
    survives(vec![
        case("reset in the middle", vec![Step::Reset]),
        case("the end without a finish", vec![]),
        case("half a frame", vec![raw("data: {\"choices\":[{\"delta\"")]),
        case("garbage", vec![raw("data: }{ not json\n\n")]),
        case("not UTF-8", vec![raw(b"data: \xff\xfe\n\n")]),
        case("a line over 1 MiB", vec![raw("data: "), raw(vec![b'x'; (1 << 20) + 1]), raw("\n\n")]),
        case("an error frame", vec![raw(format!("{error}\n\n")), text("never"), Step::Done]),
        case("an error event", vec![raw("event: error\ndata: {\"message\":\"boom\"}\n\n")]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_waited_out_and_not_for_ever() {
    let hang = |steps: Vec<Step>| vec![Script::steps([steps, vec![Step::Hang]].concat())];
    let cases = [
        Case {
            name: "silence before the head of the response",
            scripts: vec![Script::silence()],
            end: ("error", ""),
            billed: None,
        },
        Case {
            name: "silence before the first token",
            scripts: hang(vec![]),
            end: ("error", ""),
            billed: None,
        },
        Case {
            name: "silence in the middle",
            scripts: hang(vec![text("Forty")]),
            end: ("error", "Forty"),
            billed: ESTIMATED,
        },
    ];
    // Each takes as long as its limit (20 or 30 s): a world of its own, all at the same time.
    join_all(cases.map(|case| survives(vec![case]))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_an_end_is_ended() {
    // A little more than a mebibyte is kept of it: no multiple of the pieces fits exactly.
    let piece = "Forty-two! ".repeat(1000);
    let kept: &str = Box::leak(piece.repeat((1 << 20) / piece.len() + 1).into_boxed_str());
    let delta = json!({"choices": [{"delta": {"content": piece}}]});
    let counted = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    let forever = |json: Value| Step::Forever(format!("data: {json}\n\n").into_bytes());
    survives(vec![
        Case {
            name: "text for ever",
            scripts: vec![Script::steps(vec![forever(delta)])],
            end: ("finish", kept),
            billed: ESTIMATED,
        },
        Case {
            name: "frames for ever after the finish",
            scripts: vec![Script::steps(vec![text("Forty-two."), Step::Finish, forever(counted)])],
            end: ("finish", "Forty-two."),
            billed: EXACT,
        },
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_believed_only_where_it_can_be_true() {
    let answered = ("finish", "Forty-two.");
    let case = |name, steps: Vec<Step>, billed| {
        let steps = [vec![text("Forty-two."), Step::Finish], steps, vec![Step::Done]].concat();
        Case { name, scripts: vec![Script::steps(steps)], end: answered, billed: Some(billed) }
    };
    let negative = json!({"prompt_tokens": -120, "completion_tokens": 4});
    let absurd = json!({"prompt_tokens": 9e17, "completion_tokens": u64::MAX});
    survives(vec![
        case("said twice", vec![Step::Usage(120, 7), Step::Usage(120, 7)], ("exact", "exact")),
        case("negative", vec![usage(negative)], ("estimated", "exact")),
        case("absurd", vec![usage(absurd)], ("estimated", "estimated")),
        case("not said", vec![], ("estimated", "estimated")),
        case("nonsense", vec![usage(json!("many"))], ("estimated", "estimated")),
        case("after a reset", vec![Step::Reset], ("estimated", "estimated")),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dialects_of_the_event_stream_are_understood() {
    let delta = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    let crlf = format!(
        "\u{feff}: hello\r\n\r\nevent: message\r\nid: 1\r\ndata: {}\r\n\r\n: still here\r\n\r\n\
         data:{}\r\n\r\ndata: [DONE]\r\n\r\n",
        delta("Forty-"),
        delta("two.")
    );
    let whole = json!({"choices": [{"message": {"content": "Forty-two."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    survives(vec![
        Case {
            name: "a byte order mark, CRLF, comments and ids",
            scripts: vec![Script::steps(vec![raw(crlf)])],
            end: ("finish", "Forty-two."),
            billed: ESTIMATED,
        },
        Case {
            name: "no [DONE]",
            scripts: vec![Script::steps(vec![text("Forty-two."), Step::Finish, Step::Usage(3, 4)])],
            end: ("finish", "Forty-two."),
            billed: EXACT,
        },
        Case {
            name: "a server that does not stream",
            scripts: vec![json_body(whole)],
            end: ("finish", "Forty-two."),
            billed: EXACT,
        },
        Case {
            name: "NUL, which the database cannot hold",
            scripts: vec![Script::text(&["\0", "Forty\0-", "two."], 3, 4)],
            end: ("finish", "Forty-two."),
            billed: EXACT,
        },
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_cut_by_the_network_arrives_whole() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let frame = format!("data: {}\n\n", json!({"choices": [{"delta": {"content": "schön 🦀"}}]}));
    let bytes = frame.into_bytes();
    // Inside "ö" and inside the crab; each piece must have been read before the next is sent.
    let cuts = [0xc3, 0xf0].map(|lead| bytes.iter().position(|byte| *byte == lead).unwrap() + 1);
    world.provider.next(Script::steps(vec![
        text("Wie "),
        raw(&bytes[..cuts[0]]),
        Step::Wait,
        raw(&bytes[cuts[0]..cuts[1]]),
        Step::Wait,
        raw(&bytes[cuts[1]..]),
        Step::Finish,
        Step::Done,
    ]));
    let mut stream = anna.stream(json!({"text": "Wie ist es?"})).await;
    let turn = stream.turn();
    for _ in 0..2 {
        world.provider.until_waiting(1).await;
        world.provider.release();
    }
    stream.rest().await;
    assert_eq!(anna.attach(&turn, -1).await.answer().await.text(), "Wie schön 🦀");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_providers_address() {
    // Bound and closed again: nothing listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = ("OPENAI_BASE_URL", format!("http://{free}/v1"));
    let world = World::with(WorldOptions { settings: vec![url], ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    let answer = anna.ask("Anybody?").await;
    assert_eq!((answer.end().as_str(), answer.text().as_str()), ("error", ""));
    assert_eq!(billed(&world, &answer).await, Vec::<String>::new());
    is_stored_as_streamed(&anna, &answer).await;
    let error = answer.of("error")[0].to_string();
    assert!(!error.contains(&free.to_string()), "the address is nobody's business: {error}");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_can_be_stopped() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for said in ["", "Forty"] {
        let steps = if said.is_empty() { vec![] } else { vec![text(said)] };
        world.provider.next(Script::steps([steps, vec![Step::Wait]].concat()));
        let stream = anna.stream(json!({"text": "Well?"})).await;
        world.provider.until_waiting(1).await;
        assert_eq!(anna.stop(&stream.turn()).await, 202);
        world.provider.until_closed().await;
        let answer = stream.answer().await;
        assert_eq!(answer.end(), "abort");
        assert!(answer.text().is_empty() || answer.text() == said);
        assert_eq!(billed(&world, &answer).await, expected(ESTIMATED));
        let next = anna.ask_in(&answer.conversation, "And now?").await;
        assert_eq!(next.end(), "finish");
        world.database.check_books().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_wants_to_be_left_alone_is() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(after("retry-after: 86400", Script::error(429, "rate_limit_exceeded")));
    for _ in 0..2 {
        let answer = anna.ask("What is six times seven?").await;
        assert_eq!((answer.end().as_str(), answer.text().as_str()), ("error", ""));
        assert_eq!(answer.of("data-error")[0]["data"]["code"], "model_busy");
        assert_eq!(billed(&world, &answer).await, Vec::<String>::new());
    }
    assert_eq!(world.provider.calls(), 1, "it was asked once");
    world.database.check_books().await;
}
