//! Any receiver, by Standard Webhooks 1.0.0: usage in batches, notices one by one.
//!
//! A batch that is sent again has the same id and bytes. Only 2xx is a yes; 410 means that the receiver
//! wants no more.

use super::answer::{Answer, Piece, Rendered, post};
use crate::config::WebhookSettings;
use crate::store::exported::{Notice, UsageRow};
use crate::types::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The receiver.
#[derive(Clone)]
pub(super) struct Webhook {
    client: Client,
    url: Secret,
    keys: Vec<Secret>,
}

impl Webhook {
    pub(super) fn new(client: Client, settings: &WebhookSettings) -> Self {
        Self { client, url: settings.url.clone(), keys: settings.keys.clone() }
    }

    pub(super) fn render_usage(row: &UsageRow) -> Rendered {
        let mut event = serde_json::to_value(row).map_err(|error| error.to_string())?;
        if row.customer.is_none()
            && let Some(event) = event.as_object_mut()
        {
            event.insert("customer".into(), row.tenant.clone().into());
        }
        Ok(Some(event))
    }

    pub(super) fn render_notice(notice: &Notice) -> Rendered {
        let data = json!({ "tenant": notice.tenant, "id": notice.id, "notice": notice.data });
        let (kind, at) = (&notice.kind, notice.created_at);
        Ok(Some(json!({ "type": kind, "timestamp": at, "data": data })))
    }

    pub(super) async fn send_usage(&self, batch: &[Piece]) -> Answer {
        let last = batch.last().and_then(|piece| piece.body.get("occurred_at"));
        let events: Vec<&Value> = batch.iter().map(|piece| &piece.body).collect();
        let data = json!({ "events": events });
        self.send(batch, &json!({ "type": "usage.recorded", "timestamp": last, "data": data }))
            .await
    }

    /// Sends the first of `batch`, which has no more.
    pub(super) async fn send_notice(&self, batch: &[Piece]) -> Answer {
        match batch.first() {
            Some(piece) => self.send(batch, &piece.body).await,
            None => Answer::Taken,
        }
    }

    async fn send(&self, batch: &[Piece], message: &Value) -> Answer {
        let (id, body) = (id(batch), message.to_string());
        let now = Utc::now().timestamp();
        let signed = format!("{id}.{now}.{body}");
        let signatures: Vec<String> = self.keys.iter().map(|key| sign(key, &signed)).collect();
        let request = self
            .client
            .post(self.url.expose())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", signatures.join(" "))
            .body(body);
        match post(request, self.keys.first()).await {
            Ok(()) => Answer::Taken,
            Err(no) if no.is_final() => Answer::Refused(no.hold.error),
            Err(mut no) => {
                no.hold.gone = no.status() == 410;
                // Whatever it said, it saw this id: the batch stays as it is.
                no.hold.in_doubt = true;
                Answer::Hold(no.hold)
            }
        }
    }
}

/// The same for the same events, and another for others.
fn id(batch: &[Piece]) -> String {
    let mut hash = Sha256::new();
    batch.iter().for_each(|piece| hash.update(piece.event_id.as_bytes()));
    let mut id = String::from("msg_");
    for byte in hash.finalize().iter().take(16) {
        let _ = write!(id, "{byte:02x}"); // writing to a String cannot fail
    }
    id
}

fn sign(key: &Secret, signed: &str) -> String {
    let key = STANDARD.decode(key.expose()).unwrap_or_default(); // the settings were checked
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(signed.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_specification_does() {
        // The example of the reference libraries.
        let key = Secret::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(sign(&key, signed), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
