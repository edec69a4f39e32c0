//! Tickets, for what a browser opens without an `Authorization` header: a WebSocket, an `EventSource`.

use super::files;
use crate::accounts::Tickets;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::store::DbError;
use crate::store::turns::Turn;
use crate::types::{DocumentId, TurnId};
use actix_web::{post, web};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(crate) struct TicketView {
    /// Offer it as subprotocol `ticket.<ticket>` beside `docent.v1`.
    ticket: String,
    /// Seconds.
    expires_in: i64,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct StreamTicketView {
    /// Send it as `?ticket=` of the stream, as often as it breaks.
    ticket: String,
    /// Seconds.
    expires_in: i64,
}

impl StreamTicketView {
    fn new(ticket: String) -> web::Json<Self> {
        web::Json(Self { ticket, expires_in: Tickets::STREAM_TTL_SECONDS })
    }
}

/// A one-use ticket that opens a WebSocket.
#[utoipa::path(post, path = "/v1/ws-tickets", tag = "chat", security(("bearer" = [])),
    responses((status = 200, body = TicketView), (status = 401, body = Problem)))]
#[post("/v1/ws-tickets")]
pub(crate) async fn of_socket(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<TicketView>, Problem> {
    let ticket = state.tickets.issue(ctx).await?;
    Ok(web::Json(TicketView { ticket, expires_in: Tickets::TTL_SECONDS }))
}

/// A ticket that opens the stream of this turn, for `EventSource`.
#[utoipa::path(post, path = "/v1/turns/{id}/ticket", tag = "chat", security(("bearer" = [])),
    params(("id" = TurnId, Path)),
    responses((status = 200, body = StreamTicketView), (status = 404, body = Problem)))]
#[post("/v1/turns/{id}/ticket")]
pub(crate) async fn of_turn(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<TurnId>,
) -> Result<web::Json<StreamTicketView>, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let turn = Turn::find(&mut tx, ctx.tenant, *id).await.map_err(DbError::from)?;
    tx.commit().await?;
    let turn = turn.filter(|turn| turn.user_id == ctx.user);
    let turn = turn.ok_or_else(|| Problem::not_found("turn"))?;
    Ok(StreamTicketView::new(state.tickets.issue_for(ctx, turn.id.uuid()).await?))
}

/// A ticket that opens the events of this file, for `EventSource`.
#[utoipa::path(post, path = "/v1/files/{id}/ticket", tag = "files", security(("bearer" = [])),
    params(("id" = DocumentId, Path)),
    responses((status = 200, body = StreamTicketView), (status = 404, body = Problem)))]
#[post("/v1/files/{id}/ticket")]
pub(crate) async fn of_file(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<DocumentId>,
) -> Result<web::Json<StreamTicketView>, Problem> {
    let file = files::find(&state, ctx, *id).await?;
    Ok(StreamTicketView::new(state.tickets.issue_for(ctx, file.id.uuid()).await?))
}
