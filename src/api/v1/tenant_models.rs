//! What the operator does to one tenant's models: which are allowed, routes and keys of its own. A key goes
//! in and never comes out.

use super::models::{AllowedBody, check_models, route};
use super::operator::{Change, Changed};
use crate::api::operator::Operator;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::llm::router::RouteEntry;
use crate::store::provider_keys::{NewProviderKey, ProviderKey};
use crate::store::providers::Provider;
use crate::store::routes::RouteRow;
use crate::store::{DbError, allowances};
use crate::types::Secret;
use actix_web::{HttpResponse, delete, get, put, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// The shortest and the longest key that there may be.
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 8..=512;

#[derive(Serialize, ToSchema)]
pub(crate) struct KeyView {
    provider: String,
    last_four: String,
    updated_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct TenantModelsView {
    /// What holds for it, its own list or its plan's; null: all.
    allowed: Option<Vec<String>>,
    /// Of its own.
    routes: Vec<RouteEntry>,
    /// Of its own.
    keys: Vec<KeyView>,
    /// The routes and models that its assistants may name.
    names: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct KeyBody {
    provider: String,
    /// 8 to 512 visible characters.
    key: String,
}

#[derive(Deserialize)]
pub(crate) struct Wanted {
    name: Option<String>,
}

/// A model that would be asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct CandidateView {
    model: String,
    provider: String,
}

/// What a name stands for.
#[derive(Serialize, ToSchema)]
pub(crate) struct ResolvedView {
    name: String,
    /// In the order in which they are asked.
    models: Vec<CandidateView>,
}

/// Notes a change, ends its transaction, and has this node see it.
async fn done(
    state: &State,
    mut change: Change,
    action: &str,
    detail: Value,
) -> Result<HttpResponse, Problem> {
    change.note(Uuid::now_v7(), action, detail).await?;
    let response = change.done(true, 0).await?;
    state.models.changed();
    Ok(response)
}

/// A tenant's models.
#[utoipa::path(get, path = "/v1/operator/tenants/{tenant}/models", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    responses((status = 200, body = TenantModelsView), (status = 404, body = Problem)))]
#[get("/v1/operator/tenants/{tenant}/models")]
pub(crate) async fn list(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
) -> Result<web::Json<TenantModelsView>, Problem> {
    let Change { tenant, mut tx, .. } = Change::begin(&state, &tenant).await?;
    let allowed = allowances::of_tenant(&mut tx, tenant.id).await.map_err(DbError::from)?;
    let routes = RouteRow::list(&mut tx, Some(tenant.id)).await.map_err(DbError::from)?;
    let keys = ProviderKey::list(&mut tx, tenant.id).await.map_err(DbError::from)?;
    tx.commit().await?;
    let names = state.models.list(tenant.id).await?;
    let key = |key: ProviderKey| {
        let ProviderKey { provider, last_four, updated_at, .. } = key;
        KeyView { provider, last_four, updated_at }
    };
    Ok(web::Json(TenantModelsView {
        allowed,
        routes: routes.into_iter().map(route).collect(),
        keys: keys.into_iter().map(key).collect(),
        names: names.into_iter().map(|listed| listed.name).collect(),
    }))
}

/// Says which models a tenant may use, instead of its plan.
#[utoipa::path(put, path = "/v1/operator/tenants/{tenant}/models", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    request_body = AllowedBody,
    responses((status = 201, body = Changed), (status = 400, body = Problem),
        (status = 404, body = Problem)))]
#[put("/v1/operator/tenants/{tenant}/models")]
pub(crate) async fn allow(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    body: web::Json<AllowedBody>,
) -> Result<HttpResponse, Problem> {
    let mut change = Change::begin(&state, &tenant).await?;
    check_models(&mut change.tx, body.models.as_deref().unwrap_or_default()).await?;
    let id = change.tenant.id;
    let set = allowances::set_tenant(&mut change.tx, id, body.models.as_deref()).await;
    set.map_err(DbError::from)?;
    done(&state, change, "models", json!(*body)).await
}

/// Makes a route of the tenant's own, or puts another in its place.
#[utoipa::path(put, path = "/v1/operator/tenants/{tenant}/routes", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    request_body = RouteEntry,
    responses((status = 201, body = Changed), (status = 400, body = Problem),
        (status = 404, body = Problem)))]
#[put("/v1/operator/tenants/{tenant}/routes")]
pub(crate) async fn put_route(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    body: web::Json<RouteEntry>,
) -> Result<HttpResponse, Problem> {
    let row = body.clone().checked()?;
    let mut change = Change::begin(&state, &tenant).await?;
    check_models(&mut change.tx, &row.models).await?;
    let id = change.tenant.id;
    row.put(&mut change.tx, Some(id)).await.map_err(DbError::from)?;
    done(&state, change, "route", json!(*body)).await
}

