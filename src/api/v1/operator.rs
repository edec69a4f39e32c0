//! What the operator does to a tenant's bill and limits. Every change and its record are one
//! transaction; an `id` that was used before changes nothing.

use crate::accounts::AccountError;
use crate::api::observe;
use crate::api::operator::Operator;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::metering::{self, Correction};
use crate::store::operator::{Audit, Override, TenantChange, TopUp};
use crate::store::plans::Plan;
use crate::store::tenants::{Tenant, is_time_zone};
use crate::store::users::User;
use crate::store::{DbError, Tx};
use crate::types::{TurnId, UserId};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, patch, post, put, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CorrectionKind {
    /// So much less to pay.
    Credit,
    /// All that a turn was billed is taken back.
    Refund,
    /// More to pay, or less when negative.
    Adjustment,
}

#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct CorrectionBody {
    /// A UUIDv7 of yours: the same correction is made once.
    id: Uuid,
    kind: CorrectionKind,
    /// Of a credit (positive) or an adjustment.
    cost_nano_usd: Option<i64>,
    /// What is refunded.
    turn_id: Option<TurnId>,
    /// Whose it is; of a refund the asker's. Left out: the tenant's alone.
    user_id: Option<UserId>,
    reason: String,
}

#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct LimitBody {
    /// Left out: the tenant's.
    user_id: Option<UserId>,
    /// `day`, `month`, or `total` for `stored_bytes`.
    period: String,
    /// `requests`, `tokens`, `cost_nano_usd`, `pages` or `stored_bytes`.
    meter: String,
    /// Null: no limit.
    limit: Option<i64>,
    /// False: what is over it is admitted, said and warned of.
    #[serde(default = "yes")]
    hard: bool,
    /// True: the plan's limit holds again.
    #[serde(default)]
    clear: bool,
}

#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct TopUpBody {
    /// A UUIDv7 of yours: the same is added once.
    id: Uuid,
    user_id: Option<UserId>,
    /// day or month: the one that is open now.
    period: String,
    meter: String,
    amount: i64,
    reason: String,
}

#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct TenantBody {
    plan: Option<String>,
    time_zone: Option<String>,
}

/// What became of a change.
#[derive(Serialize, ToSchema)]
pub(crate) struct Changed {
    /// False: it had been made before.
    changed: bool,
    /// Ledger rows that were appended.
    entries: i64,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AuditView {
    id: Uuid,
    actor: String,
    action: String,
    detail: Value,
    request_id: Option<String>,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AuditList {
    data: Vec<AuditView>,
}

fn yes() -> bool {
    true
}

const PERIODS: [&str; 3] = ["day", "month", "total"];
const METERS: [&str; 5] = ["requests", "tokens", "cost_nano_usd", "pages", "stored_bytes"];

/// Whether such a limit can be.
fn check_limit(period: &str, meter: &str, user: bool) -> Result<(), Problem> {
    let level = meter == "stored_bytes";
    let documents = level || meter == "pages";
    if !PERIODS.contains(&period) || !METERS.contains(&meter) || level != (period == "total") {
        let meters = METERS.join(", ");
        return Err(Problem::invalid(format!(
            "`meter` is one of {meters}; `period` is day or month, and total of stored_bytes."
        )));
    }
    match documents && user {
        true => Err(Problem::invalid("Documents belong to the tenant: no user has such a limit.")),
        false => Ok(()),
    }
}

fn check_reason(reason: &str) -> Result<(), Problem> {
    match (1..=500).contains(&reason.trim().chars().count()) {
        true => Ok(()),
        false => {
            Err(Problem::invalid("`reason` has 1 to 500 characters: it is what others will read."))
        }
    }
}

fn check_id(id: Uuid) -> Result<(), Problem> {
    match id.get_version_num() {
        7 => Ok(()),
        _ => Err(Problem::invalid("`id` is a UUID of version 7: its time says where it belongs.")),
    }
}

/// A change of a tenant under way.
pub(super) struct Change {
    pub(super) tenant: Tenant,
    pub(super) tx: Tx,
    request_id: Option<String>,
}

impl Change {
    pub(super) async fn begin(state: &State, name: &str) -> Result<Self, Problem> {
        let tenant = state.directory.find(name).await.map_err(|error| match error {
            AccountError::NoTenant(_) => Problem::not_found("tenant"),
            error => error.into(),
        })?;
        let tx = state.db.tenant(tenant.id).await?;
        Ok(Self { tenant, tx, request_id: Some(observe::request_id()) })
    }

    async fn user(&mut self, id: Option<UserId>) -> Result<Option<UserId>, Problem> {
        let Some(id) = id else { return Ok(None) };
        let found = User::find(&mut self.tx, self.tenant.id, id).await.map_err(DbError::from)?;
        found.map(|user| Some(user.id)).ok_or_else(|| Problem::not_found("user"))
    }

    /// Notes it; false when that was done before.
    pub(super) async fn note(
        &mut self,
        id: Uuid,
        action: &str,
        detail: Value,
    ) -> Result<bool, Problem> {
        let audit = Audit {
            tenant_id: self.tenant.id,
            id,
            actor: "operator".into(),
            action: action.into(),
            detail,
            request_id: self.request_id.clone(),
        };
        Ok(audit.insert(&mut self.tx).await.map_err(DbError::from)?)
    }

    pub(super) async fn done(self, changed: bool, entries: i64) -> Result<HttpResponse, Problem> {
        self.tx.commit().await?;
        let status = if changed { StatusCode::CREATED } else { StatusCode::OK };
        Ok(HttpResponse::build(status).json(Changed { changed, entries }))
    }
}

/// Corrects a tenant's bill by new rows in the period that is open now.
#[utoipa::path(post, path = "/v1/operator/tenants/{tenant}/corrections", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    request_body = CorrectionBody,
    responses((status = 201, body = Changed), (status = 200, body = Changed),
        (status = 400, body = Problem), (status = 404, body = Problem)))]
