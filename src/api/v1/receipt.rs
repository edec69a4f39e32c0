//! What a turn was billed, with the proof: the hashes that chain its rows to all before them.

use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::metering::{FORMAT, moment};
use crate::store::DbError;
use crate::store::entries::{self, Line};
use crate::store::turns::Turn;
use crate::types::{AssistantId, DocumentId, TenantId, TurnId, UserId};
use actix_web::{get, web};
use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

/// A row of the ledger. Moments are written as they are hashed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReceiptRow {
    /// False for about a second: numbers and hashes are null until then.
    sealed: bool,
    ledger_seq: Option<i64>,
    tenant_id: TenantId,
    tenant_seq: Option<i64>,
    event_id: uuid::Uuid,
    month: NaiveDate,
    /// usage, adjustment, credit or refund.
    kind: String,
    user_id: Option<UserId>,
    assistant_id: Option<AssistantId>,
    turn_id: Option<TurnId>,
    document_id: Option<DocumentId>,
    step: i16,
    meter: String,
    quantity: i64,
    /// exact or estimated.
    provenance: String,
    model: Option<String>,
    /// Null: no price, and no cost.
    price_version: Option<String>,
    cost_nano_usd: Option<i64>,
    period_start: String,
    day_start: String,
    occurred_at: String,
    /// In hexadecimal.
    hash_before: Option<String>,
    hash: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Receipt {
    turn_id: TurnId,
    /// running, complete, stopped or failed; null when the conversation was deleted.
    state: Option<String>,
    /// How rows are written to be hashed.
    format: u8,
    data: Vec<ReceiptRow>,
}

/// What a turn was billed, row by row, each with its place in the tenant's hash chain.
#[utoipa::path(get, path = "/v1/turns/{id}/receipt", tag = "usage", security(("bearer" = [])),
    params(("id" = TurnId, Path)),
    responses((status = 200, body = Receipt), (status = 404, body = Problem)))]
#[get("/v1/turns/{id}/receipt")]
pub(crate) async fn receipt(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<TurnId>,
) -> Result<web::Json<Receipt>, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let turn = Turn::find(&mut tx, ctx.tenant, *id).await.map_err(DbError::from)?;
    let lines = entries::receipt(&mut tx, ctx.tenant, *id).await.map_err(DbError::from)?;
    tx.commit().await?;
    let billed = || lines.first().and_then(|(entry, ..)| entry.user_id);
    let asker = turn.as_ref().map(|turn| turn.user_id).or_else(billed);
    let there = turn.is_some() || !lines.is_empty();
    if !there || !(asker == Some(ctx.user) || ctx.sees_tenant_usage()) {
        return Err(Problem::not_found("turn"));
    }
    Ok(web::Json(Receipt {
        turn_id: *id,
        state: turn.map(|turn| turn.state),
        format: FORMAT,
        data: lines.into_iter().map(row).collect(),
    }))
}

fn row((entry, seal, before): Line) -> ReceiptRow {
    ReceiptRow {
        sealed: seal.is_some(),
        ledger_seq: seal.as_ref().map(|seal| seal.ledger_seq),
        tenant_id: entry.tenant_id,
        tenant_seq: seal.as_ref().map(|seal| seal.tenant_seq),
        event_id: entry.event_id,
        month: entry.month,
        kind: entry.kind,
        user_id: entry.user_id,
        assistant_id: entry.assistant_id,
        turn_id: entry.turn_id,
        document_id: entry.document_id,
        step: entry.step,
        meter: entry.meter,
        quantity: entry.quantity,
        provenance: entry.provenance,
        model: entry.model,
        price_version: entry.price_version,
        cost_nano_usd: entry.cost_nano_usd,
        period_start: moment(entry.period_start),
        day_start: moment(entry.day_start),
        occurred_at: moment(entry.occurred_at),
        hash_before: before.map(|hash| hex(&hash)),
        hash: seal.map(|seal| hex(&seal.hash)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
