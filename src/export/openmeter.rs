//! `OpenMeter`: batches of `CloudEvents` 1.0. It deduplicates by `source` and `id` for 32 days.

use super::answer::{Answer, No, Piece, Rendered, post};
use crate::config::OpenMeterSettings;
use crate::store::exported::UsageRow;
use crate::types::Secret;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

/// `OpenMeter`'s API.
pub(super) struct OpenMeter {
    client: Client,
    url: String,
    token: Option<Secret>,
}

impl OpenMeter {
    pub(super) fn new(client: Client, settings: &OpenMeterSettings) -> Self {
        let url = format!("{}/api/v1/events", settings.url.trim_end_matches('/'));
        Self { client, url, token: settings.token.clone() }
    }

    /// A corrected row has a negative quantity, and a sum takes it off.
    pub(super) fn render(row: &UsageRow) -> Rendered {
        Ok(Some(json!({
            "specversion": "1.0",
            "type": format!("docent_{}", row.meter),
            "id": row.event_id,
            "source": "docent",
            "subject": row.customer.as_ref().unwrap_or(&row.tenant),
            "time": row.occurred_at,
            "datacontenttype": "application/json",
            "data": {
                "quantity": row.quantity,
                "kind": row.kind,
                "model": row.model,
                "provenance": row.provenance,
                "user_id": row.user_id,
                "cost_nano_usd": row.cost_nano_usd,
                "period_start": row.period_start,
            },
        })))
    }

    pub(super) async fn send(&self, batch: &[Piece]) -> Answer {
        let events: Value = batch.iter().map(|piece| piece.body.clone()).collect();
        let mut request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/cloudevents-batch+json")
            .body(events.to_string());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        post(request, self.token.as_ref()).await.map_or_else(No::into_answer, |()| Answer::Taken)
    }
}
