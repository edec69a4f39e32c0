//! Usage as people read it: sums of the ledger.

use crate::store::Conn;
use crate::store::ledger;
use crate::store::quotas::{self, Period};
use crate::types::{TenantId, UserId};
use chrono::NaiveDate;
use diesel::QueryResult;
use std::collections::BTreeMap;

/// Quantities by meter.
pub type Totals = BTreeMap<String, i64>;

/// What a user or a tenant used lately.
#[derive(Clone, Debug)]
pub struct Overview {
    pub period: Period,
    pub last_24h: Totals,
    pub last_7d: Totals,
    pub in_period: Totals,
    /// Days with any usage, oldest first.
    pub daily: BTreeMap<NaiveDate, Totals>,
    /// `None` when nothing in the period has a price.
    pub cost_nano_usd: Option<i64>,
}

/// Sums the ledger of a user, or of the tenant when `user` is `None`.
///
/// # Errors
/// When a query fails.
pub async fn overview(
    conn: &mut Conn,
    tenant: TenantId,
    user: Option<UserId>,
) -> QueryResult<Overview> {
    let period = quotas::current_period(conn).await?;
    let totals = ledger::totals(conn, tenant, user, period.start).await?;
    let mut overview = Overview {
        period,
        last_24h: Totals::new(),
        last_7d: Totals::new(),
        in_period: Totals::new(),
        daily: BTreeMap::new(),
        cost_nano_usd: None,
    };
    for total in totals {
        let add = |sums: &mut Totals, quantity| {
            *sums.entry(total.meter.clone()).or_default() += quantity;
        };
        add(&mut overview.last_24h, total.quantity_last_24h);
        add(&mut overview.last_7d, total.quantity_last_7d);
        add(overview.daily.entry(total.day).or_default(), total.quantity);
        if total.in_period {
            add(&mut overview.in_period, total.quantity);
            if let Some(cost) = total.cost_nano_usd {
                *overview.cost_nano_usd.get_or_insert(0) += cost;
            }
        }
    }
    Ok(overview)
}
