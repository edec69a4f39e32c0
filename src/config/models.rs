//! The settings of the language models.

use super::layers::Layers;
use crate::types::Secret;
use std::collections::BTreeMap;

/// Where a provider is, and the key to it.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    pub key: Option<Secret>,
    /// Without a slash at its end; `None`: the vendor's own.
    pub base_url: Option<String>,
}

impl Endpoint {
    /// True when either is given: a server of one's own may need no key.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.key.is_some() || self.base_url.is_some()
    }

    fn read(l: &mut Layers, name: &str, example: &str) -> Self {
        let base_url = l.text(&format!("{name}_BASE_URL"));
        if base_url.as_deref().is_some_and(|url| !url.starts_with("http")) {
            l.complain(format!("{name}_BASE_URL must look like {example}"));
        }
        let base_url = base_url.map(|url| url.trim_end_matches('/').to_owned());
        Self { key: l.text(&format!("{name}_API_KEY")).map(Secret::new), base_url }
    }
}

/// Who is asked whether a question may be answered.
#[derive(Clone, Debug)]
pub struct ModerationSettings {
    /// `MODERATION_MODEL`, default `omni-moderation-latest` when there is a `MODERATION_URL`.
    pub model: String,
    /// `MODERATION_URL`, what comes before `/moderations`; default `OPENAI_BASE_URL`.
    pub url: String,
    /// `MODERATION_API_KEY`; without a `MODERATION_URL` it is `OPENAI_API_KEY`.
    pub key: Option<Secret>,
    /// `MODERATION_REQUIRED`: a question that could not be judged is not answered; default false.
    pub required: bool,
}

/// The language models.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    /// `OPENAI_API_KEY`, and `OPENAI_BASE_URL`, default `https://api.openai.com/v1` when there is a key.
    pub openai: Endpoint,
    /// `ANTHROPIC_API_KEY`, and `ANTHROPIC_BASE_URL`, default `https://api.anthropic.com/v1`.
    pub anthropic: Endpoint,
    /// `GEMINI_API_KEY`, and `GEMINI_BASE_URL`, default `https://generativelanguage.googleapis.com/v1beta`.
    pub gemini: Endpoint,
    /// Every variable that ends in `_API_KEY`: providers in the catalogue name theirs.
    pub keys: BTreeMap<String, Secret>,
    /// `CHAT_MODEL`; the default is the provider's: `gpt-4o-mini`, or `demo` without a provider.
    pub chat_model: Option<String>,
    /// `MAX_OUTPUT_TOKENS`: the longest answer, default 1024.
    pub max_output_tokens: u32,
    /// `EMBEDDING_MODEL`, default `text-embedding-3-small`; `hashed-ngram-384` is built in.
    pub embedding_model: Option<String>,
    /// `EMBEDDING_DIMENSIONS`, default 1536.
    pub embedding_dimensions: Option<usize>,
    /// `None`: nobody is asked.
    pub moderation: Option<ModerationSettings>,
}

impl ModelSettings {
    /// True when a provider is configured; otherwise the built-in demo model answers.
    #[must_use]
    pub fn has_provider(&self) -> bool {
        [&self.openai, &self.anthropic, &self.gemini].into_iter().any(Endpoint::is_set)
    }

    /// Where the providers of a protocol are, when nothing else is said.
    #[must_use]
    pub fn endpoint(&self, kind: &str) -> &Endpoint {
        match kind {
            "anthropic" => &self.anthropic,
            "gemini" => &self.gemini,
            _ => &self.openai,
        }
    }

    /// The server's key for a provider of a `kind`, with an address of its own or not, and the variable that it
    /// names; `None` where none is needed.
    ///
    /// # Errors
    /// With the name of the variable that is not set.
    pub fn key(
        &self,
        kind: &str,
        own_address: bool,
        variable: Option<&str>,
    ) -> Result<Option<Secret>, String> {
        if let Some(variable) = variable {
            let key = self.keys.get(variable).cloned();
            return key.map(Some).ok_or_else(|| format!("{variable} is not set"));
        }
        if own_address || kind == "demo" {
            return Ok(None);
        }
        match self.endpoint(kind) {
            endpoint if endpoint.is_set() => Ok(endpoint.key.clone()),
            _ => Err(format!("{}_API_KEY is not set", kind.to_uppercase())),
        }
    }

    pub(super) fn read(l: &mut Layers) -> Self {
        let dimensions: usize = l.parse("EMBEDDING_DIMENSIONS", "a number of dimensions", 0);
        if dimensions > 4000 {
            l.complain("EMBEDDING_DIMENSIONS must be between 1 and 4000");
        }
        let keys = l.ending("_API_KEY").into_iter();
        let openai = Endpoint::read(l, "OPENAI", "https://api.openai.com/v1");
        Self {
            moderation: moderation(l, &openai),
            openai,
            anthropic: Endpoint::read(l, "ANTHROPIC", "https://api.anthropic.com/v1"),
            gemini: Endpoint::read(l, "GEMINI", "https://generativelanguage.googleapis.com/v1beta"),
            keys: keys.map(|(name, key)| (name, Secret::new(key))).collect(),
            chat_model: l.text("CHAT_MODEL"),
            max_output_tokens: l.parse("MAX_OUTPUT_TOKENS", "a number of tokens", 1024),
            embedding_model: l.text("EMBEDDING_MODEL"),
            embedding_dimensions: (dimensions > 0).then_some(dimensions),
        }
    }
}

fn moderation(l: &mut Layers, openai: &Endpoint) -> Option<ModerationSettings> {
    let (model, own) = (l.text("MODERATION_MODEL"), l.text("MODERATION_URL"));
    let key = l.text("MODERATION_API_KEY").map(Secret::new);
    let required = l.parse("MODERATION_REQUIRED", "true or false", false);
    if own.as_deref().is_some_and(|url| !url.starts_with("http")) {
        l.complain("MODERATION_URL must look like https://api.openai.com/v1");
    }
    if model.is_none() && own.is_none() {
        return None;
    }
    if own.is_none() && !openai.is_set() {
        l.complain("MODERATION_MODEL needs OPENAI_API_KEY, OPENAI_BASE_URL or MODERATION_URL");
    }
    let key = if own.is_none() { key.or_else(|| openai.key.clone()) } else { key };
    let url = own.or_else(|| openai.base_url.clone());
    let url = url.unwrap_or_else(|| "https://api.openai.com/v1".into());
    Some(ModerationSettings {
        model: model.unwrap_or_else(|| "omni-moderation-latest".into()),
        url: url.trim_end_matches('/').to_owned(),
        key,
        required,
    })
}
