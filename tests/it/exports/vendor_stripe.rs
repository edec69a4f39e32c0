//! Stripe's meter events as documented: form-encoded, one per request, whole numbers, timestamps of the
//! past 35 days, identifiers that are known again for 24 hours and then refused with a sentence.

use super::desk::{Book, Desk, Mood, Request, Response, Rules};
use super::ledger::Ledger;
use super::scene::Scene;
use super::stories::stories;
use chrono::Utc;
use docent::export::Round;
use serde_json::json;
use std::collections::BTreeMap;

const KEY: &str = "rk_test_canary_71aa";

struct Stripe;

impl Rules for Stripe {
    fn take(&mut self, request: &Request, book: &mut Book) -> Response {
        let error = |status: u16, message: &str| {
            (status, json!({"error": {"type": "invalid_request_error", "message": message}}))
        };
        if request.header("authorization") != format!("Bearer {KEY}") {
            book.wrong.push("no key".into());
            return error(401, "Invalid API Key provided");
        }
        let fields: BTreeMap<String, String> =
            reqwest::Url::parse(&format!("http://x/?{}", request.body))
                .unwrap()
                .query_pairs()
                .into_owned()
                .collect();
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let (id, value) = (field("identifier"), field("payload[value]"));
        let timestamp: i64 = field("timestamp").parse().unwrap();
        let age = Utc::now().timestamp() - timestamp;
        let form = request.header("content-type") == "application/x-www-form-urlencoded";
        if request.line != "POST /v1/billing/meter_events" || !form || id.len() > 100 {
            book.wrong.push(request.body.clone());
        }
        if !(-300..=35 * 24 * 3600).contains(&age) {
            book.wrong.push(format!("timestamp {timestamp}"));
            return error(400, "The timestamp must be within the past 35 calendar days");
        }
        if book.poison.contains(&id) {
            return error(400, "No active meter found for the event name");
        }
        if book.known.contains(&id) {
            book.again += 1;
            return error(400, &format!("An event already exists with identifier {id}."));
        }
        let Ok(quantity) = value.parse() else { return error(400, "Invalid value") };
        if quantity == 0 {
            book.wrong.push("a zero, which changes nothing".into());
        }
        book.take(&id, &field("payload[stripe_customer_id]"), &field("event_name"), quantity);
        (200, json!({"object": "billing.meter_event", "identifier": id}))
    }
}

/// Nobody has a customer yet.
async fn strangers() -> Scene {
    let desk = Desk::open(Stripe).await;
    let settings = vec![
        ("EXPORT_STRIPE_URL", desk.url.clone()),
        ("EXPORT_STRIPE_KEY", KEY.to_owned()),
        ("EXPORT_STRIPE_EVENTS", "pages=docent_pages".to_owned()),
    ];
    Scene { ledger: Ledger::open().await, desk, exporter: "stripe", settings }
}

async fn scene() -> Scene {
    let scene = strangers().await;
    scene.ledger.name("stripe", "acme", "cus_acme").await;
    scene.ledger.name("stripe", "globex", "cus_globex").await;
    scene
}

stories!(scene);

#[tokio::test(flavor = "multi_thread")]
async fn what_stripe_has_forgotten_is_not_sent_blindly() {
    let scene = scene().await;
    scene.ledger.grow(20).await;
    scene.desk.mood([Mood::Well, Mood::Hang]);
    let first = scene.node();
    let dying = tokio::spawn(async move { first.round().await });
    scene.desk.called(2).await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());

    // A day later Stripe knows none of the identifiers, and would take each for new.
    scene.ledger.a_minute_passes().await;
    scene
        .ledger
        .database
        .run("UPDATE export_cursors SET doubt_since = now() - interval '1 day'")
        .await;
    scene.desk.book(|book| book.known.clear());
    scene.ledger.grow(3).await;
    let second = scene.node();
    scene.export(&second).await;
    assert_eq!(scene.desk.book(|book| book.wrong.clone()), Vec::<String>::new());
    let parked = scene.ledger.parked("stripe").await;
    assert_eq!(parked.len(), 18, "all but zeros: an operator has to look: {parked:?}");
    assert!(parked.iter().all(|row| row.contains(" in_doubt: ")), "{parked:?}");
    assert_eq!(scene.ledger.cursor("stripe").await, 23, "and the rest goes on");
    assert_eq!(scene.desk.book(|book| book.events.len()), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_was_heard_leaves_no_doubt() {
    let scene = scene().await;
    scene.ledger.grow(20).await;
    let node = scene.node();
    let doubt = "SELECT coalesce(max(doubt_seq), 0) AS n FROM export_cursors";
    for (mood, doubtful) in [
        (Mood::Down(401, ""), 0),
        (Mood::Down(429, ""), 0),
        (Mood::Down(500, ""), 1), // the row that was sent, not the page
        (Mood::Down(429, ""), 1), // and a refusal now says nothing about then
    ] {
        scene.desk.mood([mood.clone()]);
        assert_eq!(node.round().await.unwrap(), Round::Held);
        assert_eq!(scene.ledger.database.number(doubt).await, doubtful, "{mood:?}");
    }
    scene.export(&node).await;
    scene.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_a_customer_waits_for_one() {
    let scene = strangers().await;
    scene.ledger.name("stripe", "acme", "cus_acme").await;
    scene.ledger.grow(30).await;
    let node = scene.node();
    scene.export(&node).await;
    let parked = scene.ledger.parked("stripe").await;
    assert_eq!(parked.len(), 10);
    assert!(parked.iter().all(|row| row.ends_with(" no_customer")), "{parked:?}");
    assert!(scene.desk.book(|book| book.events.values().all(|event| event.0 == "cus_acme")));

    let said = scene.operator("export customer stripe globex cus_globex").await;
    assert_eq!(said.trim(), "globex is cus_globex at stripe.");
    let said = scene.operator("export retry stripe").await;
    assert!(said.starts_with("10 parked rows"), "{said}");
    scene.export(&node).await;
    scene.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_is_too_old_for_stripe_is_parked_and_not_sent() {
    let scene = scene().await;
    scene.ledger.grow(3).await;
    let old = "UPDATE usage_ledger SET occurred_at = now() - interval '36 days'
        WHERE event_id = (SELECT event_id FROM ledger_seals WHERE ledger_seq = 2)";
    scene.ledger.database.run(old).await;
    scene.export(&scene.node()).await;
    let parked = scene.ledger.parked("stripe").await;
    assert!(parked.len() == 1 && parked[0].starts_with("2 too_old"), "{parked:?}");
    assert_eq!(scene.desk.book(|book| book.wrong.clone()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn meters_are_called_what_the_operator_calls_them() {
    let mut scene = scene().await;
    scene.settings.push(("EXPORT_STRIPE_EVENTS", "requests=chat_requests".into()));
    scene.settings.retain(|(_, value)| value != "pages=docent_pages");
    scene.ledger.grow(12).await;
    scene.export(&scene.node()).await;
    let sums = scene.desk.book(|book| book.sums());
    let renamed = scene.ledger.sums("stripe").await;
    let mut renamed: Vec<String> =
        renamed.iter().map(|sum| sum.replace(" requests ", " chat_requests ")).collect();
    renamed.sort();
    assert_eq!(sums, renamed);
}