/// Takes a route of the tenant's own away: the server's holds again.
#[utoipa::path(delete, path = "/v1/operator/tenants/{tenant}/routes/{name}", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id"),
        ("name" = String, Path)),
    responses((status = 201, body = Changed), (status = 404, body = Problem)))]
#[delete("/v1/operator/tenants/{tenant}/routes/{name}")]
pub(crate) async fn remove_route(
    state: web::Data<State>,
    _operator: Operator,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (tenant, name) = path.into_inner();
    let mut change = Change::begin(&state, &tenant).await?;
    let removed = RouteRow::remove(&mut change.tx, Some(change.tenant.id), &name).await;
    if !removed.map_err(DbError::from)? {
        return Err(Problem::not_found("route"));
    }
    done(&state, change, "route removed", json!({"name": name})).await
}

/// Keeps a key of the tenant's own at a provider, sealed, in place of the one that was there.
#[utoipa::path(put, path = "/v1/operator/tenants/{tenant}/provider-keys", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    request_body = KeyBody,
    responses((status = 201, body = KeyView), (status = 400, body = Problem),
        (status = 404, body = Problem)))]
#[put("/v1/operator/tenants/{tenant}/provider-keys")]
pub(crate) async fn put_key(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    body: web::Json<KeyBody>,
) -> Result<HttpResponse, Problem> {
    let key = Secret::new(&body.key);
    let visible = key.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || !KEY_LENGTHS.contains(&key.expose().len()) {
        return Err(Problem::invalid("`key` has 8 to 512 visible characters."));
    }
    let mut change = Change::begin(&state, &tenant).await?;
    if !Provider::exists(&mut change.tx, &body.provider).await.map_err(DbError::from)? {
        return Err(Problem::invalid("There is no such provider."));
    }
    let id = change.tenant.id;
    let sealed = state.models.seal(id, &body.provider, &key);
    let sealed = sealed.ok_or_else(|| Problem::invalid("`key` cannot be kept."))?;
    let last_four: String = key.expose().chars().skip(key.expose().len() - 4).collect();
    let (provider, updated_at) = (body.provider.clone(), Utc::now());
    let view = KeyView { provider: provider.clone(), last_four: last_four.clone(), updated_at };
    let row = NewProviderKey { tenant_id: id, provider, sealed, last_four, updated_at };
    row.put(&mut change.tx).await.map_err(DbError::from)?;
    done(&state, change, "provider key", json!(view)).await?;
    Ok(HttpResponse::Created().json(view))
}

/// Takes a key away: the server's own is used again.
#[utoipa::path(delete, path = "/v1/operator/tenants/{tenant}/provider-keys/{provider}",
    tag = "operator", security(("bearer" = [])),
    params(("tenant" = String, Path, description = "slug or id"), ("provider" = String, Path)),
    responses((status = 201, body = Changed), (status = 404, body = Problem)))]
#[delete("/v1/operator/tenants/{tenant}/provider-keys/{provider}")]
pub(crate) async fn remove_key(
    state: web::Data<State>,
    _operator: Operator,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (tenant, provider) = path.into_inner();
    let mut change = Change::begin(&state, &tenant).await?;
    let removed = ProviderKey::remove(&mut change.tx, change.tenant.id, &provider).await;
    if !removed.map_err(DbError::from)? {
        return Err(Problem::not_found("key"));
    }
    done(&state, change, "provider key removed", json!({"provider": provider})).await
}

/// What a name stands for at a tenant right now; of a weighted route one draw.
#[utoipa::path(get, path = "/v1/operator/tenants/{tenant}/resolve", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id"),
        ("name" = Option<String>, Query, description = "a route or a model; default: `default`")),
    responses((status = 200, body = ResolvedView), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
#[get("/v1/operator/tenants/{tenant}/resolve")]
pub(crate) async fn resolve(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    wanted: web::Query<Wanted>,
) -> Result<web::Json<ResolvedView>, Problem> {
    let Change { tenant, tx, .. } = Change::begin(&state, &tenant).await?;
    tx.commit().await?;
    let route = state.models.resolve(tenant.id, wanted.name.as_deref()).await?;
    let view = route.candidates.iter().map(|candidate| CandidateView {
        model: candidate.id.clone(),
        provider: candidate.provider.clone(),
    });
    Ok(web::Json(ResolvedView { name: route.name.clone(), models: view.collect() }))
}
