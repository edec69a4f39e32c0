//! Admission: may this turn be afforded, and how long may its answer be.

use super::bill::Prices;
use crate::store::Conn;
use crate::store::reservations::{self, Extension, Granted, Limit, Request};
use crate::types::{AssistantId, Ctx, NodeId, TenantId, TurnId};
use chrono::{DateTime, Utc};
use std::time::Duration;
use thiserror::Error;

/// What a turn wants.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whose it is in the sums by assistant.
    pub assistant: Option<AssistantId>,
    /// Any of these may answer.
    pub models: &'a [String],
    pub embedding_model: &'a str,
    /// The most input tokens its prompt can have.
    pub input: i64,
    /// The longest answer it would like.
    pub output: i64,
    /// The shortest answer worth having: with less left the turn is refused.
    pub least_output: i64,
    /// Tokens that are embedded for it.
    pub embedding: i64,
}

/// What a turn may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The longest answer: what was asked, or what is left.
    pub output: i64,
    /// Admitted over a soft limit.
    pub over_quota: bool,
    /// The most it can cost; `None`: one of the models is unpriced.
    pub cost_nano_usd: Option<i64>,
    pub prices: Prices,
    /// The limits that a turn counts against, where they stand with it. Nothing of one more step.
    pub standing: Vec<Limit>,
}

/// A refusal: the limit that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    pub scope: String,
    /// day, month, or total of a level.
    pub period: String,
    pub meter: String,
    pub limit: i64,
    pub used: i64,
    pub reserved: i64,
    /// `None` of a level: it falls when something is deleted.
    pub resets_at: Option<DateTime<Utc>>,
}

/// Why nothing was reserved.
#[derive(Debug, Error)]
pub enum ReserveError {
    #[error("a quota is used up")]
    Exceeded(QuotaExceeded),
    /// Cost has a hard limit, and nobody knows what this would cost.
    #[error("the model has no price")]
    Unpriced,
    #[error("a database query failed")]
    Query(#[from] diesel::result::Error),
}

impl From<Limit> for ReserveError {
    fn from(limit: Limit) -> Self {
        if limit.meter == "unpriced" {
            return Self::Unpriced;
        }
        Self::Exceeded(limit.into())
    }
}

impl From<Limit> for QuotaExceeded {
    fn from(limit: Limit) -> Self {
        Self {
            scope: limit.scope,
            period: limit.period,
            meter: limit.meter,
            limit: limit.max_amount,
            used: limit.used,
            reserved: limit.reserved,
            resets_at: limit.resets_at,
        }
    }
}

impl From<Granted> for Grant {
    fn from(granted: Granted) -> Self {
        Self {
            output: granted.output,
            over_quota: granted.over_quota,
            cost_nano_usd: granted.cost,
            prices: Prices { chat: granted.quoted, embedding: granted.embedding_price },
            standing: granted.standing,
        }
    }
}

/// How long a turn may hold what it reserved: longer than any turn lasts.
const LASTS: Duration = Duration::from_secs(15 * 60);

/// Reserves for a turn, of the tenant's quotas and of the user's, all or nothing. The rows stay locked
/// until the transaction ends: do it last.
///
/// # Errors
/// `Exceeded` names the first limit that would be broken.
pub async fn reserve(
    conn: &Conn,
    ctx: Ctx,
    turn: TurnId,
    owner: NodeId,
    ask: Ask<'_>,
) -> Result<Grant, ReserveError> {
    let granted = reservations::reserve(conn, &request(ctx, turn, owner, ask), true).await?;
    Ok(granted?.into())
}

/// What [`reserve`] would say now, at the price of now. Roll the transaction back.
///
/// # Errors
/// As [`reserve`].
pub async fn quote(conn: &Conn, ctx: Ctx, ask: Ask<'_>) -> Result<Grant, ReserveError> {
    let nobody = request(ctx, TurnId::new(), NodeId::new(), ask);
    let granted = reservations::reserve(conn, &nobody, false).await?;
    Ok(granted?.into())
}

/// Reserves for one more step of a turn, in the periods in which the turn began.
///
/// # Errors
/// As [`reserve`]; a turn that is closed has nothing left.
pub async fn extend(
    conn: &mut Conn,
    tenant: TenantId,
    turn: TurnId,
    ask: Ask<'_>,
) -> Result<Grant, ReserveError> {
    let Ask { models, input, output, least_output, embedding, .. } = ask;
    let step = Extension { tenant, turn, models, input, output, least_output, embedding };
    let granted = reservations::extend(conn, step).await?;
    Ok(granted.ok_or(diesel::result::Error::NotFound)??.into())
}

fn request(ctx: Ctx, turn: TurnId, owner: NodeId, ask: Ask<'_>) -> Request<'_> {
    Request {
        tenant: ctx.tenant,
        user: ctx.user,
        assistant: ask.assistant,
        turn,
        owner,
        lasts: LASTS.as_secs_f64(),
        models: ask.models,
        embedding_model: ask.embedding_model,
        input: ask.input,
        output: ask.output,
        least_output: ask.least_output,
        embedding: ask.embedding,
    }
}
