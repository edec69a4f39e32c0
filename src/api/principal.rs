//! Who a request is from: the bearer, a token or a key, and a tenant header that may only agree with it; or who
//! reads an event stream with a ticket in its address.

use super::problem::{Code, Problem};
use super::scopes;
use super::state::State;
use crate::types::Ctx;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::{FutureExt, TryFutureExt};
use serde::Deserialize;
use std::future::Future;
use std::pin::Pin;

/// The verified caller. A handler that takes this is closed to everybody else.
pub(super) struct Principal(pub(super) Ctx);

impl FromRequest for Principal {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // What can be known now is, and not when it is waited for: an answer to a bad path or body is for
        // them, too.
        let mut verifying = verify(request.clone()).boxed_local();
        let now = (&mut verifying).now_or_never();
        let request = request.clone();
        Box::pin(async move {
            let (state, ctx) = match now {
                Some(verified) => verified?,
                None => verifying.await?,
            };
            scopes::check(ctx, request.method(), &request.match_pattern().unwrap_or_default())?;
            if let Some(name) = tenant_header(&request)
                && !state.directory.names(&name, ctx.tenant).await?
            {
                return Err(Problem::new(
                    Code::TenantMismatch,
                    "X-Tenant-ID names another tenant than the one you are logged in to.",
                ));
            }
            Ok(Self(ctx))
        })
    }
}

/// The verified reader of an event stream: the caller, or whoever the ticket in the query is from.
pub(super) struct Reader {
    pub(super) ctx: Ctx,
    /// A browser's `EventSource`, which sends no header but `Last-Event-ID`.
    pub(super) by_ticket: bool,
}

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let ticket = match request.headers().contains_key(header::AUTHORIZATION) {
            true => None,
            false => web::Query::<Ticket>::from_query(request.query_string()).ok(),
        };
        let Some(web::Query(Ticket { ticket })) = ticket else {
            let principal = Principal::from_request(request, payload);
            return principal.map_ok(|Principal(ctx)| Self { ctx, by_ticket: false }).boxed_local();
        };
        let request = request.clone();
        let reader = async move {
            let of = request.match_info().query("id").parse();
            let of = of.map_err(|_no_id| Problem::not_found("resource"))?;
            let ctx = state(&request)?.tickets.read(&ticket, of).await?;
            known(&request, ctx);
            scopes::check(ctx, request.method(), &request.match_pattern().unwrap_or_default())?;
            Ok(Self { ctx, by_ticket: true })
        };
        reader.boxed_local()
    }
}

fn state(request: &HttpRequest) -> Result<web::Data<State>, Problem> {
    let state = request.app_data::<web::Data<State>>().cloned();
    state.ok_or_else(|| Problem::new(Code::Internal, "No state."))
}

async fn verify(request: HttpRequest) -> Result<(web::Data<State>, Ctx), Problem> {
    let state = state(&request)?;
    let token = bearer(&request).ok_or_else(|| {
        Problem::new(
            Code::Unauthenticated,
            "This needs `Authorization: Bearer <access token or API key>`.",
        )
    })?;
    let ctx = state.sessions.authenticate(&token).await?;
    known(&request, ctx);
    Ok((state, ctx))
}

/// Whose request this is, for what all answers to them have.
pub(super) fn known(request: &HttpRequest, ctx: Ctx) {
    request.extensions_mut().insert(ctx);
}

fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// `X-Tenant-ID`, where it is sent.
pub(super) fn tenant_header(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get("x-tenant-id")?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}
