//! What is left of the rate limits, on every answer to somebody who is known: `RateLimit` and
//! `RateLimit-Policy` as draft-ietf-httpapi-ratelimit-headers-10 writes them.

use super::openai::limits;
use super::state::State;
use crate::limiter::{Headroom, PlanLimits};
use crate::store::DbError;
use crate::types::{Ctx, TenantId};
use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web;
use std::time::Duration;

/// How long an answer waits for the database to say what is only good to know.
const PATIENCE: Duration = Duration::from_secs(1);

/// Middleware around all routes. To be told costs nothing: only questions are charged.
pub(crate) async fn tell_rates(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let state = request.app_data::<web::Data<State>>().cloned();
    let mut response = next.call(request).await?;
    let caller = response.request().extensions().get::<Ctx>().copied();
    let (Some(state), Some(ctx)) = (state, caller) else { return Ok(response) };
    let failed = response.status().is_server_error();
    if let Some(limits) = limits_of(&state, ctx.tenant, failed).await {
        let left = state.limiter.headroom(ctx, limits).await;
        insert(response.headers_mut(), "ratelimit-policy", left.iter().map(policy));
        insert(response.headers_mut(), "ratelimit", left.iter().map(service_limit));
        if limits::has_them(&response.request().match_pattern().unwrap_or_default()) {
            limits::tell(response.headers_mut(), &left);
        }
    }
    Ok(response)
}

/// The plan as it is remembered, however old: numbers that changed minutes ago are not worth a query
/// with every request. Without any, a client that has just come could not plan its first questions, so
/// the first to come pays for all of the tenant who follow. Not after a failure: what kept the answer
/// waiting would do so again.
async fn limits_of(state: &State, tenant: TenantId, failed: bool) -> Option<PlanLimits> {
    match state.plans.remembered(tenant) {
        None if !failed => {
            DbError::after(PATIENCE, state.plans.limits_of(tenant)).await.ok() // or next time
        }
        remembered => remembered,
    }
}

/// A structured list.
fn insert(headers: &mut HeaderMap, name: &'static str, items: impl Iterator<Item = String>) {
    if let Ok(value) = HeaderValue::from_str(&items.collect::<Vec<_>>().join(", ")) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn policy(left: &Headroom) -> String {
    // The draft counts in requests unless it is told otherwise, and has no word for tokens.
    let unit = if left.policy.ends_with("-tokens") { ";docent-unit=tokens" } else { "" };
    format!("\"{}\";q={};w=60{unit}", left.policy, left.limit)
}

fn service_limit(left: &Headroom) -> String {
    let t = left.next.as_nanos().div_ceil(1_000_000_000);
    format!("\"{}\";r={};t={t}", left.policy, left.remaining)
}
