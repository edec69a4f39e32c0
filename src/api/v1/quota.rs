//! What is left: limits, what was used of them, what running turns hold.

use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::Accepted;
use crate::store::quotas::Quota;
use crate::store::reservations::Limit;
use crate::store::tenants::Tenant;
use crate::store::{Conn, DbError};
use crate::types::Ctx;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpResponseBuilder, get, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::cmp::Reverse;
use std::time::Duration;
use utoipa::ToSchema;

/// Where one stands is said with the answer, as a list of structured fields (RFC 9651).
const HEADER: HeaderName = HeaderName::from_static("docent-quota");
/// The largest integer of a structured field.
const MOST: i64 = 999_999_999_999_999;
/// An answer does not wait longer for its header: it goes without.
const PATIENCE: Duration = Duration::from_secs(1);

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
    /// `requests`, `tokens`, `cost_nano_usd`, `pages` or `stored_bytes`.
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
    let rows = Quota::load(&tx, ctx.tenant, ctx.user).await.map_err(DbError::from)?;
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

/// Where one stands with a turn. Its reservation said so; of a repeat, which reserved nothing, the database is asked, and
/// nothing is said when it does not answer at once.
pub(in crate::api) async fn standing(state: &State, ctx: Ctx, accepted: &Accepted) -> Vec<Limit> {
    if let Some(standing) = &accepted.standing {
        return standing.clone();
    }
    let load = async {
        let first = async |conn: &Conn| Quota::load(conn, ctx.tenant, ctx.user).await;
        let (_tx, quotas) = state.db.tenant_with(ctx.tenant, first).await?;
        Ok(limits(quotas?)) // it read: nothing to commit
    };
    DbError::after(PATIENCE, load).await.unwrap_or_default()
}

/// What is limited.
pub(super) fn limits(quotas: Vec<Quota>) -> Vec<Limit> {
    quotas.into_iter().filter_map(Quota::limit).collect()
}

/// Adds `Docent-Quota`: the limits that a question counts against, the user's first, the tightest first.
pub(in crate::api) fn header(response: &mut HttpResponseBuilder, limits: &[Limit]) {
    let text = field(limits, Utc::now());
    if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_str(&text)) {
        response.insert_header((HEADER, value));
    }
}

fn field(limits: &[Limit], now: DateTime<Utc>) -> String {
    let asking = |meter: &str| matches!(meter, "requests" | "tokens" | "cost_nano_usd");
    let mut limited: Vec<_> = limits.iter().filter(|limit| asking(&limit.meter)).collect();
    limited.sort_by_key(|limit| {
        let taken = i128::from(limit.used) + i128::from(limit.reserved);
        let share = (taken * 1_000_000).checked_div(i128::from(limit.max_amount));
        (limit.scope == "tenant", Reverse(share.unwrap_or(i128::MAX)))
    });
    let item = |of: &Limit| {
        let Limit { scope, period, meter, .. } = of;
        let [limit, used, held] =
            [of.max_amount, of.used, of.reserved].map(|n| n.clamp(-MOST, MOST));
        let reset = of.resets_at.map_or(0, |end| (end - now).num_seconds().max(0));
        format!(
            "{scope};period={period};meter={meter};limit={limit};used={used};reserved={held};reset={reset}"
        )
    };
    limited.into_iter().map(item).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_of_each_scope_comes_first() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let row = |scope: &str, meter: &str, max_amount, used| Limit {
            scope: scope.into(),
            period: "day".into(),
            meter: meter.into(),
            max_amount,
            used,
            reserved: 1,
            resets_at: Some(now + Duration::from_secs(90)),
        };
        let rows = [
            row("user", "requests", 10, 1),
            row("user", "cost_nano_usd", i64::MAX, i64::MAX),
            row("tenant", "requests", 0, 0),
            row("tenant", "pages", 1, 1),
        ];
        assert_eq!(
            field(&rows, now),
            "user;period=day;meter=cost_nano_usd;limit=999999999999999;used=999999999999999;reserved=1;reset=90, \
             user;period=day;meter=requests;limit=10;used=1;reserved=1;reset=90, \
             tenant;period=day;meter=requests;limit=0;used=0;reserved=1;reset=90"
        );
        assert_eq!(field(&[], now), "");
    }
}
