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

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_impossible_usage_is_estimated_and_not_zero() {
    for usage in [
        None,
        Some("null"),
        Some("{}"),
        Some(r#"{"prompt_tokens":-5,"completion_tokens":-1}"#),
        Some(r#"{"prompt_tokens":1e18,"completion_tokens":999999999999}"#),
        Some(r#"{"prompt_tokens":"12","completion_tokens":null}"#),
        Some("[1, 2]"),
    ] {
        let world = World::start().await;
        let anna = world.user("anna@acme.test").await;
        let mut steps = vec![text("Six times seven "), text("is forty-two."), Step::Finish];
        steps.extend(usage.map(claims));
        steps.push(Step::Done);
        world.provider.next(Script::steps(steps));
        let answer = anna.ask("What is six times seven?").await;
        assert_eq!(answer.end(), "finish", "{usage:?}");
        let paid = ledger(&world.database).await;
        estimated(&paid, "input_tokens", 50);
        estimated(&paid, "output_tokens", 5);
        assert_eq!(answer.usage()["provenance"], "estimated", "{usage:?}");
        assert!(answer.usage()["cost_nano_usd"].as_i64().unwrap() > 0);
        world.database.check_books().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_usage_is_believed_by_half() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let claim = claims(r#"{"prompt_tokens":77,"completion_tokens":-1}"#);
    world.provider.next(Script::steps(vec![text("Forty-two."), Step::Finish, claim, Step::Done]));
    let answer = anna.ask("Hello?").await;
    let paid = ledger(&world.database).await;
    assert!(paid.contains(&"input_tokens 77 exact".to_owned()), "{paid:?}");
    estimated(&paid, "output_tokens", 2);
    assert_eq!(answer.usage()["provenance"], "estimated");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_grows_is_billed_once_at_its_last_word() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::steps(vec![
        Step::Usage(100, 1),
        text("Forty"),
        Step::Usage(100, 2),
        text("-two."),
        Step::Finish,
        Step::Usage(100, 3),
        Step::Usage(100, 3),
        Step::Done,
    ]));
    anna.ask("Hello?").await;
    let paid = ["requests 1 exact", "input_tokens 100 exact", "output_tokens 3 exact"];
    assert_eq!(ledger(&world.database).await, paid);
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
    let differences = "SELECT count(*) AS n FROM billing.differences_v1";
    assert_eq!(world.database.number(differences).await, 0);
}
