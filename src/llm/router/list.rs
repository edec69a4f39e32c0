//! A catalogue as it is written: providers, models and routes, checked before anything is stored.

use crate::store::embedding_models::NewEmbeddingModel;
use crate::store::models::NewModel;
use crate::store::providers::Provider;
use crate::store::routes::RouteRow;
use crate::store::{Db, DbError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

/// The catalogue that comes along.
pub const LIST: &str = include_str!("../../../deploy/models.toml");

/// Why a catalogue was not loaded; nothing of it was.
#[derive(Debug, Error)]
pub enum CatalogueError {
    #[error("the catalogue cannot be read: {0}")]
    Unreadable(#[from] toml::de::Error),
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// A model as it is described. What is left out has its default, or stays as it is.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// As it is shown and billed: what assistants and routes name.
    pub id: String,
    pub provider: String,
    /// The provider's own name for it; left out: the id.
    pub name: Option<String>,
    /// Tokens of prompt and answer together.
    pub context_window: i32,
    /// The most tokens of one answer.
    pub max_output: i32,
    pub tools: Option<bool>,
    pub images: Option<bool>,
    pub json_schema: Option<bool>,
    pub reasoning: Option<bool>,
    pub enabled: Option<bool>,
    /// Until the response begins; default 20000.
    pub connect_ms: Option<i32>,
    /// From there to the first token; default 30000.
    pub first_token_ms: Option<i32>,
    /// Between two pieces; default 20000.
    pub idle_ms: Option<i32>,
    /// The whole answer; default 300000.
    pub total_ms: Option<i32>,
}

/// A route as it is described.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    /// What assistants name; `default` is for those that name none.
    pub name: String,
    /// Ids, in the order in which they are asked; 1 to 16.
    pub models: Vec<String>,
    /// One for each model: the order is drawn by weight, anew for each answer.
    pub weights: Option<Vec<i32>>,
    /// When an answer breaks off: `continue` (the default) on the next model, or `end`.
    pub after_cut: Option<String>,
}

/// Who answers, as it is described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderEntry {
    name: String,
    kind: String,
    base_url: Option<String>,
    key_variable: Option<String>,
}

/// What embeds, as it is described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddingEntry {
    provider: String,
    model: String,
    dimensions: i32,
    batch_texts: Option<i32>,
    batch_tokens: Option<i32>,
    text_tokens: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    provider: Vec<ProviderEntry>,
    #[serde(default)]
    model: Vec<ModelEntry>,
    #[serde(default)]
    embedding: Vec<EmbeddingEntry>,
    #[serde(default)]
    route: Vec<RouteEntry>,
}

fn wrong(text: impl Into<String>) -> CatalogueError {
    CatalogueError::Wrong(text.into())
}

/// Whether a name has only such characters, and is 1 to `most` of them long.
fn named(name: &str, most: usize, others: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let allowed = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    first && name.len() <= most && name.chars().all(allowed)
}

fn plain(name: &str, most: usize) -> bool {
    named(name, most, "-") && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

impl ModelEntry {
    /// The row.
    ///
    /// # Errors
    /// With a sentence when it cannot be one.
    pub fn checked(self) -> Result<NewModel, CatalogueError> {
        if !named(&self.id, 100, "._:/@-") {
            return Err(wrong("`id` has 1 to 100 letters, digits and ._:/@-"));
        }
        let numbers = [self.connect_ms, self.first_token_ms, self.idle_ms, self.total_ms];
        let mut numbers =
            numbers.into_iter().flatten().chain([self.context_window, self.max_output]);
        if numbers.any(|number| number < 1) {
            return Err(wrong(format!("{}: windows, lengths and times are above 0", self.id)));
        }
        let name = self.name.unwrap_or_else(|| self.id.clone());
        if name.is_empty() || name.contains('\0') {
            return Err(wrong(format!("{}: `name` is what its provider calls it", self.id)));
        }
        Ok(NewModel {
            name,
            id: self.id,
            provider: self.provider,
            context_window: self.context_window,
            max_output: self.max_output,
            tools: self.tools,
            images: self.images,
            json_schema: self.json_schema,
            reasoning: self.reasoning,
            enabled: self.enabled,
            connect_ms: self.connect_ms,
            first_token_ms: self.first_token_ms,
            idle_ms: self.idle_ms,
            total_ms: self.total_ms,
        })
    }
}

impl RouteEntry {
    /// The row.
    ///
    /// # Errors
    /// With a sentence when it cannot be one.
    pub fn checked(self) -> Result<RouteRow, CatalogueError> {
        if !plain(&self.name, 63) {
            return Err(wrong("a route's `name` has 1 to 63 of a-z, 0-9 and -"));
        }
        let name = &self.name;
        if !(1..=16).contains(&self.models.len()) {
            return Err(wrong(format!("{name}: a route has 1 to 16 `models`")));
        }
        let fits = |weights: &Vec<i32>| {
            weights.len() == self.models.len() && weights.iter().all(|weight| *weight > 0)
        };
        if !self.weights.as_ref().is_none_or(fits) {
            return Err(wrong(format!("{name}: `weights` has a number above 0 for each model")));
        }
        let after_cut = self.after_cut.unwrap_or_else(|| "continue".to_owned());
        if !["continue", "end"].contains(&after_cut.as_str()) {
            return Err(wrong(format!("{name}: `after_cut` is continue or end")));
        }
        Ok(RouteRow { name: self.name, models: self.models, weights: self.weights, after_cut })
    }
}

impl ProviderEntry {
    fn checked(self) -> Result<Provider, CatalogueError> {
        let Self { name, kind, base_url, key_variable } = self;
        if !plain(&name, 32) {
            return Err(wrong("a provider's `name` has 1 to 32 of a-z, 0-9 and -"));
        }
        if !["openai", "anthropic", "gemini", "demo"].contains(&kind.as_str()) {
            return Err(wrong(format!("{name}: `kind` is openai, anthropic, gemini or demo")));
        }
        let is_url = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        if !base_url.as_ref().is_none_or(is_url) {
            return Err(wrong(format!("{name}: `base_url` looks like https://api.example.com/v1")));
        }
        let is_key = |variable: &String| {
            let allowed =
                |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            variable.ends_with("_API_KEY")
                && variable.len() <= 64
                && variable.bytes().all(allowed)
                && variable.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase())
        };
        if !key_variable.as_ref().is_none_or(is_key)
            || (key_variable.is_some() && base_url.is_none())
        {
            return Err(wrong(format!(
                "{name}: `key_variable` is the NAME of a variable, such as GROQ_API_KEY, and goes with a `base_url`"
            )));
        }
        Ok(Provider { name, kind, base_url, key_variable })
    }
}

