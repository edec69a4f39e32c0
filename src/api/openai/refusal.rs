//! Problems in the shape that OpenAI's clients read: `{"error": {message, type, param, code}}`.

use crate::api::problem::{Code, Problem};
use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use serde_json::{Value, json};

/// Their clients ask again on every 429 and 5xx, unless they are told not to.
const RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// 400, and the parameter that is wrong.
pub(super) fn wrong(param: &str, detail: impl Into<String>) -> Problem {
    at(Problem::invalid(detail), param)
}

/// 404, as their clients know it.
pub(super) fn no_model() -> Problem {
    at(Problem::new(Code::NotFound, "There is no such model, or you may not use it."), "model")
}

fn at(mut problem: Problem, param: &str) -> Problem {
    problem.more.insert("param".into(), param.into());
    problem
}

/// Their words for it: type and code.
fn words(problem: &Problem) -> (&'static str, &str) {
    let of_model = problem.more.get("param").is_some_and(|param| param == "model");
    match problem.code {
        "unauthenticated" => ("invalid_request_error", "invalid_api_key"),
        "model_unknown" => ("invalid_request_error", "model_not_found"),
        "not_found" if of_model => ("invalid_request_error", "model_not_found"),
        "rate_limited" if problem.detail.contains("tokens") => ("tokens", "rate_limit_exceeded"),
        "rate_limited" => ("requests", "rate_limit_exceeded"),
        "quota_exceeded" => ("insufficient_quota", "insufficient_quota"),
        code if problem.status == 403 => ("permission_error", code),
        code if problem.status >= 500 => ("server_error", code),
        code => ("invalid_request_error", code),
    }
}

/// The body for a problem.
pub(super) fn body(problem: &Problem) -> Value {
    let (kind, code) = words(problem);
    let param = problem.more.get("param").cloned().unwrap_or_default();
    json!({"error": {"message": problem.detail, "type": kind, "param": param, "code": code}})
}

/// Middleware around the routes of this API.
pub(super) async fn shape(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let response = next.call(request).await?;
    let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
    let Some(problem) = problem.cloned() else { return Ok(response.map_into_boxed_body()) };
    let mut shaped = HttpResponse::build(response.status()).json(body(&problem));
    let headers = shaped.headers_mut();
    for name in ["retry-after", "www-authenticate"] {
        let name = HeaderName::from_static(name);
        if let Some(value) = response.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if problem.code == "quota_exceeded" {
        headers.insert(RETRY, HeaderValue::from_static("false"));
    }
    Ok(response.into_response(shaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_words_are_always_there() {
        let problem = wrong("input", "Tokens are not taken.");
        assert_eq!(
            body(&problem),
            json!({"error": {"message": "Tokens are not taken.", "type": "invalid_request_error",
                "param": "input", "code": "invalid_request"}})
        );
        let problem = Problem::new(Code::Unauthenticated, "Who?");
        assert_eq!(
            body(&problem),
            json!({"error": {"message": "Who?", "type": "invalid_request_error", "param": null,
                "code": "invalid_api_key"}})
        );
        assert_eq!(body(&no_model())["error"]["code"], "model_not_found");
    }
}
