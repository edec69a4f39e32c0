//! What was used, and what is left.

use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::metering;
use crate::store::DbError;
use crate::store::quotas::{self, Quota};
use crate::store::tenants::Tenant;
use crate::types::UserId;
use actix_web::{get, web};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A calendar month in UTC.
#[derive(Serialize, ToSchema)]
pub(crate) struct PeriodView {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct QuotaView {
    /// tenant or user.
    scope: String,
    meter: String,
    /// Null: counted, not limited.
    limit: Option<i64>,
    used: i64,
    /// Held by turns that run.
    reserved: i64,
    resets_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct QuotaList {
    plan: String,
    period: PeriodView,
    data: Vec<QuotaView>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// `user` or `tenant`; default is the most the role may see.
    scope: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct PeriodTotals {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    totals: BTreeMap<String, i64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct DayTotals {
    /// In UTC.
    day: NaiveDate,
    totals: BTreeMap<String, i64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct UsageView {
    scope: &'static str,
    last_24h: BTreeMap<String, i64>,
    last_7d: BTreeMap<String, i64>,
    period: PeriodTotals,
    daily: Vec<DayTotals>,
    /// Of the period, in billionths of a US dollar; null when nothing in it has a price.
    cost_nano_usd: Option<i64>,
}

/// Limit, used and reserved of this month, of the tenant and of the user.
#[utoipa::path(get, path = "/v1/quota", tag = "usage", security(("bearer" = [])),
    responses((status = 200, body = QuotaList)))]
#[get("/v1/quota")]
pub(crate) async fn quota(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<QuotaList>, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let period = quotas::current_period(&mut tx).await.map_err(DbError::from)?;
    let rows = metering::read_period(&mut tx, ctx.tenant, ctx.user, period).await;
    let rows = rows.map_err(DbError::from)?;
    let tenant = Tenant::find(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    tx.commit().await?;
    let view = |row: Quota| QuotaView {
        scope: row.scope,
        meter: row.meter,
        limit: row.max_amount,
        used: row.used,
        reserved: row.reserved,
        resets_at: row.period_end,
    };
    Ok(web::Json(QuotaList {
        plan: tenant.map(|tenant| tenant.plan).unwrap_or_default(),
        period: PeriodView { start: period.start, end: period.end },
        data: rows.into_iter().map(view).collect(),
    }))
}

/// Sums per meter: the last 24 hours, the last 7 days, this month, and by day.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", security(("bearer" = [])), params(UsageQuery),
    responses((status = 200, body = UsageView), (status = 403, body = Problem)))]
#[get("/v1/usage")]
pub(crate) async fn usage(
    state: web::Data<State>,
    Principal(ctx): Principal,
    query: web::Query<UsageQuery>,
) -> Result<web::Json<UsageView>, Problem> {
    let whole = ctx.role.sees_tenant_usage();
    let (scope, user): (_, Option<UserId>) = match query.scope.as_deref() {
        Some("tenant") if !whole => {
            let detail = "Members see their own usage: leave `scope` out.";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        Some("tenant") => ("tenant", None),
        Some("user") => ("user", Some(ctx.user)),
        None if whole => ("tenant", None),
        None => ("user", Some(ctx.user)),
        Some(_) => return Err(Problem::invalid("`scope` is `user` or `tenant`.")),
    };
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found = metering::overview(&mut tx, ctx.tenant, user).await.map_err(DbError::from)?;
    tx.commit().await?;
    let (start, end) = (found.period.start, found.period.end);
    let daily = found.daily.into_iter().map(|(day, totals)| DayTotals { day, totals }).collect();
    Ok(web::Json(UsageView {
        scope,
        last_24h: found.last_24h,
        last_7d: found.last_7d,
        period: PeriodTotals { start, end, totals: found.in_period },
        daily,
        cost_nano_usd: found.cost_nano_usd,
    }))
}
