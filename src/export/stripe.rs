//! Stripe: meter events, one per request.
//!
//! Stripe allows one call at a time per customer and meter, so they go one after the other. It remembers
//! identifiers for 24 hours and takes timestamps of the past 35 days.

use super::answer::{Answer, No, Piece, Rendered, post};
use crate::config::StripeSettings;
use crate::store::exported::UsageRow;
use crate::types::Secret;
use chrono::{TimeDelta, Utc};
use reqwest::Client;
use serde_json::json;
use std::collections::BTreeMap;

/// What Stripe says of an identifier that it has: there is no code for it.
const THERE_ALREADY: &str = "An event already exists with identifier";
const OLDEST: TimeDelta = TimeDelta::days(35);

/// Stripe's API.
pub(super) struct Stripe {
    client: Client,
    url: String,
    key: Secret,
    events: BTreeMap<String, String>,
}

impl Stripe {
    pub(super) fn new(client: Client, settings: &StripeSettings) -> Self {
        let url = format!("{}/v1/billing/meter_events", settings.url.trim_end_matches('/'));
        let (key, events) = (settings.key.clone(), settings.events.clone());
        Self { client, url, key, events }
    }

    /// Whole numbers, also negative ones: Stripe documents them as the way to correct usage. A zero
    /// changes no sum and is not sent.
    pub(super) fn render(&self, row: &UsageRow) -> Rendered {
        let customer = row.customer.as_ref().ok_or("no_customer")?;
        if row.quantity == 0 {
            return Ok(None);
        }
        if Utc::now() - row.occurred_at > OLDEST {
            return Err("too_old: Stripe takes no usage from more than 35 days ago".into());
        }
        let default = || format!("docent_{}", row.meter);
        Ok(Some(json!({
            "event_name": self.events.get(&row.meter).cloned().unwrap_or_else(default),
            "identifier": row.event_id,
            "timestamp": row.occurred_at.timestamp().to_string(),
            "payload[stripe_customer_id]": customer,
            "payload[value]": row.quantity.to_string(),
        })))
    }

    /// Sends the first of `batch`, which has no more.
    pub(super) async fn send(&self, batch: &[Piece]) -> Answer {
        let Some(piece) = batch.first() else { return Answer::Taken };
        let request = self.client.post(&self.url).bearer_auth(self.key.expose()).form(&piece.body);
        match post(request, Some(&self.key)).await {
            Ok(()) => Answer::Taken,
            Err(no) => answer(no),
        }
    }
}

fn answer(no: No) -> Answer {
    let Some(refusal) = &no.refusal else { return no.into_answer() };
    let said = refusal.complaint.message.as_deref().unwrap_or_default();
    if refusal.status == 400 && said.starts_with(THERE_ALREADY) {
        return Answer::Taken;
    }
    // A 404 that speaks Stripe's language is about the meter; one that does not, about our URL.
    if refusal.status == 404 && refusal.complaint.code.is_some() {
        return Answer::Refused(no.hold.error);
    }
    no.into_answer()
}
