//! What was used: by day, and told apart by assistant, model or user.

use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::metering::{self, Group, Overview, Slice};
use crate::store::DbError;
use crate::types::{Ctx, UserId};
use actix_web::{get, web};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// The longest time that is shown.
const MOST_DAYS: u32 = 400;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// `user` or `tenant`; default is the most the role may see.
    pub(crate) scope: Option<String>,
    /// `assistant`, `model` or, of a tenant, `user`: `daily` is told apart by it.
    pub(crate) group: Option<String>,
    /// So many days of `daily`, 7 to 400; default 30.
    pub(crate) days: Option<u32>,
}

/// A sum of usage.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageSum {
    pub(super) totals: BTreeMap<String, i64>,
    /// Billionths of a US dollar, of what has a price.
    pub(super) cost_nano_usd: i64,
    /// Tokens whose model has no price: they are not part of the cost.
    pub(super) unpriced_tokens: i64,
}

impl From<Slice> for UsageSum {
    fn from(slice: Slice) -> Self {
        Self {
            totals: slice.totals,
            cost_nano_usd: slice.cost_nano_usd,
            unpriced_tokens: slice.unpriced,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct PeriodUsage {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    #[serde(flatten)]
    sum: UsageSum,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct DayUsage {
    /// Of the tenant's calendar.
    pub(super) day: NaiveDate,
    /// The assistant's or user's id, or the model; null without `group`, and for what belongs to none.
    pub(super) key: Option<String>,
    /// What it is called: an assistant's name, a user's e-mail address.
    pub(super) name: Option<String>,
    #[serde(flatten)]
    pub(super) sum: UsageSum,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct UsageView {
    scope: &'static str,
    today: UsageSum,
    last_7d: UsageSum,
    period: PeriodUsage,
    /// Days with any usage, oldest first.
    daily: Vec<DayUsage>,
}

/// Whose usage is asked for, if it may be: the word, and the user when it is one's own.
pub(crate) fn scope(
    ctx: Ctx,
    wanted: Option<&str>,
) -> Result<(&'static str, Option<UserId>), Problem> {
    let whole = ctx.sees_tenant_usage();
    match wanted {
        Some("tenant") if !whole => {
            let detail = "Members see their own usage: leave `scope` out.";
            Err(Problem::new(Code::Forbidden, detail))
        }
        Some("tenant") => Ok(("tenant", None)),
        Some("user") => Ok(("user", Some(ctx.user))),
        None if whole => Ok(("tenant", None)),
        None => Ok(("user", Some(ctx.user))),
        Some(_) => Err(Problem::invalid("`scope` is `user` or `tenant`.")),
    }
}

impl UsageQuery {
    pub(crate) fn group(&self, user: Option<UserId>) -> Result<Option<Group>, Problem> {
        match (self.group.as_deref(), user) {
            (None, _) => Ok(None),
            (Some("assistant"), _) => Ok(Some(Group::Assistant)),
            (Some("model"), _) => Ok(Some(Group::Model)),
            (Some("user"), None) => Ok(Some(Group::User)),
            _ => Err(Problem::invalid(
                "`group` is `assistant`, `model` or, with the scope `tenant`, `user`.",
            )),
        }
    }

    pub(crate) fn days(&self) -> Result<u32, Problem> {
        match self.days {
            None => Ok(30),
            Some(days @ 7..=MOST_DAYS) => Ok(days),
            Some(_) => Err(Problem::invalid(format!("`days` is 7 to {MOST_DAYS}."))),
        }
    }
}

/// What is asked for, if it may be: the word for whose it is, and the sums.
pub(super) async fn load(
    state: &State,
    ctx: Ctx,
    query: &UsageQuery,
) -> Result<(&'static str, Overview), Problem> {
    let (scope, user) = scope(ctx, query.scope.as_deref())?;
    let (group, days) = (query.group(user)?, query.days()?);
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found = metering::overview(&mut tx, ctx.tenant, user, group, days).await;
    let found = found.map_err(DbError::from)?;
    tx.commit().await?;
    Ok((scope, found))
}

/// One line for each day and what it is told apart by.
pub(super) fn daily(found: &Overview) -> Vec<DayUsage> {
    let of_day = |(day, slices): (&NaiveDate, &BTreeMap<Option<String>, Slice>)| {
        let line = |(key, slice): (&Option<String>, &Slice)| DayUsage {
            day: *day,
            key: key.clone(),
            name: key.as_ref().and_then(|key| found.names.get(key)).cloned(),
            sum: slice.clone().into(),
        };
        slices.iter().map(line).collect::<Vec<_>>()
    };
    found.daily.iter().flat_map(of_day).collect()
}

/// Sums per meter: today, the last 7 days, this month, and by day.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", security(("bearer" = [])), params(UsageQuery),
    responses((status = 200, body = UsageView), (status = 403, body = Problem)))]
#[get("/v1/usage")]
pub(crate) async fn usage(
    state: web::Data<State>,
    Principal(ctx): Principal,
    query: web::Query<UsageQuery>,
) -> Result<web::Json<UsageView>, Problem> {
    let (scope, found) = load(&state, ctx, &query).await?;
    let daily = daily(&found);
    let period = PeriodUsage { start: found.start, end: found.end, sum: found.in_period.into() };
    let (today, last_7d) = (found.today.into(), found.last_7d.into());
    Ok(web::Json(UsageView { scope, today, last_7d, period, daily }))
}
