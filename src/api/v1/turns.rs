//! A turn that exists already: join it, resume it, stop it.

use crate::api::principal::{Principal, Reader};
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::api::stream::{Watch, sse_response};
use crate::chat::Stopped;
use crate::types::TurnId;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ResumeQuery {
    /// The last offset seen; the stream goes on after it. `Last-Event-ID` says the same.
    after: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct StopView {
    turn_id: TurnId,
    /// `stopping`, or `ended` when it had ended before.
    status: &'static str,
}

/// Where a reader that saw `after` goes on.
pub(crate) fn resume_from(after: Option<i64>) -> usize {
    after.map_or(0, |after| usize::try_from(after.saturating_add(1)).unwrap_or(0))
}

fn last_event_id(request: &HttpRequest, turn: TurnId) -> Result<Option<i64>, Problem> {
    let Some(value) = request.headers().get("last-event-id") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let offset = match text.split_once('.') {
        Some((id, offset)) if id.parse() == Ok(turn) => offset,
        _ => "",
    };
    offset.parse().map(Some).map_err(|_not_a_number| {
        Problem::invalid("Last-Event-ID is not an id of this turn: use `<turn_id>.<offset>`.")
    })
}

/// Replay a turn from an offset and follow it to its end.
#[utoipa::path(get, path = "/v1/turns/{id}/stream", tag = "chat", security(("bearer" = [])),
    params(("id" = TurnId, Path), ResumeQuery, ("ticket" = Option<String>, Query, description = "Instead of the bearer"),
        ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream"), (status = 204), (status = 404, body = Problem),
        (status = 429, body = Problem)))]
#[get("/v1/turns/{id}/stream")]
pub(crate) async fn stream(
    request: HttpRequest,
    state: web::Data<State>,
    Reader { ctx, by_ticket }: Reader,
    id: web::Path<TurnId>,
    query: web::Query<ResumeQuery>,
) -> Result<HttpResponse, Problem> {
    let seen = last_event_id(&request, *id)?;
    let after = seen.or(query.after);
    let log = state.chat.attach(ctx, *id).await?.ok_or_else(|| Problem::not_found("turn"))?;
    let cursor = log.cursor(resume_from(after));
    if by_ticket && seen.is_some() && cursor.is_done() {
        return Ok(HttpResponse::NoContent().finish()); // else an EventSource comes back for ever
    }
    let watch = Watch::open(&state, ctx).await?;
    Ok(sse_response(&mut HttpResponse::Ok(), cursor, None, watch))
}

/// Stop a turn. What was produced is kept and billed. Stopping twice is no error.
#[utoipa::path(post, path = "/v1/turns/{id}/stop", tag = "chat", security(("bearer" = [])),
    params(("id" = TurnId, Path)),
    responses((status = 202, body = StopView), (status = 200, body = StopView), (status = 404, body = Problem)))]
#[post("/v1/turns/{id}/stop")]
pub(crate) async fn stop(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<TurnId>,
) -> Result<HttpResponse, Problem> {
    let stopped = state.chat.stop(ctx, *id).await?.ok_or_else(|| Problem::not_found("turn"))?;
    Ok(match stopped {
        Stopped::Stopping => {
            HttpResponse::Accepted().json(StopView { turn_id: *id, status: "stopping" })
        }
        Stopped::AlreadyEnded => {
            HttpResponse::Ok().json(StopView { turn_id: *id, status: "ended" })
        }
    })
}