#[post("/v1/operator/tenants/{tenant}/corrections")]
pub(crate) async fn correct(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    body: web::Json<CorrectionBody>,
) -> Result<HttpResponse, Problem> {
    check_id(body.id)?;
    check_reason(&body.reason)?;
    let correction = match (body.kind, body.cost_nano_usd, body.turn_id) {
        (CorrectionKind::Credit, Some(nano_usd @ 1..), None) => Correction::Credit { nano_usd },
        (CorrectionKind::Adjustment, Some(nano_usd), None) if nano_usd != 0 => {
            Correction::Adjustment { nano_usd }
        }
        (CorrectionKind::Refund, None, Some(turn)) => Correction::Refund { turn },
        _ => {
            return Err(Problem::invalid(
                "A credit has a positive `cost_nano_usd`, an adjustment any but 0, a refund a `turn_id` alone.",
            ));
        }
    };
    let mut change = Change::begin(&state, &tenant).await?;
    let mut user = change.user(body.user_id).await?;
    let id = change.tenant.id;
    if let Correction::Refund { turn } = correction {
        let asker = crate::store::ledger::asker(&mut change.tx, id, turn).await;
        user = Some(asker.map_err(DbError::from)?.ok_or_else(|| Problem::not_found("turn"))?);
    }
    if !change.note(body.id, "correction", json!(*body)).await? {
        return change.done(false, 0).await;
    }
    let entries = metering::correct(&mut change.tx, id, user, body.id, correction).await;
    let entries = entries.map_err(DbError::from)?;
    change.done(entries > 0, entries).await
}

/// Gives a tenant, or one of its users, a limit of their own.
#[utoipa::path(put, path = "/v1/operator/tenants/{tenant}/limits", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    request_body = LimitBody,
    responses((status = 201, body = Changed), (status = 400, body = Problem),
        (status = 404, body = Problem)))]
#[put("/v1/operator/tenants/{tenant}/limits")]
pub(crate) async fn set_limit(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    body: web::Json<LimitBody>,
) -> Result<HttpResponse, Problem> {
    check_limit(&body.period, &body.meter, body.user_id.is_some())?;
    if body.limit.is_some_and(|limit| limit < 0) {
        return Err(Problem::invalid("`limit` is 0 or more, or null for none."));
    }
    let mut change = Change::begin(&state, &tenant).await?;
    let user = change.user(body.user_id).await?;
    let row = Override {
        tenant_id: change.tenant.id,
        scope: if user.is_some() { "user" } else { "tenant" }.into(),
        scope_id: user.map_or(change.tenant.id.uuid(), UserId::uuid),
        period: body.period.clone(),
        meter: body.meter.clone(),
        max_amount: body.limit,
        hard: body.hard,
    };
    let changed = match body.clear {
        true => row.clear(&mut change.tx).await,
        false => row.set(&mut change.tx).await.map(|()| true),
    };
    let changed = changed.map_err(DbError::from)?;
    change.note(Uuid::now_v7(), "limit", json!(*body)).await?;
    change.done(changed, 0).await
}

