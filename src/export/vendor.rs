//! The vendors behind one door: what each wants to be told, and how much at once.

use super::answer::{Answer, Piece, Rendered};
use super::lago::Lago;
use super::openmeter::OpenMeter;
use super::stripe::Stripe;
use super::webhook::Webhook;
use crate::config::ExportSettings;
use crate::net::{self, ClientError, ClientOptions};
use crate::store::exported::{Notice, UsageRow};
use std::time::Duration;

/// What exporters are called, in the database and on the command line.
pub const NAMES: [&str; 5] = ["openmeter", "stripe", "lago", "webhook", "notices"];

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Who is told.
pub struct Vendor(Kind);

enum Kind {
    OpenMeter(OpenMeter),
    Stripe(Stripe),
    Lago(Lago),
    Webhook(Webhook),
    /// The same receiver, for the outbox.
    Notices(Webhook),
}

impl Vendor {
    /// Those that the settings name.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn of(settings: &ExportSettings) -> Result<Vec<Self>, ClientError> {
        let client = net::client(&ClientOptions::default())?;
        let mut kinds = Vec::new();
        if let Some(settings) = &settings.openmeter {
            kinds.push(Kind::OpenMeter(OpenMeter::new(client.clone(), settings)));
        }
        if let Some(settings) = &settings.stripe {
            kinds.push(Kind::Stripe(Stripe::new(client.clone(), settings)));
        }
        if let Some(settings) = &settings.lago {
            kinds.push(Kind::Lago(Lago::new(client.clone(), settings)));
        }
        if let Some(settings) = &settings.webhook {
            let webhook = Webhook::new(client, settings);
            kinds.extend([Kind::Webhook(webhook.clone()), Kind::Notices(webhook)]);
        }
        Ok(kinds.into_iter().map(Self).collect())
    }

    /// One of [`NAMES`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.0 {
            Kind::OpenMeter(_) => "openmeter",
            Kind::Stripe(_) => "stripe",
            Kind::Lago(_) => "lago",
            Kind::Webhook(_) => "webhook",
            Kind::Notices(_) => "notices",
        }
    }

    /// It reads the outbox, not the ledger.
    pub(super) fn tells_notices(&self) -> bool {
        matches!(self.0, Kind::Notices(_))
    }

    /// The most events of one request. 30 of a webhook stay below the 20 kB that receivers expect.
    pub(super) fn batch(&self) -> usize {
        match self.0 {
            Kind::OpenMeter(_) | Kind::Lago(_) => 100,
            Kind::Webhook(_) => 30,
            Kind::Stripe(_) | Kind::Notices(_) => 1,
        }
    }

    /// The most rows of one round. What is sent alone comes in pages all the same.
    pub(super) fn page(&self) -> i64 {
        match self.0 {
            Kind::Webhook(_) => 30, // the page is the message
            _ => 100,
        }
    }

    /// For how long it knows an id again, with a margin; `None`: for ever.
    pub(super) fn memory(&self) -> Option<Duration> {
        match self.0 {
            Kind::Stripe(_) => Some(23 * HOUR),
            Kind::OpenMeter(_) => Some(31 * DAY),
            _ => None,
        }
    }

    pub(super) fn render_usage(&self, row: &UsageRow) -> Rendered {
        match &self.0 {
            Kind::OpenMeter(_) => OpenMeter::render(row),
            Kind::Stripe(stripe) => stripe.render(row),
            Kind::Lago(_) => Lago::render(row),
            Kind::Webhook(_) | Kind::Notices(_) => Webhook::render_usage(row),
        }
    }

    pub(super) fn render_notice(notice: &Notice) -> Rendered {
        Webhook::render_notice(notice)
    }

    pub(super) async fn send(&self, batch: &[Piece]) -> Answer {
        match &self.0 {
            Kind::OpenMeter(openmeter) => openmeter.send(batch).await,
            Kind::Stripe(stripe) => stripe.send(batch).await,
            Kind::Lago(lago) => lago.send(batch).await,
            Kind::Webhook(webhook) => webhook.send_usage(batch).await,
            Kind::Notices(webhook) => webhook.send_notice(batch).await,
        }
    }
}
