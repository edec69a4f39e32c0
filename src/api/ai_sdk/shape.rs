//! Problems as the AI SDK shows them: the body of a refusal is the text of its error.

use crate::api::problem::Problem;
use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::Next;

/// What a refusal keeps of the problem's headers.
const KEPT: [HeaderName; 2] = [header::RETRY_AFTER, header::WWW_AUTHENTICATE];

/// Middleware around these routes: a sentence, or the problem where the client wants one.
pub(super) async fn shape(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let as_it_is = accepted.is_some_and(|types| types.contains("application/problem+json"));
    let response = next.call(request).await?;
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let Some(problem) = problem.filter(|_| !as_it_is).cloned() else {
        return Ok(response.map_into_boxed_body());
    };
    let mut shaped = HttpResponse::build(response.status());
    shaped.insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"));
    for name in KEPT {
        if let Some(value) = response.headers().get(&name) {
            shaped.insert_header((name, value.clone()));
        }
    }
    let shaped = shaped.body(problem.detail);
    Ok(response.into_response(shaped))
}
