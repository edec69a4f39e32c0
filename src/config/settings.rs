//! The settings themselves, one struct per concern. `.env.example` documents each name; a test
//! compares the two.

use super::exports::ExportSettings;
use super::layers::{Layers, Problems};
use super::models::ModelSettings;
use crate::types::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// Every name that is read, as in the environment.
pub const NAMES: &[&str] = &[
    "HOST",
    "PORT",
    "PUBLIC_URL",
    "ALLOWED_ORIGINS",
    "DRAIN_TIMEOUT",
    "METRICS_TOKEN",
    "OPERATOR_TOKEN",
    "DATABASE_URL",
    "DATABASE_CONNECTIONS",
    "DATABASE_WAIT",
    "REDIS_URL",
    "DOCENT_SECRET",
    "DATA_DIR",
    "MAX_TURNS",
    "TURN_RETENTION",
    "CONNECTIONS_PER_USER",
    "SUMMARIES",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "GEMINI_API_KEY",
    "GEMINI_BASE_URL",
    "CHAT_MODEL",
    "MAX_OUTPUT_TOKENS",
    "EMBEDDING_MODEL",
    "EMBEDDING_DIMENSIONS",
    "MODERATION_MODEL",
    "MODERATION_URL",
    "MODERATION_API_KEY",
    "MODERATION_REQUIRED",
    "SMTP_URL",
    "MAIL_FROM",
    "LOGIN_CODES_PER_QUARTER_HOUR",
    "INGEST_CONCURRENCY",
    "EXPORT_OPENMETER_URL",
    "EXPORT_OPENMETER_TOKEN",
    "EXPORT_STRIPE_KEY",
    "EXPORT_STRIPE_URL",
    "EXPORT_STRIPE_EVENTS",
    "EXPORT_LAGO_KEY",
    "EXPORT_LAGO_URL",
    "EXPORT_WEBHOOK_URL",
    "EXPORT_WEBHOOK_SECRET",
    "LEDGER_RETENTION_MONTHS",
    "EGRESS_ALLOW",
    "LOG",
    "LOG_FORMAT",
];

/// Where the server listens and who may talk to it.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// `HOST`, default 127.0.0.1 in dev and 0.0.0.0 in serve.
    pub host: String,
    /// `PORT`, default 8080; 0 picks a free one.
    pub port: u16,
    /// `ALLOWED_ORIGINS` and `PUBLIC_URL`: origins, besides the server's own, whose pages may open
    /// a WebSocket or call the API.
    pub allowed_origins: Vec<String>,
    /// `DRAIN_TIMEOUT`: how long running turns may take to finish at shutdown, default 120 s.
    pub drain_timeout: Duration,
    /// `METRICS_TOKEN`: when set, `/metrics` wants it as a bearer token.
    pub metrics_token: Option<Secret>,
    /// `OPERATOR_TOKEN`: opens `/v1/operator`; without it that is closed to everybody.
    pub operator_token: Option<Secret>,
}

/// PostgreSQL.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`: `postgres://user:password@host:port/database`.
    pub url: Option<Secret>,
    /// `DATABASE_CONNECTIONS`, default 20.
    pub connections: u32,
    /// `DATABASE_WAIT`: how long a request waits for a connection before it is answered 503,
    /// default 5 s.
    pub wait: Duration,
}

/// What ties several nodes together.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// `REDIS_URL`: `redis://:password@host:6379/0`. Without it nodes meet in PostgreSQL only.
    pub redis_url: Option<Secret>,
}

/// Turns and those who watch them.
#[derive(Clone, Debug)]
pub struct ChatSettings {
    /// `DATA_DIR`, default `.docent`: where turns wait that PostgreSQL could not take.
    pub data_dir: PathBuf,
    /// `MAX_TURNS`: turns that run at once on this node, default 1000; more wait in a queue.
    pub max_turns: usize,
    /// `TURN_RETENTION`: how long the log of an ended turn can be replayed, default 10 minutes;
    /// afterwards a client that attaches gets the stored message.
    pub retention: Duration,
    /// `CONNECTIONS_PER_USER`: streams and sockets one person may have open, default 50.
    pub connections_per_user: usize,
    /// `SUMMARIES`: whether conversations that outgrow a prompt are summed up, at their tenant's
    /// cost; default true.
    pub summaries: bool,
}