/// Adds to a limit in the period that is open now.
#[utoipa::path(post, path = "/v1/operator/tenants/{tenant}/top-ups", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    request_body = TopUpBody,
    responses((status = 201, body = Changed), (status = 200, body = Changed),
        (status = 400, body = Problem), (status = 404, body = Problem)))]
#[post("/v1/operator/tenants/{tenant}/top-ups")]
pub(crate) async fn top_up(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    body: web::Json<TopUpBody>,
) -> Result<HttpResponse, Problem> {
    check_id(body.id)?;
    check_reason(&body.reason)?;
    check_limit(&body.period, &body.meter, body.user_id.is_some())?;
    if body.amount <= 0 || body.period == "total" {
        return Err(Problem::invalid("`amount` is more than 0, `period` day or month."));
    }
    let mut change = Change::begin(&state, &tenant).await?;
    let user = change.user(body.user_id).await?;
    if !change.note(body.id, "top-up", json!(*body)).await? {
        return change.done(false, 0).await;
    }
    let (period, meter) = (body.period.clone(), body.meter.clone());
    let top_up = TopUp { id: body.id, user, period, meter, amount: body.amount };
    top_up.add(&mut change.tx, change.tenant.id).await.map_err(DbError::from)?;
    change.done(true, 0).await
}

/// Puts a tenant on another plan or calendar: from the next turn on.
#[utoipa::path(patch, path = "/v1/operator/tenants/{tenant}", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    request_body = TenantBody,
    responses((status = 201, body = Changed), (status = 400, body = Problem),
        (status = 404, body = Problem)))]
#[patch("/v1/operator/tenants/{tenant}")]
pub(crate) async fn change_tenant(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
    body: web::Json<TenantBody>,
) -> Result<HttpResponse, Problem> {
    let mut change = Change::begin(&state, &tenant).await?;
    if let Some(plan) = &body.plan
        && !Plan::exists(&mut change.tx, plan).await.map_err(DbError::from)?
    {
        return Err(Problem::invalid("There is no such plan."));
    }
    if let Some(zone) = &body.time_zone
        && !is_time_zone(&mut change.tx, zone).await.map_err(DbError::from)?
    {
        return Err(Problem::invalid("There is no such time zone: write it as Europe/Vienna."));
    }
    if body.plan.is_none() && body.time_zone.is_none() {
        return Err(Problem::invalid("Name a `plan` or a `time_zone`."));
    }
    let (plan, time_zone) = (body.plan.clone(), body.time_zone.clone());
    let id = change.tenant.id;
    let new = TenantChange { plan, time_zone };
    new.apply(&mut change.tx, id).await.map_err(DbError::from)?;
    change.note(Uuid::now_v7(), "tenant", json!(*body)).await?;
    change.done(true, 0).await
}

/// What was done to a tenant, newest first; the last 1000.
#[utoipa::path(get, path = "/v1/operator/tenants/{tenant}/audit", tag = "operator",
    security(("bearer" = [])), params(("tenant" = String, Path, description = "slug or id")),
    responses((status = 200, body = AuditList), (status = 404, body = Problem)))]
#[get("/v1/operator/tenants/{tenant}/audit")]
pub(crate) async fn read_audit(
    state: web::Data<State>,
    _operator: Operator,
    tenant: web::Path<String>,
) -> Result<web::Json<AuditList>, Problem> {
    let mut change = Change::begin(&state, &tenant).await?;
    let found = Audit::list(&mut change.tx, change.tenant.id, 1000).await;
    let view = |(audit, created_at): (Audit, DateTime<Utc>)| AuditView {
        id: audit.id,
        actor: audit.actor,
        action: audit.action,
        detail: audit.detail,
        request_id: audit.request_id,
        created_at,
    };
    let data = found.map_err(DbError::from)?.into_iter().map(view).collect();
    Ok(web::Json(AuditList { data }))
}
