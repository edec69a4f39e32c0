//! Admission: may this turn be afforded, and how long may its answer be.

use super::period::lock_period;
use crate::store::Conn;
use crate::store::quotas::{self, Quota};
use crate::store::reservations::{self, Reservation};
use crate::types::{Ctx, Meter, TurnId};
use chrono::{DateTime, Utc};
use thiserror::Error;

/// What a turn wants.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The most input tokens its prompt can have.
    pub input: i64,
    /// The longest answer it would like.
    pub output: i64,
    /// The shortest answer worth having: with less left the turn is refused.
    pub least_output: i64,
}

/// What a turn may use.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// The longest answer: what was asked, or what is left.
    pub output: i64,
}

/// A refusal: the limit that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    pub scope: String,
    pub meter: String,
    pub limit: i64,
    pub used: i64,
    pub reserved: i64,
    pub resets_at: DateTime<Utc>,
}

/// Why nothing was reserved.
#[derive(Debug, Error)]
pub enum ReserveError {
    #[error("a quota is used up")]
    Exceeded(QuotaExceeded),
    #[error("a database query failed")]
    Query(#[from] diesel::result::Error),
}

impl QuotaExceeded {
    pub(super) fn of(row: &Quota) -> Self {
        Self {
            scope: row.scope.clone(),
            meter: row.meter.clone(),
            limit: row.max_amount.unwrap_or(i64::MAX),
            used: row.used,
            reserved: row.reserved,
            resets_at: row.period_end,
        }
    }
}

/// Reserves for a turn, of the tenant's quota and of the user's, all or nothing. The rows stay locked
/// until the transaction ends: do it last.
///
/// # Errors
/// `Exceeded` names the first limit that would be broken.
pub async fn reserve(
    conn: &mut Conn,
    ctx: Ctx,
    turn: TurnId,
    ask: Ask,
) -> Result<Grant, ReserveError> {
    let period = quotas::current_period(conn).await?;
    let rows = lock_period(conn, ctx.tenant, ctx.user, period).await?;
    let mut output = ask.output;
    for row in &rows {
        let needed = match row.meter.parse() {
            Ok(Meter::Requests) => 1,
            Ok(Meter::InputTokens) => ask.input,
            Ok(Meter::OutputTokens) => ask.least_output.min(ask.output),
            _ => continue,
        };
        if let Some(left) = row.left() {
            if left < needed {
                return Err(ReserveError::Exceeded(QuotaExceeded::of(row)));
            }
            if row.meter == Meter::OutputTokens.as_str() {
                output = output.min(left);
            }
        }
    }
    let amounts =
        [(Meter::Requests, 1), (Meter::InputTokens, ask.input), (Meter::OutputTokens, output)];
    let changes = amounts.map(|(meter, amount)| (meter.as_str(), 0, amount));
    quotas::shift(conn, ctx.tenant, ctx.user, period.start, &changes).await?;
    let rows = amounts.map(|(meter, amount)| Reservation {
        tenant_id: ctx.tenant,
        turn_id: turn,
        meter: meter.as_str().into(),
        user_id: ctx.user,
        period_start: period.start,
        amount,
    });
    reservations::insert(conn, &rows).await?;
    Ok(Grant { output })
}
