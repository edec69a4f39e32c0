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

/// The bytes of a body of at most so many KiB, whatever its Content-Type says.
pub(super) struct Bytes<const KIB: usize>(pub(super) web::Bytes);

impl<const KIB: usize> FromRequest for Bytes<KIB> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|error| unreadable(&error))?;
            let bytes = tokio::time::timeout(DEADLINE, payload.to_bytes_limited(KIB * 1024)).await;
            let bytes = bytes.map_err(|_late| late())?.map_err(|_limit| too_large(KIB))?;
            bytes.map(Self).map_err(|error| unreadable(&error))
        })
    }
}

/// Extracts `T` from a JSON body, whatever its Content-Type says.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = Bytes::<{ MAX_BYTES / 1024 }>::from_request(request, payload);
        Box::pin(async move {
            serde_json::from_slice(&bytes.await?.0).map(Self).map_err(|error| {
                Problem::invalid(format!("The body is not as documented: {error}."))
            })
        })
    }
}

fn late() -> Problem {
    Problem::new(Code::RequestTimeout, "The body did not arrive within 30 s.")
}

fn too_large(kib: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("A JSON body may have {kib} KiB."))
}

fn unreadable(error: &actix_web::Error) -> Problem {
    Problem::invalid(format!("The body could not be read: {error}."))
}
