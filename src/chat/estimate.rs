//! What a turn would cost, read in the way in which it would be opened and rolled back.

use super::accepted::Refused;
use super::open::{Order, ask, begin, earlier};
use super::service::ChatParts;
use crate::metering::{self, QuotaExceeded, ReserveError, Typical};
use crate::store::prices::Price;

/// What a turn would cost now.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The one that is asked first; what is reserved is enough for the dearest of the route.
    pub model: String,
    /// `None`: the model is unpriced.
    pub price_version: Option<String>,
    /// The most input tokens.
    pub input: i64,
    /// The longest answer that would be granted; 0 when it would be refused.
    pub output: i64,
    /// In nano-dollars, at most. `None`: unpriced, or refused.
    pub cost: Option<i64>,
    /// What this user's turns with the model were like lately; `None`: there was none.
    pub typical: Option<Typical>,
    pub verdict: Verdict,
}

/// Whether it would be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Taken {
        /// A soft limit would be passed.
        over_quota: bool,
    },
    Exceeded(QuotaExceeded),
    /// Costs are limited, and the model has no price.
    Unpriced,
}

pub(super) async fn estimate(parts: &ChatParts, order: &Order) -> Result<Estimate, Refused> {
    let ctx = order.ctx;
    let (mut tx, mut opened, stored) = begin(parts, order).await?;
    opened.recall(&earlier(&tx, order, stored.as_ref()).await?);
    let models = opened.models(0);
    let ask = ask(&opened, &models);
    let model = models.first().cloned().unwrap_or_default();
    let price = Price::of(&mut tx, ctx.tenant, &model).await?;
    let typical = metering::typical(&mut tx, ctx, &model).await?;
    // Last: it locks counters, until the transaction is dropped here.
    let (output, cost, verdict) = match metering::quote(&tx, ctx, ask).await {
        Ok(grant) => {
            let over_quota = grant.over_quota;
            (grant.output, grant.cost_nano_usd, Verdict::Taken { over_quota })
        }
        Err(ReserveError::Exceeded(exceeded)) => (0, None, Verdict::Exceeded(exceeded)),
        Err(ReserveError::Unpriced) => (0, None, Verdict::Unpriced),
        Err(ReserveError::Query(error)) => return Err(error.into()),
    };
    let price_version = price.map(|price| price.version);
    let input = ask.input;
    Ok(Estimate { model, price_version, input, output, cost, typical, verdict })
}
