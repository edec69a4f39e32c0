//! Running a call.

use super::builtin::Builtin;
use super::calculator::calculate;
use super::offer::Offer;
use crate::embedding::Space;
use crate::llm::ToolCall;
use crate::llm::router::Vault;
use crate::net::Egress;
use crate::retrieval::{Found, Passage, Retriever, best_window};
use crate::store::tenant_tools::TenantTool;
use crate::store::{Conn, Db, DbError, pages, tenants};
use crate::types::TenantId;
use diesel::QueryResult;
use governor::{DefaultKeyedRateLimiter, Quota};
use serde_json::{Map, Value, json};
use std::num::NonZeroU32;
use std::sync::Arc;
use thiserror::Error;

/// How many tokens of passages one search gives.
const SEARCH_BUDGET: i32 = 1_600;
/// The longest query, in characters.
pub(super) const LONGEST_QUERY: usize = 1_000;
/// The most bytes of a page that are read.
const PAGE_BYTES: usize = 16 * 1024;

/// How many requests tenants' tools may make, on this node and for each tenant.
const PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);

/// What a call may see of its turn.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub tenant: TenantId,
    /// What the turn was given so far: their numbers count from 1.
    pub passages: &'a [Passage],
    /// Whose documents may be searched. Empty: all.
    pub collections: &'a [String],
    /// Whose vectors are searched.
    pub space: &'a Space,
}

/// What a call gave.
#[derive(Debug)]
pub enum Output {
    /// More passages, to be numbered and cited.
    Passages(Found),
    Value(Value),
}

/// Why a call gave nothing: a sentence for the model and for the user.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Failed(pub String);

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        tracing::error!(%error, "A tool could not read the database");
        Self("The tool is not available at the moment.".into())
    }
}

impl From<diesel::result::Error> for Failed {
    fn from(error: diesel::result::Error) -> Self {
        DbError::from(error).into()
    }
}

/// Runs calls. Cheap to clone.
#[derive(Clone)]
pub struct Toolbox {
    db: Db,
    retriever: Retriever,
    pub(super) egress: Egress,
    pub(super) vault: Vault,
    /// Of the requests that tenants' tools make.
    pub(super) paces: Arc<DefaultKeyedRateLimiter<TenantId>>,
}

impl Toolbox {
    /// Of this server.
    #[must_use]
    pub fn new(db: Db, retriever: Retriever, egress: Egress, vault: Vault) -> Self {
        let paces = Arc::new(DefaultKeyedRateLimiter::keyed(Quota::per_minute(PER_MINUTE)));
        Self { db, retriever, egress, vault, paces }
    }

    /// The tools of these names; one that is not there any more is left out.
    ///
    /// # Errors
    /// When a query fails.
    pub async fn offer(
        &self,
        conn: &mut Conn,
        tenant: TenantId,
        names: &[String],
    ) -> QueryResult<Offer> {
        let builtin: Vec<Builtin> = names.iter().filter_map(|name| Builtin::named(name)).collect();
        let others: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| Builtin::named(name).is_none())
            .collect();
        if others.is_empty() {
            return Ok(Offer { builtin, own: Vec::new() });
        }
        let own = TenantTool::named(conn, tenant, &others).await?;
        Ok(Offer { builtin, own: own.into_iter().map(Arc::new).collect() })
    }

    /// Forgets how fast tenants were that have not come for a while.
    pub fn sweep(&self) {
        self.paces.retain_recent();
    }

    /// Runs a call. Dropping this stops it.
    ///
    /// # Errors
    /// When the call is not one, or what it needs is not there.
    pub async fn call(
        &self,
        scene: Scene<'_>,
        offer: &Offer,
        call: &ToolCall,
    ) -> Result<Output, Failed> {
        let input = call.input().ok_or_else(|| Failed("The input is not a JSON object.".into()))?;
        let Value::Object(input) = input else { return Err(Failed("There is no input.".into())) };
        if let Some(tool) = offer.own(&call.name) {
            return self.request(tool, input).await;
        }
        let tool = Builtin::named(&call.name).filter(|tool| offer.builtin.contains(tool));
        match tool {
            Some(Builtin::SearchDocuments) => self.search(scene, &input).await,
            Some(Builtin::ReadPage) => self.read_page(scene, &input).await,
            Some(Builtin::Calculator) => {
                let expression = text(&input, "expression")?;
                calculate(expression)
                    .map(|value| Output::Value(json!({"result": value})))
                    .map_err(Failed)
            }
            Some(Builtin::CurrentDate) => self.current_date(scene.tenant).await,
            None => Err(Failed("There is no such tool.".into())),
        }
    }

    async fn search(&self, scene: Scene<'_>, input: &Map<String, Value>) -> Result<Output, Failed> {
        let query: String = text(input, "query")?.chars().take(LONGEST_QUERY).collect();
        let (tenant, among) = (scene.tenant, scene.collections);
        let space = scene.space.clone();
        let found = self.retriever.retrieve(tenant, space, &query, SEARCH_BUDGET, among).await;
        found.map(Output::Passages).map_err(|error| {
            tracing::error!(%error, "A tool could not search");
            Failed("The documents could not be searched.".into())
        })
    }

    /// Only of a document that the turn was given a passage of: a model that was talked into something
    /// reads nothing else.
    async fn read_page(
        &self,
        scene: Scene<'_>,
        input: &Map<String, Value>,
    ) -> Result<Output, Failed> {
        let number =
            input.get("passage").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let passage = number.and_then(|n| scene.passages.get(n.checked_sub(1)?));
        let passage =
            passage.ok_or_else(|| Failed("There is no passage of that number.".into()))?;
        let page = match input.get("page") {
            None | Some(Value::Null) => Some(passage.page),
            Some(page) => page.as_i64().and_then(|page| i32::try_from(page).ok()),
        };
        let page = page.ok_or_else(|| Failed("`page` is not a number.".into()))?;
        let mut tx = self.db.tenant(scene.tenant).await?;
        let found = pages::find(&mut tx, scene.tenant, passage.document, page).await?;
        tx.commit().await?;
        let found = found.ok_or_else(|| Failed(format!("The document has no page {page}.")))?;
        let text = found.get(..found.floor_char_boundary(PAGE_BYTES)).unwrap_or_default();
        let read = Passage {
            page,
            page_end: page,
            snippet: best_window(text, &passage.snippet),
            text: text.to_owned(),
            ..passage.clone()
        };
        Ok(Output::Passages(Found { passages: vec![read], embedding_tokens: 0, exact: true }))
    }

    async fn current_date(&self, tenant: TenantId) -> Result<Output, Failed> {
        let mut tx = self.db.tenant(tenant).await?;
        let now = tenants::local_time(&mut tx, tenant).await?;
        tx.commit().await?;
        let value = now.map(|now| {
            json!({"date": now.date, "time": now.time, "weekday": now.weekday, "time_zone": now.zone})
        });
        value.map(Output::Value).ok_or_else(|| Failed("The date is not known.".into()))
    }
}

fn text<'a>(input: &'a Map<String, Value>, name: &str) -> Result<&'a str, Failed> {
    let given = input.get(name).and_then(Value::as_str).map(str::trim);
    given.filter(|text| !text.is_empty()).ok_or_else(|| Failed(format!("`{name}` is missing.")))
}
