//! What the operator does to the catalogue for everybody: models, routes, and what plans allow. Providers,
//! with their addresses, are for the command line only: a token alone cannot send keys elsewhere.

use crate::api::observe;
use crate::api::operator::Operator;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::llm::router::{BreakerReport, ModelEntry, RouteEntry};
use crate::store::models::Model;
use crate::store::operator_log::Noted;
use crate::store::plans::Plan;
use crate::store::providers::Provider;
use crate::store::routes::RouteRow;
use crate::store::{DbError, Tx, allowances};
use crate::types::TenantId;
use actix_web::{HttpResponse, delete, get, put, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Serialize, ToSchema)]
pub(crate) struct ProviderView {
    name: String,
    kind: String,
    /// Null: the one of the settings.
    base_url: Option<String>,
    /// The name of a variable; never a key.
    key_variable: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelView {
    enabled: bool,
    #[serde(flatten)]
    model: ModelEntry,
}

/// Whether a model is asked, on this node.
#[derive(Serialize, ToSchema)]
pub(crate) struct BreakerView {
    provider: String,
    /// The provider's own name for it.
    model: String,
    /// Whose key it is; null: the server's.
    tenant_id: Option<TenantId>,
    /// `closed`, `open` or `half_open`.
    state: &'static str,
    /// In a row.
    failures: u32,
    /// Until it is tried again.
    retry_in_ms: Option<u64>,
    last_error: Option<LastError>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LastError {
    code: String,
    detail: String,
    at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CatalogueView {
    providers: Vec<ProviderView>,
    models: Vec<ModelView>,
    routes: Vec<RouteEntry>,
    /// What plans allow; one that is not listed allows all.
    plans: BTreeMap<String, Vec<String>>,
    breakers: Vec<BreakerView>,
}

#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct AllowedBody {
    /// Ids of models; null: no list.
    pub(super) models: Option<Vec<String>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct NotedView {
    id: Uuid,
    actor: String,
    action: String,
    detail: Value,
    request_id: Option<String>,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct NotedList {
    data: Vec<NotedView>,
}

fn model(model: Model) -> ModelView {
    let entry = ModelEntry {
        id: model.id,
        provider: model.provider,
        name: Some(model.name),
        context_window: model.context_window,
        max_output: model.max_output,
        tools: Some(model.tools),
        images: Some(model.images),
        json_schema: Some(model.json_schema),
        reasoning: Some(model.reasoning),
        enabled: None,
        connect_ms: Some(model.connect_ms),
        first_token_ms: Some(model.first_token_ms),
        idle_ms: Some(model.idle_ms),
        total_ms: Some(model.total_ms),
    };
    ModelView { enabled: model.enabled, model: entry }
}

pub(super) fn route(row: RouteRow) -> RouteEntry {
    let RouteRow { name, models, weights, after_cut } = row;
    RouteEntry { name, models, weights, after_cut: Some(after_cut) }
}

fn breaker(report: BreakerReport) -> BreakerView {
    let milliseconds =
        |wait: std::time::Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    BreakerView {
        provider: report.provider,
        model: report.model,
        tenant_id: report.tenant,
        state: report.state,
        failures: report.failures,
        retry_in_ms: report.wait.map(milliseconds),
        last_error: report.last.map(|(code, detail, at)| LastError { code, detail, at }),
    }
}

/// The record of a change and the end of its transaction; from now on this node sees it.
async fn done(
    state: &State,
    mut tx: Tx,
    action: &str,
    detail: Value,
) -> Result<HttpResponse, Problem> {
    let noted = Noted {
        id: Uuid::now_v7(),
        actor: "operator".into(),
        action: action.into(),
        detail,
        request_id: Some(observe::request_id()),
    };
    noted.insert(&mut tx).await.map_err(DbError::from)?;
    tx.commit().await?;
    state.models.changed();
    Ok(HttpResponse::NoContent().finish())
}

/// Refuses what names a model that is not there.
pub(super) async fn check_models(tx: &mut Tx, named: &[String]) -> Result<(), Problem> {
    let there = Model::list(tx).await.map_err(DbError::from)?;
    match named.iter().find(|id| !there.iter().any(|model| model.id == **id)) {
        Some(id) => Err(Problem::invalid(format!("There is no model '{id}' in the catalogue."))),
        None => Ok(()),
    }
}

/// The catalogue, and how the models that were asked lately stand on this node.
#[utoipa::path(get, path = "/v1/operator/models", tag = "operator", security(("bearer" = [])),
    responses((status = 200, body = CatalogueView)))]
#[get("/v1/operator/models")]
pub(crate) async fn list(
    state: web::Data<State>,
    _operator: Operator,
) -> Result<web::Json<CatalogueView>, Problem> {
    let mut tx = state.db.system().await?;
    let providers = Provider::list(&mut tx).await.map_err(DbError::from)?;
    let models = Model::list(&mut tx).await.map_err(DbError::from)?;
    let routes = RouteRow::list(&mut tx, None).await.map_err(DbError::from)?;
    let plans = allowances::of_plans(&mut tx).await.map_err(DbError::from)?;
    tx.commit().await?;
    let provider = |row: Provider| {
        let Provider { name, kind, base_url, key_variable } = row;
        ProviderView { name, kind, base_url, key_variable }
    };
    Ok(web::Json(CatalogueView {
        providers: providers.into_iter().map(provider).collect(),
        models: models.into_iter().map(model).collect(),
        routes: routes.into_iter().map(route).collect(),
        plans: plans.into_iter().map(|row| (row.plan, row.models)).collect(),
        breakers: state.models.breakers().into_iter().map(breaker).collect(),
    }))
}

/// Adds a model, or changes it: what is left out stays as it is.
#[utoipa::path(put, path = "/v1/operator/models", tag = "operator", security(("bearer" = [])),
    request_body = ModelEntry, responses((status = 204), (status = 400, body = Problem)))]
