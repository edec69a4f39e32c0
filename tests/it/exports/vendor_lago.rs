//! Lago as its source has it: at most 100 events, all or none, errors by index, and an event that is
//! there already is an error, too.

use super::desk::{Book, Desk, Request, Response, Rules};
use super::ledger::Ledger;
use super::scene::Scene;
use super::stories::stories;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const KEY: &str = "lago_canary_71aa";

#[derive(Default)]
struct Lago {
    /// Cents by id.
    cents: std::sync::Arc<std::sync::Mutex<BTreeMap<String, String>>>,
}

impl Rules for Lago {
    fn take(&mut self, request: &Request, book: &mut Book) -> Response {
        if request.header("authorization") != format!("Bearer {KEY}") {
            book.wrong.push("no key".into());
            return (401, json!({"status": 401, "error": "Unauthorized"}));
        }
        let body = request.json();
        let invalid = |details: Value| {
            let (error, code) = ("Unprocessable Entity", "validation_errors");
            (422, json!({"status": 422, "error": error, "code": code, "error_details": details}))
        };
        let events = body["events"].as_array().cloned().unwrap_or_default();
        if request.line != "POST /api/v1/events/batch" || events.is_empty() || events.len() > 100 {
            book.wrong.push(format!("{} with {} events", request.line, events.len()));
            return invalid(json!({"events": ["too_many_events"]}));
        }
        let mut errors = Map::new();
        for (index, event) in events.iter().enumerate() {
            let id = event["transaction_id"].as_str().unwrap();
            if book.known.contains(id) {
                book.again += 1;
                errors
                    .insert(index.to_string(), json!({"transaction_id": ["value_already_exist"]}));
            } else if book.poison.contains(id) {
                errors.insert(index.to_string(), json!({"code": ["value_is_invalid"]}));
            } else if !event["timestamp"].is_number() {
                errors.insert(index.to_string(), json!({"timestamp": ["invalid_format"]}));
            }
        }
        if !errors.is_empty() {
            return invalid(Value::Object(errors));
        }
        for event in &events {
            let text = |name: &str| event[name].as_str().unwrap();
            let quantity = event["properties"]["quantity"].as_i64().unwrap();
            let id = text("transaction_id");
            book.take(id, text("external_subscription_id"), text("code"), quantity);
            if let Some(cents) = event["precise_total_amount_cents"].as_str() {
                self.cents.lock().unwrap().insert(id.to_owned(), cents.to_owned());
            }
        }
        (200, json!({ "events": [] }))
    }
}

async fn with(rules: Lago) -> Scene {
    let ledger = Ledger::open().await;
    ledger.name("lago", "acme", "sub_acme").await;
    ledger.name("lago", "globex", "sub_globex").await;
    let desk = Desk::open(rules).await;
    let settings = vec![("EXPORT_LAGO_URL", desk.url.clone()), ("EXPORT_LAGO_KEY", KEY.to_owned())];
    Scene { ledger, desk, exporter: "lago", settings }
}

async fn scene() -> Scene {
    with(Lago::default()).await
}

stories!(scene);

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_arrives_to_the_last_nano_dollar() {
    let lago = Lago::default();
    let cents = std::sync::Arc::clone(&lago.cents);
    let scene = with(lago).await;
    scene.ledger.grow(90).await;
    scene.export(&scene.node()).await;
    let nano = |cents: &String| cents.replace('.', "").parse::<i64>().unwrap();
    let arrived: i64 = cents.lock().unwrap().values().map(nano).sum();
    let database = &scene.ledger.database;
    let booked = "SELECT sum(cost_nano_usd)::bigint AS n FROM billing.ledger_v1";
    assert_eq!(arrived, database.number(booked).await);
    let priced = "SELECT count(cost_nano_usd) AS n FROM billing.ledger_v1";
    let priced = database.number(priced).await;
    assert_eq!(
        cents.lock().unwrap().len(),
        usize::try_from(priced).unwrap(),
        "no price is not zero"
    );
}