/// How mail leaves.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// `SMTP_URL`: `smtps://user:password@host:465` or `smtp://host:25`.
    pub smtp_url: Option<Secret>,
    /// `MAIL_FROM`, default `docent <docent@localhost>`.
    pub from: String,
}

/// Log-in.
#[derive(Clone, Debug)]
pub struct LoginSettings {
    /// `DOCENT_SECRET`: at least 32 characters; tokens and codes are keyed with it.
    pub secret: Option<Secret>,
    /// `LOGIN_CODES_PER_QUARTER_HOUR`: codes one address may ask for, default 5 (dev: 100).
    pub codes_per_quarter_hour: u32,
}

/// The bill.
#[derive(Clone, Copy, Debug)]
pub struct LedgerSettings {
    /// `LEDGER_RETENTION_MONTHS`: whole months that the ledger keeps, at least 13; by default all.
    pub retention_months: Option<u32>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub database: DatabaseSettings,
    pub cluster: ClusterSettings,
    pub chat: ChatSettings,
    pub models: ModelSettings,
    pub mail: MailSettings,
    pub login: LoginSettings,
    pub ledger: LedgerSettings,
    /// `INGEST_CONCURRENCY`: documents ingested at once, default 2.
    pub ingest_concurrency: usize,
    pub exports: ExportSettings,
    /// `EGRESS_ALLOW`: hosts, with or without a port, that tenants' tools may reach though their
    /// addresses are not public; default none.
    pub egress_allow: Vec<String>,
    /// `LOG`: a tracing filter, default `info`.
    pub log: String,
    /// `LOG_FORMAT`: pretty or json; default pretty in dev, json in serve.
    pub log_format: LogFormat,
    /// True for `docent dev`.
    pub dev: bool,
}

impl Settings {
    /// Reads every setting; `dev` chooses the defaults.
    ///
    /// # Errors
    /// With all mistakes at once.
    pub fn load(mut layers: Layers, dev: bool) -> Result<Self, Problems> {
        let l = &mut layers;
        let settings = Self {
            server: server(l, dev),
            database: DatabaseSettings {
                url: l.text("DATABASE_URL").map(Secret::new),
                connections: l.parse("DATABASE_CONNECTIONS", "a number of connections", 20),
                wait: Duration::from_secs(l.parse("DATABASE_WAIT", "a number of seconds", 5)),
            },
            cluster: ClusterSettings { redis_url: l.text("REDIS_URL").map(Secret::new) },
            chat: chat(l),
            models: ModelSettings::read(l),
            mail: MailSettings {
                smtp_url: l.text("SMTP_URL").map(Secret::new),
                from: l.text("MAIL_FROM").unwrap_or_else(|| "docent <docent@localhost>".into()),
            },
            login: LoginSettings {
                secret: l.text("DOCENT_SECRET").map(Secret::new),
                codes_per_quarter_hour: l.parse(
                    "LOGIN_CODES_PER_QUARTER_HOUR",
                    "a number above 0",
                    if dev { 100 } else { 5 },
                ),
            },
            ledger: ledger(l),
            ingest_concurrency: l.parse("INGEST_CONCURRENCY", "a number of documents", 2),
            exports: ExportSettings::read(l),
            egress_allow: l.list("EGRESS_ALLOW"),
            log: l.text("LOG").unwrap_or_else(|| "info".into()),
            log_format: match l.text("LOG_FORMAT").as_deref() {
                Some("json") => LogFormat::Json,
                Some("pretty") => LogFormat::Pretty,
                Some(_) => {
                    l.complain("LOG_FORMAT must be 'pretty' or 'json'");
                    LogFormat::Pretty
                }
                None if dev => LogFormat::Pretty,
                None => LogFormat::Json,
            },
            dev,
        };
        settings.check(l);
        layers.finish()?;
        Ok(settings)
    }

