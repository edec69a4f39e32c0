//! What a turn costs by how it ended, and whom the bill believes.

use super::{ledger, reserved};
use crate::support::{Script, Step, World, WorldOptions};
use serde_json::{Value, json};

/// The quantity of a meter, which must be an estimate above `least`.
fn estimated(ledger: &[String], meter: &str, least: i64) {
    let found = ledger.iter().find(|line| line.starts_with(meter));
    let words: Vec<&str> = found.expect(meter).split(' ').collect();
    assert!(words[1].parse::<i64>().unwrap() >= least, "{ledger:?}");
    assert_eq!(words[2], "estimated", "{ledger:?}");
}

/// A usage chunk with anything in it.
pub(super) fn claims(usage: &str) -> Step {
    Step::Raw(format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\n").into_bytes())
}

pub(super) fn text(text: &str) -> Step {
    Step::Text(text.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_the_first_word_is_free() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for script in [
        Script::error(400, "bad_request"),
        Script::error(401, "invalid_api_key"),
        Script::steps(vec![]),
        Script::steps(vec![Step::Raw(b"data: {\"error\":{\"message\":\"boom\"}}\n\n".to_vec())]),
        Script::steps(vec![Step::Raw(b"data: this is no JSON\n\n".to_vec())]),
    ] {
        world.provider.next(script);
        let answer = anna.ask("Hello?").await;
        assert_eq!((answer.end().as_str(), answer.usage()), ("error", Value::Null));
    }
    assert_eq!(world.database.number("SELECT count(*) AS n FROM usage_ledger").await, 0);
    assert_eq!(reserved(&world.database).await, 0);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_a_failure_is_estimated() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for ending in [vec![Step::Reset], vec![]] {
        let mut steps = vec![text("Half an answer "), text("is better than none")];
        steps.extend(ending);
        world.provider.next(Script::steps(steps));
        let answer = anna.ask("Hello?").await;
        assert_eq!(answer.end(), "error");
        assert!(answer.text().starts_with("Half an answer"));
        assert_eq!(answer.usage()["provenance"], "estimated");
    }
    let paid = ledger(&world.database).await;
    assert_eq!(paid.len(), 6, "{paid:?}");
    estimated(&paid, "input_tokens", 50);
    estimated(&paid, "output_tokens", 3);
    world.database.check_books().await;
}

/// What a provider may say after its answer, and what is billed of input, cached input and output: what
/// was said, or (`None`) an estimate.
type Claim = (&'static str, Vec<Step>, [Option<i64>; 3]);

/// A usage chunk with anything in it, and the end.
fn said(usage: &str) -> Vec<Step> {
    vec![claims(usage), Step::Done]
}

/// What can be true is billed as it was said last.
fn believed() -> Vec<Claim> {
    let (cached, lie) = ("prompt_tokens_details", claims(r#"{"prompt_tokens":-1}"#));
    let of = |n: u64| {
        said(&format!(
            r#"{{"prompt_tokens":120,"completion_tokens":7,"{cached}":{{"cached_tokens":{n}}}}}"#
        ))
    };
    let last = [Some(120), Some(0), Some(7)];
    let (one, nine, seven) = (Step::Usage(120, 1), Step::Usage(120, 9), Step::Usage(120, 7));
    vec![
        ("once", vec![seven.clone(), Step::Done], last),
        ("twice", vec![seven.clone(), seven.clone(), Step::Done], last),
        ("more and more", vec![one, nine.clone(), Step::Done], [Some(120), Some(0), Some(9)]),
        ("less at the end", vec![nine, seven.clone(), Step::Done], last),
        ("and then a lie", vec![seven.clone(), lie, Step::Done], last),
        ("without [DONE]", vec![seven.clone()], last),
        ("and then a reset", vec![seven, Step::Reset], last),
        ("zero", vec![Step::Usage(0, 0), Step::Done], [Some(0); 3]),
        ("zero output", vec![Step::Usage(120, 0), Step::Done], [Some(120), Some(0), Some(0)]),
        ("partly cached", of(100), [Some(20), Some(100), Some(7)]),
        ("more cached than read", of(121), last),
    ]
}

/// What was not said, or cannot be true, is estimated and not zero.
fn doubted() -> Vec<Claim> {
    let within = Step::Raw(b"data: {\"choices\":[],\"usage\":{\"prompt_tok".to_vec());
    let none = [None, Some(0), None];
    let (input, output) = ([Some(120), Some(0), None], [None, Some(0), Some(7)]);
    let both = |n: &str| said(&format!(r#"{{"prompt_tokens":{n},"completion_tokens":{n}}}"#));
    vec![
        ("absent", vec![Step::Done], none),
        ("cut off before it", vec![], none),
        ("reset before it", vec![Step::Reset], none),
        ("cut off within it", vec![within], none),
        ("null", said("null"), none),
        ("empty", said("{}"), none),
        ("a list", said("[120, 7]"), none),
        ("a word", both(r#""120""#), none),
        ("a fraction", both("120.5"), none),
        ("negative", both("-5"), none),
        ("absurd", both("1e18"), none),
        ("as much as a number holds", both("18446744073709551615"), none),
        ("more than there can be", both("999999999999"), none),
        ("input only", said(r#"{"prompt_tokens":120}"#), input),
        ("output only", said(r#"{"completion_tokens":7}"#), output),
        (
            "input, and less than no output",
            said(r#"{"prompt_tokens":120,"completion_tokens":-1}"#),
            input,
        ),
        (
            "output, and less than no input",
            said(r#"{"prompt_tokens":-1,"completion_tokens":7}"#),
            output,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_is_billed_where_it_can_be_true_and_the_rest_is_estimated() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for (name, steps, expected) in [believed(), doubted()].concat() {
        let answered = vec![text("Six times seven "), text("is forty-two."), Step::Finish];
        world.provider.next(Script::steps([answered, steps].concat()));
        let answer = anna.ask(&format!("What is six times seven, {name}?")).await;
        assert_eq!(answer.end(), "finish", "{name}");
        let billed = async |meter: &str, provenance: &str| {
            let sum = format!(
                "SELECT coalesce(sum(quantity), -1)::bigint AS n FROM usage_ledger WHERE turn_id = '{}'
                 AND meter = '{meter}_tokens' AND provenance = '{provenance}'",
                answer.turn
            );
            world.database.number(&sum).await
        };
        for (meter, expected) in ["input", "cached_input", "output"].into_iter().zip(expected) {
            let (exact, estimated) =
                (billed(meter, "exact").await, billed(meter, "estimated").await);
            match (meter, expected) {
                ("cached_input", Some(0)) => assert_eq!((exact, estimated), (-1, -1), "{name}"),
                (_, Some(n)) => assert_eq!((exact, estimated), (n, -1), "{meter}: {name}"),
                ("input", None) => assert!(exact == -1 && estimated >= 50, "{estimated}: {name}"),
                (_, None) => assert!(exact == -1 && estimated >= 5, "{estimated}: {name}"),
            }
        }
        let provenance = if expected.contains(&None) { "estimated" } else { "exact" };
        let usage = answer.usage();
        assert_eq!(usage["provenance"], provenance, "{name}");
        let cost = format!(
            "SELECT sum(cost_nano_usd)::bigint AS n FROM usage_ledger WHERE turn_id = '{}'",
            answer.turn
        );
        assert_eq!(usage["cost_nano_usd"], world.database.number(&cost).await, "{name}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_first_word_bills_the_prompt() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(5, 0));
    let stream = anna.stream(json!({"text": "Never mind."})).await;
    world.provider.until_waiting(1).await;
    let (status, _) = anna.post(&format!("/v1/turns/{}/stop", stream.turn()), json!({})).await;
    assert_eq!(status, 202);
    assert_eq!(stream.answer().await.end(), "abort");
    let paid = ledger(&world.database).await;
    assert_eq!(
        (paid[0].as_str(), paid[2].as_str()),
        ("requests 1 exact", "output_tokens 0 estimated")
    );
    estimated(&paid, "input_tokens", 50);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_price_costs_unknown_and_not_nothing() {
    let settings = vec![("CHAT_MODEL", "house-blend".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    let answer = anna.ask("Hello?").await;
    assert_eq!(answer.usage()["cost_nano_usd"], Value::Null);
    assert_eq!(anna.get("/v1/usage").await.1["cost_nano_usd"], Value::Null);
    let unpriced = "SELECT count(*) AS n FROM usage_ledger
        WHERE cost_nano_usd IS NOT NULL AND meter <> 'embedding_tokens'";
    assert_eq!(world.database.number(unpriced).await, 0);

    let free = World::with(WorldOptions { provider: false, ..WorldOptions::default() }).await;
    let anna = free.user("anna@acme.test").await;
    assert_eq!(anna.ask("Hello?").await.usage()["cost_nano_usd"], 0, "the demo has a price: none");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_conversation_deletes_no_bill() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let answer = anna.ask("Hello?").await;
    let (paid, used) = (ledger(&world.database).await, anna.get("/v1/usage").await.1);
    let path = format!("/v1/conversations/{}", answer.conversation);
    assert_eq!(anna.delete(&path).await.0, 204);
    assert_eq!((ledger(&world.database).await, anna.get("/v1/usage").await.1), (paid, used));
    world.database.check_books().await;
}

/// What the provider says is what it charges: it is billed, even past the limit, and then it is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_counts_more_than_was_reserved_is_believed_once() {
    let world = super::Plan::monthly(&[("user", "tokens", 10_000)]).world().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::text(&["Forty-two."], 12_000, 3));
    assert_eq!(anna.ask("Hello?").await.usage()["input_tokens"], 12_000);
    let (status, problem) = anna.post("/v1/chat/send", json!({"text": "Again?"})).await;
    assert_eq!((status, problem["code"].as_str()), (429, Some("quota_exceeded")));
    assert_eq!(problem["quota"]["used"], 12_003);
    world.database.check_books().await; // over its limit, and everybody knows by what
}
