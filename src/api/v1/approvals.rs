//! A person's word on a call that an answer waits with.

use super::chat::idempotency_key;
use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::api::stream::{Watch, sse_response};
use crate::chat::{Asked, What, Wishes};
use crate::store::DbError;
use crate::store::approvals::Approval;
use crate::types::{ApprovalId, Question, TurnId};
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Deserialize;
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
pub(crate) struct DecisionBody {
    /// False: the call is not made, and the model is told so.
    approved: bool,
}

/// Agree to a call, or decline it. The answer goes on in a new turn of the conversation, streamed as every
/// answer is. A call is decided once, within a day.
#[utoipa::path(post, path = "/v1/turns/{id}/approvals/{approval}", tag = "chat", security(("bearer" = [])),
    params(("id" = TurnId, Path), ("approval" = ApprovalId, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = DecisionBody,
    responses((status = 200, content_type = "text/event-stream"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
#[post("/v1/turns/{id}/approvals/{approval}")]
pub(crate) async fn decide(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    path: web::Path<(TurnId, ApprovalId)>,
    Body(body): Body<DecisionBody>,
) -> Result<HttpResponse, Problem> {
    let (turn, approval) = path.into_inner();
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let whose = (ctx.tenant, ctx.user);
    let found = Approval::find(&mut tx, whose, turn, approval).await.map_err(DbError::from)?;
    tx.commit().await?;
    let (waiting, conversation) = found.ok_or_else(|| Problem::not_found("approval"))?;
    let word = if body.approved { "Approved" } else { "Declined" };
    let text = Question::parse(&format!("{word}: {}", waiting.tool))
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let approved = body.approved;
    let asked = Asked {
        what: What::Decision { conversation, approval, approved, text },
        assistant: None,
        draft: false,
        idempotency_key: idempotency_key(&request)?,
        wishes: Wishes::default(),
    };
    let watch = Watch::open(&state, ctx).await?;
    let accepted = state.chat.ask(ctx, asked).await?;
    let mut response = HttpResponse::Ok();
    Ok(sse_response(&mut response, accepted.log.cursor(0), Some(accepted.conversation), watch))
}
