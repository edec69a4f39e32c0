//! Conversations of the user who asks, and of nobody else.

use super::paging::{Page, PageQuery, bad_cursor};
use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::ConversationEvent;
use crate::store::DbError;
use crate::store::conversations::{self, Conversation};
use crate::types::{AssistantId, ConversationId, Ctx, TurnId};
use actix_web::{HttpResponse, delete, get, patch, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// A conversation.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConversationView {
    id: ConversationId,
    title: String,
    assistant_id: AssistantId,
    assistant_name: String,
    /// A draft of the assistant is tried in it; no list has it.
    trial: bool,
    /// The turn to attach to, while one runs.
    running_turn_id: Option<TurnId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Conversation> for ConversationView {
    fn from(row: Conversation) -> Self {
        Self {
            id: row.id,
            title: row.title,
            assistant_id: row.assistant_id,
            assistant_name: row.assistant_name,
            trial: row.trial,
            running_turn_id: row.running_turn_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Rename {
    /// 1 to 200 characters.
    title: String,
}

async fn find(state: &State, ctx: Ctx, id: ConversationId) -> Result<Conversation, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found =
        Conversation::find(&mut tx, ctx.tenant, ctx.user, id).await.map_err(DbError::from)?;
    tx.commit().await?;
    found.ok_or_else(|| Problem::not_found("conversation"))
}

/// The user's conversations, last used first.
#[utoipa::path(get, path = "/v1/conversations", tag = "conversations", security(("bearer" = [])),
    params(PageQuery), responses((status = 200, body = Page<ConversationView>)))]
#[get("/v1/conversations")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
    query: web::Query<PageQuery>,
) -> Result<web::Json<Page<ConversationView>>, Problem> {
    let before = query.cursor()?.map(|cursor| place(&cursor).ok_or_else(bad_cursor)).transpose()?;
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let rows = Conversation::list(&mut tx, ctx.tenant, ctx.user, before, query.limit() + 1)
        .await
        .map_err(DbError::from)?;
    tx.commit().await?;
    let mark = |row: &Conversation| format!("{} {}", row.updated_at.timestamp_micros(), row.id);
    Ok(web::Json(query.page(rows, mark, ConversationView::from)))
}

fn place(cursor: &str) -> Option<(DateTime<Utc>, ConversationId)> {
    let (micros, id) = cursor.split_once(' ')?;
    Some((DateTime::from_timestamp_micros(micros.parse().ok()?)?, id.parse().ok()?))
}

/// One conversation.
#[utoipa::path(get, path = "/v1/conversations/{id}", tag = "conversations", security(("bearer" = [])),
    params(("id" = ConversationId, Path)),
    responses((status = 200, body = ConversationView), (status = 404, body = Problem)))]
#[get("/v1/conversations/{id}")]
pub(crate) async fn get(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ConversationId>,
) -> Result<web::Json<ConversationView>, Problem> {
    Ok(web::Json(find(&state, ctx, *id).await?.into()))
}

/// Give a conversation another title.
#[utoipa::path(patch, path = "/v1/conversations/{id}", tag = "conversations", security(("bearer" = [])),
    params(("id" = ConversationId, Path)), request_body = Rename,
    responses((status = 200, body = ConversationView), (status = 404, body = Problem)))]
#[patch("/v1/conversations/{id}")]
pub(crate) async fn rename(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ConversationId>,
    Body(body): Body<Rename>,
) -> Result<web::Json<ConversationView>, Problem> {
    let title: String = body.title.chars().filter(|c| !c.is_control()).collect();
    let title = title.trim();
    if title.is_empty() || title.chars().count() > 200 {
        return Err(Problem::invalid("`title` must have 1 to 200 characters."));
    }
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let renamed = conversations::rename(&mut tx, ctx.tenant, ctx.user, *id, title)
        .await
        .map_err(DbError::from)?;
    tx.commit().await?;
    if !renamed {
        return Err(Problem::not_found("conversation"));
    }
    let event = ConversationEvent::Renamed { conversation_id: *id, title: title.into() };
    state.chat.events().publish(ctx.tenant, ctx.user, &event);
    Ok(web::Json(find(&state, ctx, *id).await?.into()))
}

/// Delete a conversation with its messages. A turn that runs in it is stopped and billed first.
#[utoipa::path(delete, path = "/v1/conversations/{id}", tag = "conversations", security(("bearer" = [])),
    params(("id" = ConversationId, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
#[delete("/v1/conversations/{id}")]
pub(crate) async fn remove(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ConversationId>,
) -> Result<HttpResponse, Problem> {
    if let Some(turn) = find(&state, ctx, *id).await?.running_turn_id {
        state.chat.stop(ctx, turn).await?;
        if let Some(log) = state.chat.attach(ctx, turn).await? {
            drop(tokio::time::timeout(Duration::from_secs(5), log.wait_ended()).await);
        }
    }
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let outcome =
        conversations::delete(&mut tx, ctx.tenant, ctx.user, *id).await.map_err(DbError::from)?;
    match outcome {
        true => tx.commit().await?,
        // It was there a moment ago: a turn that would lose its reservation keeps it.
        false => return Err(crate::chat::Refused::TurnInProgress.into()),
    }
    let event = ConversationEvent::Deleted { conversation_id: *id };
    state.chat.events().publish(ctx.tenant, ctx.user, &event);
    Ok(HttpResponse::NoContent().finish())
}