#[put("/v1/operator/models")]
pub(crate) async fn put_model(
    state: web::Data<State>,
    _operator: Operator,
    body: web::Json<ModelEntry>,
) -> Result<HttpResponse, Problem> {
    let row = body.clone().checked()?;
    let mut tx = state.db.system().await?;
    if !Provider::exists(&mut tx, &row.provider).await.map_err(DbError::from)? {
        return Err(Problem::invalid(format!("There is no provider '{}'.", row.provider)));
    }
    row.put(&mut tx).await.map_err(DbError::from)?;
    done(&state, tx, "model", json!(*body)).await
}

/// Makes a route, or puts another in its place.
#[utoipa::path(put, path = "/v1/operator/routes", tag = "operator", security(("bearer" = [])),
    request_body = RouteEntry, responses((status = 204), (status = 400, body = Problem)))]
#[put("/v1/operator/routes")]
pub(crate) async fn put_route(
    state: web::Data<State>,
    _operator: Operator,
    body: web::Json<RouteEntry>,
) -> Result<HttpResponse, Problem> {
    let row = body.clone().checked()?;
    let mut tx = state.db.system().await?;
    check_models(&mut tx, &row.models).await?;
    row.put(&mut tx, None).await.map_err(DbError::from)?;
    done(&state, tx, "route", json!(*body)).await
}

/// Takes a route away.
#[utoipa::path(delete, path = "/v1/operator/routes/{name}", tag = "operator",
    security(("bearer" = [])), params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
#[delete("/v1/operator/routes/{name}")]
pub(crate) async fn remove_route(
    state: web::Data<State>,
    _operator: Operator,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let mut tx = state.db.system().await?;
    if !RouteRow::remove(&mut tx, None, &name).await.map_err(DbError::from)? {
        return Err(Problem::not_found("route"));
    }
    done(&state, tx, "route removed", json!({"name": *name})).await
}

/// Says which models a plan allows.
#[utoipa::path(put, path = "/v1/operator/plans/{plan}/models", tag = "operator",
    security(("bearer" = [])), params(("plan" = String, Path)), request_body = AllowedBody,
    responses((status = 204), (status = 400, body = Problem), (status = 404, body = Problem)))]
#[put("/v1/operator/plans/{plan}/models")]
pub(crate) async fn allow_plan(
    state: web::Data<State>,
    _operator: Operator,
    plan: web::Path<String>,
    body: web::Json<AllowedBody>,
) -> Result<HttpResponse, Problem> {
    let mut tx = state.db.system().await?;
    if !Plan::exists(&mut tx, &plan).await.map_err(DbError::from)? {
        return Err(Problem::not_found("plan"));
    }
    check_models(&mut tx, body.models.as_deref().unwrap_or_default()).await?;
    let set = allowances::set_plan(&mut tx, &plan, body.models.as_deref()).await;
    set.map_err(DbError::from)?;
    done(&state, tx, "plan models", json!({"plan": *plan, "models": body.models})).await
}

/// What was changed for everybody, newest first; the last 1000.
#[utoipa::path(get, path = "/v1/operator/log", tag = "operator", security(("bearer" = [])),
    responses((status = 200, body = NotedList)))]
#[get("/v1/operator/log")]
pub(crate) async fn log(
    state: web::Data<State>,
    _operator: Operator,
) -> Result<web::Json<NotedList>, Problem> {
    let mut tx = state.db.system().await?;
    let found = Noted::list(&mut tx, 1000).await.map_err(DbError::from)?;
    tx.commit().await?;
    let view = |(noted, created_at): (Noted, DateTime<Utc>)| {
        let Noted { id, actor, action, detail, request_id } = noted;
        NotedView { id, actor, action, detail, request_id, created_at }
    };
    Ok(web::Json(NotedList { data: found.into_iter().map(view).collect() }))
}
