//! `OpenMeter` as its documentation and source describe it: `CloudEvents` in batches, a bearer token, 204,
//! and silent deduplication by source and id.

use super::desk::{Book, Desk, Request, Response, Rules};
use super::ledger::Ledger;
use super::scene::Scene;
use super::stories::stories;
use serde_json::{Value, json};

const TOKEN: &str = "om_canary_71aa";

struct OpenMeter;

impl Rules for OpenMeter {
    fn take(&mut self, request: &Request, book: &mut Book) -> Response {
        let problem = |status: u16, detail: &str| {
            (
                status,
                json!({"type": "about:blank", "title": "x", "status": status, "detail": detail}),
            )
        };
        if request.header("authorization") != format!("Bearer {TOKEN}") {
            book.wrong.push("no token".into());
            return problem(401, "unauthorized");
        }
        if request.line != "POST /api/v1/events"
            || request.header("content-type") != "application/cloudevents-batch+json"
        {
            book.wrong.push(request.line.clone());
            return problem(400, "invalid content type");
        }
        let Value::Array(events) = request.json() else { return problem(400, "invalid event") };
        for event in &events {
            let needed = ["id", "source", "type", "subject"];
            let there =
                needed.iter().all(|name| event[name].as_str().is_some_and(|s| !s.is_empty()));
            let time = event["time"].as_str().unwrap_or_default();
            let time = chrono::DateTime::parse_from_rfc3339(time).is_ok();
            if event["specversion"] != "1.0" || !there || !time {
                book.wrong.push(format!("not a CloudEvent: {event}"));
            }
            if book.poison.contains(event["id"].as_str().unwrap()) {
                return problem(400, "invalid event");
            }
        }
        for event in events {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            let quantity = event["data"]["quantity"].as_i64().unwrap();
            assert_eq!(text("source"), "docent");
            book.take(&text("id"), &text("subject"), &text("type"), quantity);
        }
        (204, Value::Null)
    }
}

async fn scene() -> Scene {
    let ledger = Ledger::open().await;
    ledger.name("openmeter", "globex", "customer-7").await; // the other one is its slug
    let desk = Desk::open(OpenMeter).await;
    let settings = vec![
        ("EXPORT_OPENMETER_URL", format!("{}/", desk.url)),
        ("EXPORT_OPENMETER_TOKEN", TOKEN.to_owned()),
    ];
    Scene { ledger, desk, exporter: "openmeter", settings }
}

stories!(scene);
