//! For billing systems over HTTP: the ledger from a point on, and the months.

use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::store::DbError;
use crate::store::billing::{self, LedgerRow, PeriodRow};
use crate::types::Ctx;
use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

const MOST: i64 = 10_000;
const NEXT: HeaderName = HeaderName::from_static("docent-next-after");
const COMPLETE: HeaderName = HeaderName::from_static("docent-complete-through");

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LedgerQuery {
    /// `tenant_seq` of the last row that was read; 0, the default, begins.
    after: Option<i64>,
    /// 1 to 10000, default 1000.
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct PeriodList {
    data: Vec<PeriodRow>,
    /// Everything that occurred until then is in the ledger; null before anything was numbered.
    complete_through: Option<DateTime<Utc>>,
}

fn may_read(ctx: Ctx) -> Result<(), Problem> {
    match ctx.sees_tenant_usage() {
        true => Ok(()),
        false => Err(Problem::new(Code::Forbidden, "Members do not read the tenant's bill.")),
    }
}

/// The ledger after a row, one JSON object a line, in the order of `tenant_seq`. `docent-next-after` says
/// where to read on, `docent-complete-through` until when nothing is missing.
#[utoipa::path(get, path = "/v1/billing/ledger", tag = "billing", security(("bearer" = [])),
    params(LedgerQuery),
    responses((status = 200, body = LedgerRow, content_type = "application/x-ndjson"),
        (status = 403, body = Problem)))]
#[get("/v1/billing/ledger")]
pub(crate) async fn ledger(
    state: web::Data<State>,
    Principal(ctx): Principal,
    query: web::Query<LedgerQuery>,
) -> Result<HttpResponse, Problem> {
    may_read(ctx)?;
    let (after, limit) = (query.after.unwrap_or(0), query.limit.unwrap_or(1000));
    if after < 0 || !(1..=MOST).contains(&limit) {
        return Err(Problem::invalid(format!("`after` is 0 or more, `limit` 1 to {MOST}.")));
    }
    let mut tx = state.db.tenant(ctx.tenant).await?;
    // Before the rows: what is complete until then is in them, or in what comes after them.
    let complete = billing::complete_through(&mut tx).await.map_err(DbError::from)?;
    let rows = billing::ledger_after(&mut tx, ctx.tenant, after, limit).await;
    let rows = rows.map_err(DbError::from)?;
    tx.commit().await?;
    let mut lines = String::new();
    for row in &rows {
        lines.push_str(&serde_json::to_string(row).unwrap_or_default());
        lines.push('\n');
    }
    let next = rows.last().map_or(after, |row| row.tenant_seq);
    let mut response = HttpResponse::Ok();
    response.content_type("application/x-ndjson");
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((NEXT, next));
    if let Some(complete) = complete {
        let complete = complete.to_rfc3339_opts(SecondsFormat::Micros, true);
        response.insert_header((COMPLETE, complete));
    }
    Ok(response.body(lines))
}

/// The months of the tenant's calendar in which anything happened, newest first.
#[utoipa::path(get, path = "/v1/billing/periods", tag = "billing", security(("bearer" = [])),
    responses((status = 200, body = PeriodList), (status = 403, body = Problem)))]
#[get("/v1/billing/periods")]
pub(crate) async fn periods(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<PeriodList>, Problem> {
    may_read(ctx)?;
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let data = billing::periods(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    let complete_through = billing::complete_through(&mut tx).await.map_err(DbError::from)?;
    tx.commit().await?;
    Ok(web::Json(PeriodList { data, complete_through }))
}