    fn check(&self, l: &mut Layers) {
        match &self.database.url {
            Some(url) if !url.expose().starts_with("postgres") => {
                l.complain(
                    "DATABASE_URL must look like postgres://user:password@host:5432/database",
                );
            }
            None if !self.dev => l.complain(
                "DATABASE_URL is not set: `docent serve` needs a PostgreSQL with pgvector \
                 (`docent dev` brings its own)",
            ),
            _ => {}
        }
        match &self.login.secret {
            Some(secret) if secret.expose().len() < 32 => {
                l.complain("DOCENT_SECRET must have at least 32 characters");
            }
            None if !self.dev => l.complain(
                "DOCENT_SECRET is not set: use 32 or more random characters, the same on every \
                 node (for example from `openssl rand -hex 32`)",
            ),
            _ => {}
        }
        if let Some(url) = &self.cluster.redis_url
            && !["redis://", "rediss://"].iter().any(|scheme| url.expose().starts_with(scheme))
        {
            l.complain("REDIS_URL must look like redis://:password@host:6379/0");
        }
        let at_least_one = [
            ("MAX_TURNS", self.chat.max_turns as u64),
            ("CONNECTIONS_PER_USER", self.chat.connections_per_user as u64),
            ("DATABASE_CONNECTIONS", u64::from(self.database.connections)),
            ("INGEST_CONCURRENCY", self.ingest_concurrency as u64),
            ("LOGIN_CODES_PER_QUARTER_HOUR", u64::from(self.login.codes_per_quarter_hour)),
            ("MAX_OUTPUT_TOKENS", u64::from(self.models.max_output_tokens)),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                l.complain(format!("{name} must be above 0"));
            }
        }
    }
}

fn server(l: &mut Layers, dev: bool) -> ServerSettings {
    let mut allowed_origins = l.list("ALLOWED_ORIGINS");
    allowed_origins.extend(l.text("PUBLIC_URL"));
    for origin in &mut allowed_origins {
        *origin = origin.trim_end_matches('/').to_lowercase();
        if !origin.starts_with("http://") && !origin.starts_with("https://") {
            l.complain(format!("'{origin}' is not an origin: write it as https://app.example.com"));
        }
    }
    let host = if dev { "127.0.0.1" } else { "0.0.0.0" };
    ServerSettings {
        host: l.text("HOST").unwrap_or_else(|| host.into()),
        port: l.parse("PORT", "a port number", 8080),
        allowed_origins,
        drain_timeout: Duration::from_secs(l.parse("DRAIN_TIMEOUT", "a number of seconds", 120)),
        metrics_token: l.text("METRICS_TOKEN").map(Secret::new),
        operator_token: l.text("OPERATOR_TOKEN").map(Secret::new),
    }
}

fn chat(l: &mut Layers) -> ChatSettings {
    ChatSettings {
        data_dir: l.text("DATA_DIR").map_or_else(|| ".docent".into(), PathBuf::from),
        max_turns: l.parse("MAX_TURNS", "a number of turns", 1000),
        retention: Duration::from_secs(l.parse("TURN_RETENTION", "a number of seconds", 600)),
        connections_per_user: l.parse("CONNECTIONS_PER_USER", "a number of connections", 50),
        summaries: l.parse("SUMMARIES", "true or false", true),
    }
}

fn ledger(l: &mut Layers) -> LedgerSettings {
    let months = l.parse("LEDGER_RETENTION_MONTHS", "a number of months", 0);
    if (1..13).contains(&months) {
        l.complain("LEDGER_RETENTION_MONTHS must be 13 or more: a year is billed and compared");
    }
    LedgerSettings { retention_months: (months > 0).then_some(months) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn layers(values: &[(&str, &str)]) -> Layers {
        Layers::new(values.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let problems = Settings::load(layers(&[("PORT", "eighty"), ("LOG_FORMAT", "xml")]), false)
            .unwrap_err();
        let text = problems.to_string();
        for word in ["PORT", "LOG_FORMAT", "DATABASE_URL", "DOCENT_SECRET"] {
            assert!(text.contains(word), "{word} is missing in:\n{text}");
        }
        assert!(!text.contains("eighty"), "values are not repeated");
    }

    #[test]
    fn dev_needs_nothing() {
        let settings = Settings::load(Layers::new(BTreeMap::new()), true).unwrap();
        assert_eq!((settings.server.port, settings.server.host.as_str()), (8080, "127.0.0.1"));
        assert!(!settings.models.openai.is_set());
    }

    #[test]
    fn env_example_documents_every_name_and_no_other() {
        let example = include_str!("../../.env.example");
        let mut documented: Vec<&str> = example
            .lines()
            .filter_map(|line| line.trim_start_matches("# ").split_once('='))
            .map(|(name, _)| name)
            .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .collect();
        let mut known = NAMES.to_vec();
        documented.sort_unstable();
        known.sort_unstable();
        assert_eq!(documented, known);
    }
}
