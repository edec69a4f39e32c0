//! Lago: batches of at most 100 events. One that is wrong refuses the whole batch, and is named by its
//! index; one that is there already is refused, too, and is what we wanted.

use super::answer::{Answer, No, Piece, Rendered, post, tidy};
use crate::config::LagoSettings;
use crate::store::exported::UsageRow;
use crate::types::Secret;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Lago's API.
pub(super) struct Lago {
    client: Client,
    url: String,
    key: Secret,
}

impl Lago {
    pub(super) fn new(client: Client, settings: &LagoSettings) -> Self {
        let url = format!("{}/api/v1/events/batch", settings.url.trim_end_matches('/'));
        Self { client, url, key: settings.key.clone() }
    }

    pub(super) fn render(row: &UsageRow) -> Rendered {
        let mut event = json!({
            "transaction_id": row.event_id,
            "external_subscription_id": row.customer.as_ref().ok_or("no_customer")?,
            "code": format!("docent_{}", row.meter),
            "timestamp": row.occurred_at.timestamp(),
            "properties": {
                "quantity": row.quantity,
                "kind": row.kind,
                "model": row.model,
                "provenance": row.provenance,
                "user_id": row.user_id,
            },
        });
        if let (Some(nano), Some(event)) = (row.cost_nano_usd, event.as_object_mut()) {
            event.insert("precise_total_amount_cents".into(), cents(nano).into());
        }
        Ok(Some(event))
    }

    pub(super) async fn send(&self, batch: &[Piece]) -> Answer {
        let events: Vec<&Value> = batch.iter().map(|piece| &piece.body).collect();
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(self.key.expose())
            .header(CONTENT_TYPE, "application/json")
            .body(json!({ "events": events }).to_string());
        match post(request, Some(&self.key)).await {
            Ok(()) => Answer::Taken,
            Err(no) => self.answer(no, batch.len()),
        }
    }

    fn answer(&self, no: No, sent: usize) -> Answer {
        if no.status() != 422 {
            return no.into_answer();
        }
        let details = no.body.get("error_details").unwrap_or(&Value::Null);
        // Errors of a single event come without an index.
        let single = (sent == 1 && there_already(details)).then_some((0, None));
        let indexed = details.as_object().into_iter().flatten().filter_map(|(index, error)| {
            let index = index.parse().ok().filter(|index| *index < sent)?;
            Some((index, (!there_already(error)).then(|| tidy(&error.to_string(), &self.key))))
        });
        let named: BTreeMap<usize, Option<String>> = single.into_iter().chain(indexed).collect();
        if named.is_empty() {
            let said = tidy(&format!("{} {}", no.hold.error, no.body), &self.key);
            return Answer::Refused(said);
        }
        Answer::RefusedSome(named)
    }
}

fn there_already(error: &Value) -> bool {
    let said = error.get("transaction_id").and_then(Value::as_array);
    said.is_some_and(|said| said.iter().any(|word| word == "value_already_exist"))
}

/// Nano-dollars as cents, to the last digit.
fn cents(nano: i64) -> String {
    let (sign, nano) = (if nano < 0 { "-" } else { "" }, nano.unsigned_abs());
    format!("{sign}{}.{:07}", nano / 10_000_000, nano % 10_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digit_of_the_cost_is_lost() {
        assert_eq!(cents(0), "0.0000000");
        assert_eq!(cents(1), "0.0000001");
        assert_eq!(cents(-12_345_678), "-1.2345678");
        assert_eq!(cents(i64::MIN), "-922337203685.4775808");
    }
}
