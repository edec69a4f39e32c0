//! Which models a turn asked, and how each of them failed: for the tenant's owners and admins.

use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::{Tried, tried};
use crate::llm::TokenUsage;
use crate::store::DbError;
use crate::store::turns::Turn;
use crate::types::TurnId;
use actix_web::{get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// What the provider counted; null: it did not say.
#[derive(Serialize, ToSchema)]
pub(crate) struct AttemptTokens {
    input: Option<u64>,
    /// The part of `input` that was cached.
    cached_input: Option<u64>,
    output: Option<u64>,
    /// The part of `output` that was thought and not shown.
    reasoning: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// As in the rows of the receipt.
    step: usize,
    model: String,
    provider: String,
    /// Null: it answered. `skipped`: it was not asked; others say how it failed.
    error: Option<String>,
    /// Why it was skipped: what it cannot do, or the failure after which it is left alone for a while.
    because: Option<String>,
    /// The provider's HTTP status, where it refused with one.
    status: Option<u16>,
    started: DateTime<Utc>,
    /// Until the answer began, or until it failed before that.
    took_ms: u64,
    tokens: AttemptTokens,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Attempts {
    turn_id: TurnId,
    /// running, complete, stopped or failed.
    state: String,
    data: Vec<AttemptView>,
}

/// Which models a turn asked, in order, and what became of it. What providers said stays in the log.
#[utoipa::path(get, path = "/v1/turns/{id}/attempts", tag = "chat", security(("bearer" = [])),
    params(("id" = TurnId, Path)),
    responses((status = 200, body = Attempts), (status = 404, body = Problem)))]
#[get("/v1/turns/{id}/attempts")]
pub(crate) async fn attempts(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<TurnId>,
) -> Result<web::Json<Attempts>, Problem> {
    if !ctx.sees_attempts() {
        return Err(Problem::not_found("turn"));
    }
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let turn = Turn::find(&mut tx, ctx.tenant, *id).await.map_err(DbError::from)?;
    tx.commit().await?;
    let turn = turn.ok_or_else(|| Problem::not_found("turn"))?;
    let data = tried(&turn).into_iter().map(view).collect();
    Ok(web::Json(Attempts { turn_id: *id, state: turn.state, data }))
}

fn view(Tried { step, attempt, usage }: Tried) -> AttemptView {
    let TokenUsage { input, cached, output, reasoning, .. } = usage;
    let (error, because) = attempt.error.map(|error| (error.code, error.because)).unzip();
    AttemptView {
        step,
        model: attempt.model,
        provider: attempt.provider,
        error,
        because: because.flatten(),
        status: attempt.status,
        started: attempt.started,
        took_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
        tokens: AttemptTokens { input, cached_input: cached, output, reasoning },
    }
}
