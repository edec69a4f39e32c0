//! What a question would cost, before it is asked.

use super::chat::AskBody;
use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::{Estimate, Refused, Verdict};
use actix_web::{post, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A quantity that is not known yet.
#[derive(Serialize, ToSchema)]
pub(crate) struct Range {
    /// Null where it has no price, or is not granted.
    most: Option<i64>,
    /// On average of the user's turns with this model in 30 days; null before the first.
    typical: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EstimateView {
    model: String,
    /// Null: the model has no price.
    price_version: Option<String>,
    input_tokens: Range,
    /// `most` is shorter than usual when little is left of a limit, and 0 when nothing is.
    output_tokens: Range,
    cost_nano_usd: Range,
    /// Whether quotas would let it pass.
    allowed: bool,
    /// The limit that refuses it, as in the problem `quota_exceeded`. Null, and not allowed: costs are
    /// limited and the model has no price.
    #[schema(value_type = Option<Object>)]
    quota: Option<Value>,
    /// It would be admitted over a soft limit.
    over_quota: bool,
}

impl From<Estimate> for EstimateView {
    fn from(found: Estimate) -> Self {
        let Estimate { model, price_version, input, output, cost, typical, verdict } = found;
        let (allowed, quota, over_quota) = match verdict {
            Verdict::Taken { over_quota } => (true, None, over_quota),
            Verdict::Exceeded(exceeded) => {
                let mut problem = Problem::from(Refused::QuotaExceeded(exceeded));
                (false, problem.more.remove("quota"), false)
            }
            Verdict::Unpriced => (false, None, false),
        };
        Self {
            model,
            price_version,
            input_tokens: Range { most: Some(input), typical: typical.map(|one| one.input) },
            output_tokens: Range { most: Some(output), typical: typical.map(|one| one.output) },
            cost_nano_usd: Range { most: cost, typical: typical.and_then(|one| one.cost_nano_usd) },
            allowed,
            quota,
            over_quota,
        }
    }
}

/// What asking this would cost, and whether the quotas would let it pass. Nothing is asked, held,
/// counted or written.
#[utoipa::path(post, path = "/v1/chat/estimate", tag = "chat", security(("bearer" = [])),
    request_body = AskBody,
    responses((status = 200, body = EstimateView), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
#[post("/v1/chat/estimate")]
pub(crate) async fn estimate(
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(body): Body<AskBody>,
) -> Result<web::Json<EstimateView>, Problem> {
    Ok(web::Json(state.chat.estimate(ctx, body.asked(None)?).await?.into()))
}
