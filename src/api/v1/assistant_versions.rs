//! What an assistant was published as, and a look at what it would be.

use super::assistant_edits::manage;
use super::chat::{AskBody, ask_and_stream};
use super::paging::{Page, PageQuery, bad_cursor};
use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::store::DbError;
use crate::store::assistant_drafts::Draft;
use crate::store::assistant_versions::{self as versions, Version};
use crate::types::{AssistantId, ConversationId, Ctx, Persona, UserId};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A version of an assistant.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionView {
    version: i32,
    /// Who published it; null: it came with the tenant, or they are gone.
    user_id: Option<UserId>,
    email: Option<String>,
    note: String,
    created_at: DateTime<Utc>,
    body: Persona,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct TryBody {
    /// At most 16,000 characters.
    text: String,
    /// Goes on with what was tried before.
    conversation_id: Option<ConversationId>,
}

impl From<Version> for VersionView {
    fn from(row: Version) -> Self {
        Self {
            version: row.number,
            user_id: row.user_id,
            email: row.email,
            note: row.note,
            created_at: row.created_at,
            body: row.body,
        }
    }
}

async fn find(state: &State, ctx: Ctx, id: AssistantId) -> Result<Draft, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found = Draft::find(&mut tx, ctx.tenant, id).await.map_err(DbError::from)?;
    tx.commit().await?;
    let found = found.ok_or_else(|| Problem::not_found("assistant"))?;
    manage(ctx)?;
    Ok(found)
}

/// The versions of an assistant, newest first. For owners and admins.
#[utoipa::path(get, path = "/v1/assistants/{id}/versions", tag = "assistants", security(("bearer" = [])),
    params(("id" = AssistantId, Path), PageQuery),
    responses((status = 200, body = Page<VersionView>), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
#[get("/v1/assistants/{id}/versions")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<AssistantId>,
    query: web::Query<PageQuery>,
) -> Result<web::Json<Page<VersionView>>, Problem> {
    let before = query
        .cursor()?
        .map(|number| number.parse().map_err(|_no_number| bad_cursor()))
        .transpose()?;
    find(&state, ctx, *id).await?;
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let rows = versions::list(&mut tx, ctx.tenant, *id, before, query.limit() + 1)
        .await
        .map_err(DbError::from)?;
    tx.commit().await?;
    Ok(web::Json(query.page(rows, |row| row.number.to_string(), VersionView::from)))
}

/// Ask the draft, streamed as `chat/stream` is. The conversation is in no list; to go on in it, name it here
/// or there.
#[utoipa::path(post, path = "/v1/assistants/{id}/try", tag = "assistants", security(("bearer" = [])),
    params(("id" = AssistantId, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = TryBody,
    responses((status = 200, content_type = "text/event-stream"), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem)))]
#[post("/v1/assistants/{id}/try")]
pub(crate) async fn try_draft(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<AssistantId>,
    Body(body): Body<TryBody>,
) -> Result<HttpResponse, Problem> {
    find(&state, ctx, *id).await?;
    let body = AskBody::of_draft(*id, body.conversation_id, body.text);
    ask_and_stream(&request, &state, ctx, body).await
}
