//! A chat of the client: asking in it, following the answer that is being written, stopping it.

use super::request::ChatBody;
use super::shape::shape;
use super::ui_stream::UiStream;
use super::wanted::wanted;
use crate::api::body::Bytes;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::api::stream::{Watch, wire_response};
use crate::api::v1::{idempotency_key, quota};
use crate::chat::{Asked, Stopped, TurnLog, Wishes};
use crate::store::DbError;
use crate::store::conversations::Conversation;
use crate::types::{ChatName, ConversationId, Ctx, TurnId};
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, post, web};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The body of a request, in KiB: clients send the whole chat each time.
const MOST_KIB: usize = 4 * 1024;

#[derive(Serialize, ToSchema)]
pub(crate) struct ChatStopView {
    /// `stopping`, or `ended` when no answer is being written.
    status: &'static str,
}

/// Ask as `useChat` does; the answer is a UI Message Stream. docs/ai-sdk.md has every field.
#[utoipa::path(post, path = "/api/chat", tag = "ai-sdk", security(("bearer" = [])), request_body = ChatBody,
    params(("Idempotency-Key" = Option<String>, Header), ("X-Docent-Ai-Sdk" = Option<u32>, Header)),
    responses((status = 200, content_type = "text/event-stream"), (status = 400), (status = 404), (status = 409),
        (status = 422), (status = 429)))]
#[post("/api/chat", wrap = "from_fn(shape)")]
pub(crate) async fn ask(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    Bytes(body): Bytes<MOST_KIB>,
) -> Result<HttpResponse, Problem> {
    let key = idempotency_key(&request)?;
    // A long chat takes milliseconds to read: not those of other requests of this worker.
    let read = web::block(move || ChatBody::parse(&body)).await;
    let body = read.map_err(|_died| Problem::invalid("The body cannot be read."))??;
    let watch = Watch::open(&state, ctx).await?; // before anything is asked
    let what = wanted(&state, ctx, &body).await?;
    let (assistant, wishes) = (body.assistant, Wishes::default());
    let asked = Asked { what, assistant, draft: false, idempotency_key: key, wishes };
    let accepted = state.chat.ask(ctx, asked).await?;
    let mut head = HttpResponse::Ok();
    quota::header(&mut head, &quota::standing(&state, ctx, &accepted).await);
    Ok(stream_of(&request, &mut head, &accepted.log, accepted.conversation, watch))
}

/// Follow the answer that is being written in a chat, from its start; 204 when none is.
#[utoipa::path(get, path = "/api/chat/{id}/stream", tag = "ai-sdk", security(("bearer" = [])),
    params(("id" = String, Path), ("X-Docent-Ai-Sdk" = Option<u32>, Header)),
    responses((status = 200, content_type = "text/event-stream"), (status = 204), (status = 429)))]
#[get("/api/chat/{id}/stream", wrap = "from_fn(shape)")]
pub(crate) async fn stream(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = find(&state, ctx, &id).await?;
    let Some((conversation, Some(turn))) = found else {
        return Ok(HttpResponse::NoContent().finish());
    };
    let watch = Watch::open(&state, ctx).await?;
    let log = state.chat.attach(ctx, turn).await?.ok_or_else(|| Problem::not_found("turn"))?;
    Ok(stream_of(&request, &mut HttpResponse::Ok(), &log, conversation, watch))
}

/// Stop the answer that is being written in a chat. What was produced is kept and billed.
#[utoipa::path(post, path = "/api/chat/{id}/stop", tag = "ai-sdk", security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 202, body = ChatStopView), (status = 200, body = ChatStopView), (status = 404)))]
#[post("/api/chat/{id}/stop", wrap = "from_fn(shape)")]
pub(crate) async fn stop(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (_, turn) = find(&state, ctx, &id).await?.ok_or_else(|| Problem::not_found("chat"))?;
    let stopped = match turn {
        Some(turn) => state.chat.stop(ctx, turn).await?,
        None => None,
    };
    Ok(match stopped {
        Some(Stopped::Stopping) => {
            HttpResponse::Accepted().json(ChatStopView { status: "stopping" })
        }
        Some(Stopped::AlreadyEnded) | None => {
            HttpResponse::Ok().json(ChatStopView { status: "ended" })
        }
    })
}

/// The user's conversation of that name, and the turn that runs in it.
async fn find(
    state: &State,
    ctx: Ctx,
    name: &str,
) -> Result<Option<(ConversationId, Option<TurnId>)>, Problem> {
    let Ok(name) = ChatName::parse(name) else { return Ok(None) };
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found = Conversation::find_named(&mut tx, ctx.tenant, ctx.user, name.as_str()).await;
    tx.commit().await?;
    let found = found.map_err(DbError::from)?;
    Ok(found.map(|conversation| (conversation.id, conversation.running_turn_id)))
}

fn stream_of(
    request: &HttpRequest,
    head: &mut HttpResponseBuilder,
    log: &Arc<TurnLog>,
    conversation: ConversationId,
    watch: Watch,
) -> HttpResponse {
    head.insert_header(("x-vercel-ai-ui-message-stream", "v1"))
        .insert_header(("x-conversation-id", conversation.to_string()));
    wire_response(head, log.cursor(0), UiStream::new(log.turn(), request), watch)
}
