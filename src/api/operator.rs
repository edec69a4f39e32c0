//! Who runs the server: known by `OPERATOR_TOKEN`, and what they do is recorded.

use super::problem::{Code, Problem};
use super::state::State;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use std::future::{Ready, ready};

/// Proof that a request is the operator's. Without a token in the settings there is no operator.
pub(super) struct Operator;

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.app_data::<web::Data<State>>();
        let token = state.and_then(|state| state.settings.operator_token.as_ref());
        let sent = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let known = token.is_some_and(|token| {
            let wanted = format!("Bearer {}", token.expose());
            bool::from(subtle::ConstantTimeEq::ct_eq(sent.unwrap_or_default(), wanted.as_bytes()))
        });
        ready(match known {
            true => Ok(Self),
            false => {
                Err(Problem::new(Code::Unauthenticated, "This needs the server's OPERATOR_TOKEN."))
            }
        })
    }
}
