//! From a model in the catalogue to something that can be asked: its protocol, its address, its key.

use crate::config::ModelSettings;
use crate::llm::{
    Answering, Anthropic, ChatModel, ChatRequest, Deadlines, Demo, Gemini, LlmError, OpenAi,
};
use crate::net::Clients;
use crate::store::models::Model;
use crate::store::providers::Provider;
use crate::types::Secret;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;
use std::time::Duration;

const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com/v1";
const GEMINI: &str = "https://generativelanguage.googleapis.com/v1beta";
/// Pieces of the demo come at a readable pace.
const DEMO_PACE: Duration = Duration::from_millis(15);

/// The server's own ways to providers.
#[derive(Clone)]
pub(super) struct Providers {
    clients: Clients,
    settings: Arc<ModelSettings>,
}

/// What a model needs to be asked.
pub(super) struct Line {
    pub(super) model: Arc<dyn ChatModel>,
    /// `None`: nothing is in the way of asking.
    pub(super) unusable: Option<String>,
    pub(super) key: Option<Secret>,
}

impl Line {
    pub(super) fn none(why: impl Into<String>) -> Self {
        let why = why.into();
        let model = Arc::new(Unusable { why: why.clone() });
        Self { model, unusable: Some(why), key: None }
    }
}

impl Providers {
    pub(super) fn new(clients: Clients, settings: ModelSettings) -> Self {
        Self { clients, settings: Arc::new(settings) }
    }

    /// The model of assistants that name none, and its provider.
    pub(super) fn default_model(&self) -> (&'static str, String) {
        let ModelSettings { openai, anthropic, gemini, chat_model, .. } = &*self.settings;
        let (provider, usual) = if openai.is_set() {
            ("openai", "gpt-4o-mini")
        } else if anthropic.is_set() {
            ("anthropic", "claude-haiku-4-5")
        } else if gemini.is_set() {
            ("gemini", "gemini-2.5-flash")
        } else {
            return ("demo", "demo".to_owned());
        };
        (provider, chat_model.clone().unwrap_or_else(|| usual.to_owned()))
    }

    /// The way to a model; `own` is the tenant's key, or why it cannot be had.
    pub(super) fn line(
        &self,
        provider: &Provider,
        model: &Model,
        own: Option<Result<Secret, String>>,
    ) -> Line {
        let key = match own {
            Some(Ok(key)) => Ok(Some(key)),
            Some(Err(why)) => Err(why),
            None => self.key(provider),
        };
        match key {
            Ok(key) => {
                let model = self.connect(provider, key.clone(), deadlines(model));
                Line { model, unusable: None, key }
            }
            Err(why) => Line::none(why),
        }
    }

    /// The server's key; `None` where none is needed.
    fn key(&self, provider: &Provider) -> Result<Option<Secret>, String> {
        let Provider { kind, base_url, key_variable, .. } = provider;
        self.settings.key(kind, base_url.is_some(), key_variable.as_deref())
    }

    fn connect(
        &self,
        provider: &Provider,
        key: Option<Secret>,
        deadlines: Deadlines,
    ) -> Arc<dyn ChatModel> {
        let base_url = provider.base_url.as_deref();
        let base_url = base_url.or(self.settings.endpoint(&provider.kind).base_url.as_deref());
        let clients = self.clients.clone();
        match provider.kind.as_str() {
            "demo" => Arc::new(Demo::new(DEMO_PACE)),
            "anthropic" => {
                let model = Anthropic::new(clients, base_url.unwrap_or(ANTHROPIC), key);
                Arc::new(model.with_deadlines(deadlines))
            }
            "gemini" => {
                let model = Gemini::new(clients, base_url.unwrap_or(GEMINI), key);
                Arc::new(model.with_deadlines(deadlines))
            }
            _ => {
                let model = OpenAi::new(clients, base_url.unwrap_or(OPENAI), key);
                Arc::new(model.with_deadlines(deadlines))
            }
        }
    }
}

fn deadlines(model: &Model) -> Deadlines {
    Deadlines {
        headers: milliseconds(model.connect_ms),
        first_token: milliseconds(model.first_token_ms),
        idle: milliseconds(model.idle_ms),
    }
}

pub(super) fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(1))
}

/// A model that is in the catalogue and cannot be asked: it says why.
struct Unusable {
    why: String,
}

impl ChatModel for Unusable {
    fn provider(&self) -> &'static str {
        "none"
    }

    fn ask(&self, _: ChatRequest) -> BoxFuture<'_, Result<Answering, LlmError>> {
        ready(Err(LlmError::Request { detail: self.why.clone() })).boxed()
    }
}
