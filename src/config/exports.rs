//! Where the ledger is exported to. An exporter without its settings does not run.

use super::layers::Layers;
use crate::types::{Meter, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::str::FromStr as _;

/// Billing systems.
#[derive(Clone, Debug, Default)]
pub struct ExportSettings {
    pub openmeter: Option<OpenMeterSettings>,
    pub stripe: Option<StripeSettings>,
    pub lago: Option<LagoSettings>,
    pub webhook: Option<WebhookSettings>,
}

/// `OpenMeter`, hosted or one's own.
#[derive(Clone, Debug)]
pub struct OpenMeterSettings {
    /// `EXPORT_OPENMETER_URL`: what comes before `/api/v1/events`.
    pub url: String,
    /// `EXPORT_OPENMETER_TOKEN`: one's own may need none.
    pub token: Option<Secret>,
}

/// Stripe's meters.
#[derive(Clone, Debug)]
pub struct StripeSettings {
    /// `EXPORT_STRIPE_KEY`: may write meter events.
    pub key: Secret,
    /// `EXPORT_STRIPE_URL`, default `https://api.stripe.com`.
    pub url: String,
    /// `EXPORT_STRIPE_EVENTS`: `requests=chat_requests,pages=chat_pages`; others are `docent_<meter>`.
    pub events: BTreeMap<String, String>,
}

/// Lago, hosted or one's own.
#[derive(Clone, Debug)]
pub struct LagoSettings {
    /// `EXPORT_LAGO_KEY`.
    pub key: Secret,
    /// `EXPORT_LAGO_URL`, default `https://api.getlago.com`.
    pub url: String,
}

/// Any receiver of Standard Webhooks.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// `EXPORT_WEBHOOK_URL`.
    pub url: Secret,
    /// `EXPORT_WEBHOOK_SECRET`: `whsec_…`, decoded; several, comma-separated, while one replaces another.
    pub keys: Vec<Secret>,
}

impl ExportSettings {
    pub(super) fn read(l: &mut Layers) -> Self {
        Self { openmeter: openmeter(l), stripe: stripe(l), lago: lago(l), webhook: webhook(l) }
    }
}

fn openmeter(l: &mut Layers) -> Option<OpenMeterSettings> {
    let token = l.text("EXPORT_OPENMETER_TOKEN").map(Secret::new);
    let url = url(l, "EXPORT_OPENMETER_URL");
    if url.is_none() && token.is_some() {
        l.complain("EXPORT_OPENMETER_TOKEN needs EXPORT_OPENMETER_URL");
    }
    Some(OpenMeterSettings { url: url?, token })
}

fn stripe(l: &mut Layers) -> Option<StripeSettings> {
    let url = url(l, "EXPORT_STRIPE_URL").unwrap_or_else(|| "https://api.stripe.com".into());
    let mut events = BTreeMap::new();
    for pair in l.list("EXPORT_STRIPE_EVENTS") {
        match pair.split_once('=') {
            Some((meter, name)) if is_meter(meter.trim()) && !name.trim().is_empty() => {
                events.insert(meter.trim().to_owned(), name.trim().to_owned());
            }
            _ => l.complain(
                "EXPORT_STRIPE_EVENTS must look like requests=chat_requests,pages=chat_pages",
            ),
        }
    }
    let key = l.text("EXPORT_STRIPE_KEY").map(Secret::new)?;
    Some(StripeSettings { key, url, events })
}

fn is_meter(name: &str) -> bool {
    Meter::from_str(name).is_ok()
}

fn lago(l: &mut Layers) -> Option<LagoSettings> {
    let url = url(l, "EXPORT_LAGO_URL").unwrap_or_else(|| "https://api.getlago.com".into());
    let key = l.text("EXPORT_LAGO_KEY").map(Secret::new)?;
    Some(LagoSettings { key, url })
}

fn webhook(l: &mut Layers) -> Option<WebhookSettings> {
    let url = url(l, "EXPORT_WEBHOOK_URL");
    let mut keys = Vec::new();
    for secret in l.list("EXPORT_WEBHOOK_SECRET") {
        let key = secret
            .strip_prefix("whsec_")
            .filter(|key| STANDARD.decode(key).is_ok_and(|bytes| (24..=64).contains(&bytes.len())));
        match key {
            Some(key) => keys.push(Secret::new(key)),
            None => l.complain(
                "EXPORT_WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64 (for example \
                 from `echo whsec_$(openssl rand -base64 32)`)",
            ),
        }
    }
    if url.is_some() == keys.is_empty() {
        l.complain("EXPORT_WEBHOOK_URL and EXPORT_WEBHOOK_SECRET need each other");
    }
    Some(WebhookSettings { url: Secret::new(url?), keys })
}

fn url(l: &mut Layers, name: &str) -> Option<String> {
    let url = l.text(name)?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        l.complain(format!("{name} must look like https://billing.example.com"));
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> (ExportSettings, String) {
        let given = given.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let mut layers = Layers::new(given.collect());
        let settings = ExportSettings::read(&mut layers);
        (settings, layers.finish().err().map(|problems| problems.to_string()).unwrap_or_default())
    }

    #[test]
    fn nothing_runs_that_is_not_set() {
        let (settings, problems) = read(&[]);
        assert_eq!(problems, "");
        let ExportSettings { openmeter, stripe, lago, webhook } = settings;
        assert!(openmeter.is_none() && stripe.is_none() && lago.is_none() && webhook.is_none());
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        let (_, problems) = read(&[
            ("EXPORT_OPENMETER_TOKEN", "canary"),
            ("EXPORT_STRIPE_KEY", "canary"),
            ("EXPORT_STRIPE_EVENTS", "pages=p,pigs=flying"),
            ("EXPORT_LAGO_URL", "ftp://canary"),
            ("EXPORT_WEBHOOK_URL", "https://example.com"),
            ("EXPORT_WEBHOOK_SECRET", "whsec_Y2FuYXJ5"),
        ]);
        for words in [
            "EXPORT_OPENMETER_TOKEN needs",
            "EXPORT_STRIPE_EVENTS must",
            "EXPORT_LAGO_URL must",
            "24 to 64 bytes",
        ] {
            assert!(problems.contains(words), "{words} is missing in:\n{problems}");
        }
        assert!(!problems.contains("canary") && !problems.contains("Y2Fu"), "{problems}");
    }

    #[test]
    fn a_secret_without_an_address_is_a_mistake() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let (settings, problems) = read(&[("EXPORT_WEBHOOK_SECRET", secret)]);
        assert!(settings.webhook.is_none());
        assert!(problems.contains("need each other"), "{problems}");
    }
}
