//! What is left: limits, what was used of them, what running turns hold.

use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::store::DbError;
use crate::store::quotas::Quota;
use crate::store::tenants::Tenant;
use actix_web::{get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// A month of the tenant's calendar.
#[derive(Serialize, ToSchema)]
pub(crate) struct PeriodView {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct QuotaView {
    /// tenant or user.
    scope: String,
    /// day, month, or total for what is a level.
    period: String,
    /// requests, tokens, cost_nano_usd, pages or stored_bytes.
    meter: String,
    /// Null: counted, not limited.
    limit: Option<i64>,
    /// False: what is over it is admitted, and said.
    hard: bool,
    used: i64,
    /// Held by turns that run.
    reserved: i64,
    /// Null for what is a level.
    resets_at: Option<DateTime<Utc>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct QuotaList {
    plan: String,
    time_zone: String,
    period: PeriodView,
    data: Vec<QuotaView>,
}

/// Limit, used and reserved of this day and month, of the user and of the tenant. A day is listed
/// where it has a limit.
#[utoipa::path(get, path = "/v1/quota", tag = "usage", security(("bearer" = [])),
    responses((status = 200, body = QuotaList)))]
#[get("/v1/quota")]
pub(crate) async fn quota(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<QuotaList>, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let rows = Quota::load(&mut tx, ctx.tenant, ctx.user).await.map_err(DbError::from)?;
    let tenant = Tenant::find(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    tx.commit().await?;
    let month = rows.iter().find(|row| row.period == "month");
    let (start, end) = month
        .and_then(|row| Some((row.period_start, row.period_end?)))
        .ok_or_else(|| Problem::from(DbError::Unavailable("no period is open".into())))?;
    let view = |row: Quota| QuotaView {
        scope: row.scope,
        period: row.period,
        meter: row.meter,
        limit: row.max_amount,
        hard: row.hard,
        used: row.used,
        reserved: row.reserved,
        resets_at: row.period_end,
    };
    let shown = |row: &Quota| row.period != "day" || row.max_amount.is_some();
    let (plan, time_zone) =
        tenant.map(|tenant| (tenant.plan, tenant.time_zone)).unwrap_or_default();
    Ok(web::Json(QuotaList {
        plan,
        time_zone,
        period: PeriodView { start, end },
        data: rows.into_iter().filter(shown).map(view).collect(),
    }))
}