impl EmbeddingEntry {
    fn checked(self) -> Result<NewEmbeddingModel, CatalogueError> {
        let model = &self.model;
        if !named(model, 90, "._:/@-") || !(1..=4000).contains(&self.dimensions) {
            return Err(wrong(format!(
                "{model}: `model` has 1 to 90 letters, digits and ._:/@-, `dimensions` are 1 to 4000"
            )));
        }
        let limits = [self.batch_texts, self.batch_tokens, self.text_tokens];
        if limits.into_iter().flatten().any(|limit| limit < 1) {
            return Err(wrong(format!("{model}: the limits of requests are above 0")));
        }
        let mut new = NewEmbeddingModel::new(&self.provider, model, self.dimensions, false);
        [new.batch_texts, new.batch_tokens, new.text_tokens] = limits;
        Ok(new)
    }
}

/// Adds what is in a catalogue, and changes what is there already; nothing is taken away. Returns how many
/// providers, models and routes it has.
///
/// # Errors
/// When something in it is wrong.
pub async fn load_models(db: &Db, text: &str) -> Result<(usize, usize, usize), CatalogueError> {
    let list: List = toml::from_str(text)?;
    let count = (list.provider.len(), list.model.len() + list.embedding.len(), list.route.len());
    let mut tx = db.system().await?;
    for provider in list.provider {
        provider.checked()?.put(&mut tx).await.map_err(DbError::from)?;
    }
    for model in list.model {
        let model = model.checked()?;
        if !Provider::exists(&mut tx, &model.provider).await.map_err(DbError::from)? {
            return Err(wrong(format!("{}: there is no provider '{}'", model.id, model.provider)));
        }
        model.put(&mut tx).await.map_err(DbError::from)?;
    }
    for model in list.embedding {
        let model = model.checked()?;
        if !Provider::exists(&mut tx, &model.provider).await.map_err(DbError::from)? {
            return Err(wrong(format!(
                "{}: there is no provider '{}'",
                model.name(),
                model.provider
            )));
        }
        model.put(&mut tx).await.map_err(DbError::from)?;
    }
    for route in list.route {
        route.checked()?.put(&mut tx, None).await.map_err(DbError::from)?;
    }
    tx.commit().await?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_that_comes_along_is_right() {
        let list: List = toml::from_str(LIST).unwrap();
        let ids: std::collections::BTreeSet<String> =
            list.model.into_iter().map(|model| model.checked().unwrap().id).collect();
        assert!(ids.contains("gpt-4o-mini") && ids.contains("demo"));
        for route in list.route {
            let route = route.checked().unwrap();
            assert!(route.models.iter().all(|model| ids.contains(model)), "{route:?}");
        }
        list.embedding.into_iter().for_each(|model| drop(model.checked().unwrap()));
        list.provider.into_iter().for_each(|provider| drop(provider.checked().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let provider = |key: &str| ProviderEntry {
            name: "groq".into(),
            kind: "openai".into(),
            base_url: Some("https://api.groq.com/openai/v1".into()),
            key_variable: Some(key.into()),
        };
        assert!(provider("GROQ_API_KEY").checked().is_ok());
        for other in ["DOCENT_SECRET", "DATABASE_URL", "gsk_abcd", "_API_KEY"] {
            assert!(provider(other).checked().is_err(), "{other} stays out of reach");
        }
        let route = |models: &[&str], weights: Option<Vec<i32>>, after_cut: &str| RouteEntry {
            name: "r".into(),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            weights,
            after_cut: Some(after_cut.into()),
        };
        assert!(route(&["a", "b"], Some(vec![1, 2]), "end").checked().is_ok());
        for wrong in [
            route(&[], None, "end"),
            route(&["a"; 17], None, "end"),
            route(&["a", "b"], Some(vec![1]), "end"),
            route(&["a", "b"], Some(vec![1, 0]), "end"),
            route(&["a"], None, "retry"),
        ] {
            let error = wrong.clone().checked().unwrap_err();
            assert!(error.to_string().starts_with("r: "), "{wrong:?}: {error}");
        }
    }
}
