//! Which embedding model a tenant's documents have, and moving them to another: the operator's.

use super::operator::Change;
use crate::api::operator::Operator;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::documents::{self, MoveError};
use crate::store::embedding_models::EmbeddingModel;
use actix_web::{HttpResponse, delete, get, put, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveBody {
    /// The name of an embedding model, or what its provider calls it.
    model: String,
    /// Fewer than the model has, where it can be shortened.
    dimensions: Option<i32>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SpaceView {
    name: String,
    dimensions: i32,
    provider: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct MoveView {
    /// What answers questions; null: no document yet, the server's default.
    model: Option<SpaceView>,
    /// The tenant is being moved there.
    next: Option<SpaceView>,
    /// Documents that have vectors of the next model.
    done: i64,
    /// Documents that have none yet.
    left: i64,
    /// Those of them that were given up: move again to try again.
    failed: i64,
    last_error: Option<String>,
    /// Vectors that are not needed any more are being deleted.
    tidying: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Queued {
    /// Documents to embed; 0: the tenant has none, and is there.
    queued: usize,
}

impl From<EmbeddingModel> for SpaceView {
    fn from(model: EmbeddingModel) -> Self {
        let EmbeddingModel { name, dimensions, provider, .. } = model;
        Self { name, dimensions, provider }
    }
}

impl From<MoveError> for Problem {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Db(error) => error.into(),
            MoveError::NoModel(_) => Self::invalid(error.to_string()),
            other => Self::new(Code::Conflict, other.to_string()),
        }
    }
}

/// Which embedding model a tenant has, and how far its move is.
#[utoipa::path(get, path = "/v1/operator/tenants/{tenant}/embeddings", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    responses((status = 200, body = MoveView), (status = 404, body = Problem)))]
#[get("/v1/operator/tenants/{tenant}/embeddings")]
pub(crate) async fn status(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
) -> Result<web::Json<MoveView>, Problem> {
    let mut change = Change::begin(&state, &tenant).await?;
    let id = change.tenant.id;
    let found = documents::move_status(&mut change.tx, id).await?;
    Ok(web::Json(MoveView {
        model: found.model.map(SpaceView::from),
        next: found.next.map(SpaceView::from),
        done: found.progress.done,
        left: found.progress.left,
        failed: found.progress.failed,
        last_error: found.progress.last_error,
        tidying: found.tidying,
    }))
}

/// Moves a tenant to another embedding model, in the background; again: what was given up is tried again.
#[utoipa::path(put, path = "/v1/operator/tenants/{tenant}/embeddings", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    request_body = MoveBody,
    responses((status = 202, body = Queued), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
#[put("/v1/operator/tenants/{tenant}/embeddings")]
pub(crate) async fn start(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    body: web::Json<MoveBody>,
) -> Result<HttpResponse, Problem> {
    let model = documents::find_model(&state.db, &body.model, body.dimensions).await?;
    let mut change = Change::begin(&state, &tenant).await?;
    let id = change.tenant.id;
    let queued = documents::start_move(&mut change.tx, id, &model).await?;
    change.note(Uuid::now_v7(), "embeddings", json!(*body)).await?;
    change.tx.commit().await?;
    Ok(HttpResponse::Accepted().json(Queued { queued }))
}

/// Takes a move back that has not ended: the tenant stays where it is.
#[utoipa::path(delete, path = "/v1/operator/tenants/{tenant}/embeddings", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
#[delete("/v1/operator/tenants/{tenant}/embeddings")]
pub(crate) async fn cancel(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let mut change = Change::begin(&state, &tenant).await?;
    let id = change.tenant.id;
    documents::cancel_move(&mut change.tx, id).await?;
    change.note(Uuid::now_v7(), "embeddings cancelled", json!({})).await?;
    change.tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
