//! A JSON body: bounded in size and in time, with errors in words.

use super::problem::{Code, Problem};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// The largest JSON body taken, in bytes.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// A body must have arrived by then.
const DEADLINE: Duration = Duration::from_secs(30);

/// Extracts `T` from a JSON body, whatever its Content-Type says.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            let bytes = tokio::time::timeout(DEADLINE, bytes)
                .await
                .map_err(|_late| {
                    Problem::new(Code::RequestTimeout, "The body did not arrive within 30 s.")
                })?
                .map_err(|error| {
                    if error.as_response_error().status_code().as_u16() == 413 {
                        let detail = format!("A JSON body may have {} KiB.", MAX_BYTES / 1024);
                        Problem::new(Code::TooLarge, detail)
                    } else {
                        Problem::invalid(format!("The body could not be read: {error}."))
                    }
                })?;
            serde_json::from_slice(&bytes).map(Self).map_err(|error| {
                Problem::invalid(format!("The body is not as documented: {error}."))
            })
        })
    }
}
