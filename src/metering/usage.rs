//! Usage as people read it: sums by day, from the summary that the sealer keeps and the few rows that it
//! has not taken yet.

use crate::store::Conn;
use crate::store::usage::{self, Row};
use crate::types::{Ctx, Meter, TenantId, UserId};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryResult;
use std::collections::{BTreeMap, BTreeSet};

/// Quantities by meter.
pub type Totals = BTreeMap<String, i64>;

/// By what a period's usage is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Assistant,
    Model,
    User,
}

/// Usage of one day, or of one assistant, model or user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub totals: Totals,
    /// Of what has a price.
    pub cost_nano_usd: i64,
    /// Tokens that have none.
    pub unpriced: i64,
}

impl Slice {
    fn add(&mut self, row: &Row) {
        *self.totals.entry(row.meter.clone()).or_default() += row.quantity;
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(row.cost_nano_usd);
        if row.meter.ends_with("tokens") {
            self.unpriced += row.unpriced;
        }
    }
}

/// What a user or a tenant used lately.
#[derive(Clone, Debug)]
pub struct Overview {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub today: Slice,
    pub last_7d: Slice,
    pub in_period: Slice,
    /// Days with any usage, oldest first, each told apart by the group: the id or the model's name,
    /// `None` for what belongs to none.
    pub daily: BTreeMap<NaiveDate, BTreeMap<Option<String>, Slice>>,
    /// Names of what `daily` is told apart by, where there are some.
    pub names: BTreeMap<String, String>,
}

/// Sums of a user, or of the tenant when `user` is `None`, of the last `days` days and at least of
/// the month. Days are the tenant's.
///
/// # Errors
/// When a query fails.
pub async fn overview(
    conn: &mut Conn,
    tenant: TenantId,
    user: Option<UserId>,
    group: Option<Group>,
    days: u32,
) -> QueryResult<Overview> {
    let calendar = usage::calendar(conn, tenant).await?;
    let since = calendar.today - chrono::Days::new(u64::from(days.max(7)).saturating_sub(1));
    let since_either = since.min(calendar.month);
    let column = match group {
        None => "NULL",
        Some(Group::Assistant) => "assistant_id::text",
        Some(Group::Model) => "model",
        Some(Group::User) => "user_id::text",
    };
    let rows = usage::rows(conn, tenant, user, since_either, column).await?;
    let ids: BTreeSet<_> = rows.iter().filter_map(|row| row.key.as_deref()?.parse().ok()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let mut overview = Overview {
        start: calendar.month_start,
        end: calendar.month_end,
        today: Slice::default(),
        last_7d: Slice::default(),
        in_period: Slice::default(),
        daily: BTreeMap::new(),
        names: usage::names(conn, tenant, &ids).await?,
    };
    let week = calendar.today - chrono::Days::new(6);
    for row in &rows {
        if row.day == calendar.today {
            overview.today.add(row);
        }
        if row.day >= week {
            overview.last_7d.add(row);
        }
        if row.day >= calendar.month {
            overview.in_period.add(row);
        }
        if row.day >= since {
            let day = overview.daily.entry(row.day).or_default();
            day.entry(row.key.clone()).or_default().add(row);
        }
    }
    Ok(overview)
}

/// What a turn is like on average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typical {
    /// Everything the model read.
    pub input: i64,
    /// Everything it wrote.
    pub output: i64,
    /// `None`: some of it has no price.
    pub cost_nano_usd: Option<i64>,
}

/// What the user's turns with this model were like in the last 30 days; `None`: there was none.
///
/// # Errors
/// When a query fails.
pub async fn typical(conn: &mut Conn, ctx: Ctx, model: &str) -> QueryResult<Option<Typical>> {
    let since = usage::calendar(conn, ctx.tenant).await?.today - chrono::Days::new(29);
    let rows = usage::rows(conn, ctx.tenant, Some(ctx.user), since, "model").await?;
    let mut sum = Slice::default();
    rows.iter().filter(|row| row.key.as_deref() == Some(model)).for_each(|row| sum.add(row));
    let of = |meters: &[Meter]| -> i64 {
        meters.iter().filter_map(|meter| sum.totals.get(meter.as_str())).sum()
    };
    let turns = of(&[Meter::Requests]);
    if turns <= 0 {
        return Ok(None);
    }
    Ok(Some(Typical {
        input: of(&[Meter::InputTokens, Meter::CachedInputTokens]) / turns,
        output: of(&[Meter::OutputTokens, Meter::ReasoningTokens]) / turns,
        cost_nano_usd: (sum.unpriced == 0).then_some(sum.cost_nano_usd / turns),
    }))
}
