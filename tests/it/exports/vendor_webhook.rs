//! A receiver of Standard Webhooks 1.0.0: it checks signatures and times, and knows an id again.

use super::desk::{Book, Desk, Mood, Request, Response, Rules};
use super::ledger::Ledger;
use super::scene::Scene;
use super::stories::stories;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use docent::export::Round;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What the receiver got, by id and in order.
pub type Inbox = Arc<Mutex<Vec<(String, Value)>>>;

/// The receiver, with the secret it knows.
pub struct Receiver {
    pub secret: &'static str,
    pub inbox: Inbox,
    seen: BTreeMap<String, String>,
}

impl Receiver {
    pub fn new(secret: &'static str) -> Self {
        Self { secret, inbox: Inbox::default(), seen: BTreeMap::new() }
    }

    fn verify(&self, request: &Request) -> Result<(), String> {
        let (id, at) = (request.header("webhook-id"), request.header("webhook-timestamp"));
        let age = Utc::now().timestamp() - at.parse::<i64>().map_err(|error| error.to_string())?;
        if age.abs() > 300 || id.is_empty() || id.contains('.') {
            return Err(format!("id {id} at {at}"));
        }
        let key = STANDARD.decode(self.secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{id}.{at}.{}", request.body);
        let matches = request.header("webhook-signature").split(' ').any(|signature| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(signed.as_bytes());
            let signature = signature.strip_prefix("v1,").unwrap_or_default();
            STANDARD.decode(signature).is_ok_and(|bytes| mac.verify_slice(&bytes).is_ok())
        });
        if matches { Ok(()) } else { Err("wrong signature".into()) }
    }
}

impl Rules for Receiver {
    fn take(&mut self, request: &Request, book: &mut Book) -> Response {
        if let Err(why) = self.verify(request) {
            book.wrong.push(why);
            return (401, Value::Null);
        }
        if request.body.len() > 20_000 || request.header("content-type") != "application/json" {
            book.wrong.push(format!("{} bytes", request.body.len()));
        }
        let message = request.json();
        let events = message["data"]["events"].as_array().cloned().unwrap_or_default();
        let id = |event: &Value| event["event_id"].as_str().unwrap().to_owned();
        if events.iter().any(|event| book.poison.contains(&id(event))) {
            return (422, json!({"message": "cannot be booked"}));
        }
        let webhook = request.header("webhook-id").to_owned();
        if let Some(before) = self.seen.insert(webhook.clone(), request.body.clone()) {
            if before != request.body {
                book.wrong.push(format!("another message with the id {webhook}"));
            }
            book.again += 1;
            return (200, Value::Null);
        }
        if events.iter().any(|event| book.known.contains(&id(event))) {
            book.wrong.push("an event that came before, under another webhook-id".into());
        }
        for event in &events {
            let text = |name: &str| event[name].as_str().unwrap();
            let quantity = event["quantity"].as_i64().unwrap();
            book.take(&id(event), text("customer"), text("meter"), quantity);
        }
        self.inbox.lock().unwrap().push((webhook, message));
        (204, Value::Null)
    }
}

/// A scene with this receiver.
pub async fn with(exporter: &'static str, receiver: Receiver) -> Scene {
    let desk = Desk::open(receiver).await;
    let settings = vec![
        ("EXPORT_WEBHOOK_URL", format!("{}/hook?key=canary", desk.url)),
        ("EXPORT_WEBHOOK_SECRET", SECRET.to_owned()),
    ];
    Scene { ledger: Ledger::open().await, desk, exporter, settings }
}

async fn scene() -> Scene {
    with("webhook", Receiver::new(SECRET)).await
}

stories!(scene);

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_left_alone_until_somebody_says_otherwise() {
    let scene = scene().await;
    scene.ledger.grow(10).await;
    scene.desk.mood([Mood::Down(410, "")]);
    let node = scene.node();
    assert_eq!(node.round().await.unwrap(), Round::Held);
    scene.ledger.a_minute_passes().await;
    for node in [&node, &scene.node()] {
        assert_eq!(node.round().await.unwrap(), Round::Idle);
    }
    assert_eq!(scene.desk.calls(), 1);
    let status = scene.operator("export status").await;
    assert!(status.contains("disabled by the receiver, waits: HTTP 410"), "{status}");
    assert!(!status.contains("canary"), "the address may hold a key: {status}");

    scene.operator("export retry webhook").await;
    scene.export(&node).await;
    scene.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_is_the_same_message() {
    let scene = scene().await;
    scene.ledger.grow(10).await;
    scene.desk.mood([Mood::Cut, Mood::Down(429, "")]);
    let node = scene.node();
    for _ in 0..2 {
        assert_eq!(node.round().await.unwrap(), Round::Held);
        scene.ledger.grow(5).await; // a fresh page would hold these, too
    }
    scene.export(&node).await;
    scene.agree().await;
    assert_eq!(scene.desk.book(|book| book.again), 1, "known by its id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_no_success() {
    let scene = scene().await;
    scene.ledger.grow(1).await;
    scene.desk.mood([Mood::Down(307, "location: /elsewhere\r\n"), Mood::Down(304, "")]);
    let node = scene.node();
    for _ in 0..2 {
        assert_eq!(node.round().await.unwrap(), Round::Held);
    }
    scene.export(&node).await;
    scene.agree().await;
    assert_eq!(scene.desk.calls(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_sign_while_one_replaces_the_other() {
    const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let mut scene = with("webhook", Receiver::new(NEW)).await;
    scene.settings[1].1 = format!("{SECRET},{NEW}");
    scene.ledger.grow(5).await;
    scene.export(&scene.node()).await;
    scene.agree().await;
}
