//! API keys: for programs that act as the person who made them.

use crate::accounts::{FreshApiKey, NewApiKey};
use crate::api::body::Body;
use crate::api::observe::request_id;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::store::api_keys::ApiKey;
use crate::types::{ApiKeyId, Scope, UserId};
use actix_web::{HttpResponse, delete, get, post, web};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use utoipa::{IntoParams, ToSchema};

/// For how long the old secret of a rotated key works, in seconds: a day, and at most a month.
const GRACE: u32 = 24 * 60 * 60;
const LONGEST_GRACE: u32 = 30 * GRACE;

#[derive(Deserialize, ToSchema)]
pub(crate) struct NewKeyBody {
    /// 1 to 100 characters: what it is for.
    name: String,
    /// What it may be used for; no more than your role may do.
    scopes: Vec<Scope>,
    /// Left out: until it is revoked.
    expires_at: Option<DateTime<Utc>>,
    /// Limits of its own, below yours.
    #[schema(value_type = Option<u32>, minimum = 1)]
    requests_per_minute: Option<NonZeroU32>,
    #[schema(value_type = Option<u32>, minimum = 1)]
    tokens_per_minute: Option<NonZeroU32>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct RotateBody {
    /// For how many seconds the old secret still works: 0 to 2592000, a day when left out.
    grace_seconds: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    /// `user`, the default, has your own keys; `tenant` everybody's, for owners and admins.
    #[serde(default)]
    scope: Whose,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Whose {
    #[default]
    User,
    Tenant,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct KeyView {
    id: ApiKeyId,
    name: String,
    /// Its last characters.
    hint: String,
    #[schema(value_type = Vec<Scope>)]
    scopes: Vec<String>,
    /// Whom it acts as.
    user_id: UserId,
    requests_per_minute: Option<i32>,
    tokens_per_minute: Option<i32>,
    expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
    /// Until when the secret before the last rotation works; null when it does not any more.
    previous_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<ApiKey> for KeyView {
    fn from(row: ApiKey) -> Self {
        Self {
            id: row.id,
            name: row.name,
            hint: row.hint,
            scopes: row.scopes.into_iter().flatten().collect(),
            user_id: row.user_id,
            requests_per_minute: row.requests_per_minute,
            tokens_per_minute: row.tokens_per_minute,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            previous_until: row.previous_until.filter(|until| *until > Utc::now()),
            created_at: row.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ListedKey {
    #[serde(flatten)]
    key: KeyView,
    /// The address of its user.
    email: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct KeyList {
    data: Vec<ListedKey>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct FreshKeyView {
    /// `dk_…`: it is not shown again.
    key: String,
    #[serde(flatten)]
    view: KeyView,
}

impl From<FreshApiKey> for FreshKeyView {
    fn from(fresh: FreshApiKey) -> Self {
        Self { key: fresh.secret, view: fresh.row.into() }
    }
}

/// Your keys, newest first; never their secrets.
#[utoipa::path(get, path = "/v1/api-keys", tag = "keys", security(("bearer" = [])), params(KeysQuery),
    responses((status = 200, body = KeyList), (status = 403, body = Problem)))]
#[get("/v1/api-keys")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
    query: web::Query<KeysQuery>,
) -> Result<web::Json<KeyList>, Problem> {
    let found = state.keys.list(ctx, matches!(query.scope, Whose::Tenant)).await?;
    let listed = |(row, email): (ApiKey, String)| ListedKey { key: row.into(), email };
    Ok(web::Json(KeyList { data: found.into_iter().map(listed).collect() }))
}

/// Make a key that acts as you, within its scopes. The answer is the only one with its secret.
#[utoipa::path(post, path = "/v1/api-keys", tag = "keys", security(("bearer" = [])),
    request_body = NewKeyBody,
    responses((status = 201, body = FreshKeyView), (status = 400, body = Problem),
        (status = 403, body = Problem)))]
#[post("/v1/api-keys")]
pub(crate) async fn create(
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(body): Body<NewKeyBody>,
) -> Result<HttpResponse, Problem> {
    let new = NewApiKey::parse(ctx, &body.name, &body.scopes, body.expires_at)?
        .limited(body.requests_per_minute, body.tokens_per_minute);
    let fresh = state.keys.create(ctx, new, &request_id()).await?;
    Ok(HttpResponse::Created().json(FreshKeyView::from(fresh)))
}

/// Give a key of yours another secret. The old one works for a while, so that programs can change over.
#[utoipa::path(post, path = "/v1/api-keys/{id}/rotate", tag = "keys", security(("bearer" = [])),
    params(("id" = ApiKeyId, Path)), request_body = RotateBody,
    responses((status = 200, body = FreshKeyView), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
#[post("/v1/api-keys/{id}/rotate")]
pub(crate) async fn rotate(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ApiKeyId>,
    Body(body): Body<RotateBody>,
) -> Result<web::Json<FreshKeyView>, Problem> {
    let seconds = body.grace_seconds.unwrap_or(GRACE);
    if seconds > LONGEST_GRACE {
        return Err(Problem::invalid(format!("`grace_seconds` is 0 to {LONGEST_GRACE}.")));
    }
    let grace = Duration::seconds(seconds.into());
    Ok(web::Json(state.keys.rotate(ctx, *id, grace, &request_id()).await?.into()))
}

/// End a key. Within seconds nothing is answered to it any more.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "keys", security(("bearer" = [])),
    params(("id" = ApiKeyId, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
#[delete("/v1/api-keys/{id}")]
pub(crate) async fn revoke(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ApiKeyId>,
) -> Result<HttpResponse, Problem> {
    state.keys.revoke(ctx, *id, &request_id()).await?;
    Ok(HttpResponse::NoContent().finish())
}
