//! Every request: an id, a span, a log line, metrics, and headers that all responses have.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use std::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

tokio::task_local! {
    static REQUEST_ID: String;
}

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request this is called for; a new one outside of any.
pub(super) fn request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_else(|_| Uuid::now_v7().to_string())
}

/// Middleware around everything.
pub(crate) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let id = incoming_id(&request).unwrap_or_else(|| Uuid::now_v7().to_string());
    let method = request.method().clone();
    let started = Instant::now();
    let span = tracing::info_span!("request", request.id = %id);
    let work = REQUEST_ID.scope(id.clone(), next.call(request));
    let mut response = work.instrument(span.clone()).await?;
    // The pattern, not the path: a metric must not grow with ids, and a query may hold a secret.
    let route = response.request().match_pattern().unwrap_or_else(|| "unmatched".into());
    let status = response.status().as_u16();
    let elapsed = started.elapsed();
    metrics::counter!("docent_http_requests_total", "method" => method.to_string(),
        "route" => route.clone(), "status" => status.to_string())
    .increment(1);
    metrics::histogram!("docent_http_request_seconds", "route" => route.clone()).record(elapsed);
    let quiet = matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics" | "/static/{file:.*}");
    if !quiet || status >= 500 {
        span.in_scope(|| {
            tracing::info!(http.method = %method, http.route = route, http.status = status,
                elapsed_us = elapsed.as_micros(), "Request");
        });
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response.headers_mut().insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

/// A caller's own id, if it is harmless in a log.
fn incoming_id(request: &ServiceRequest) -> Option<String> {
    let id = request.headers().get(HEADER)?.to_str().ok()?;
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!id.is_empty() && id.len() <= 64 && id.chars().all(harmless)).then(|| id.to_owned())
}
