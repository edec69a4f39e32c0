//! Opening a WebSocket: the origin is checked, the ticket redeemed and a place among the person's
//! connections taken before 101 is said.

use super::bounded::bounded;
use super::serve::run;
use super::socket::Socket;
use crate::api::principal::known;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError, get, web};

const PROTOCOL: &str = "docent.v1";
const TICKET: &str = "ticket.";
/// The largest frame taken, in bytes.
const MAX_FRAME: usize = 64 * 1024;

/// Chat over a WebSocket (subprotocol `docent.v1`; see docs/websocket.md).
#[utoipa::path(get, path = "/ws/chat", tag = "chat",
    responses((status = 101), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 426, body = Problem), (status = 429, body = Problem)))]
#[get("/ws/chat")]
pub(crate) async fn ws_chat(
    request: HttpRequest,
    body: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    if !origin_allowed(&request, &state.settings.allowed_origins) {
        return Err(Problem::new(
            Code::Forbidden,
            "Pages of this origin may not connect: add it to ALLOWED_ORIGINS.",
        ));
    }
    let no_socket = |error| Problem::invalid(format!("This is no WebSocket request: {error}."));
    let body = bounded(&request, body, MAX_FRAME as u64).await.map_err(no_socket)?;
    // Before the ticket is used up: a request that cannot be served leaves it as it was.
    let opened = actix_ws::handle_with_protocols(&request, body, &[PROTOCOL]);
    let (response, session, stream) = match opened {
        Ok(opened) => opened,
        Err(error) if error.error_response().status() == StatusCode::UPGRADE_REQUIRED => {
            return Ok(other_version());
        }
        Err(error) => return Err(no_socket(error)),
    };
    let stream = stream.max_frame_size(MAX_FRAME).aggregate_continuations();
    let stream = stream.max_continuation_size(MAX_FRAME);
    let mut socket = Socket::new(state.get_ref().clone(), session);
    // Without a ticket it will say who it is in its first message.
    if let Some(ticket) = offered_ticket(&request) {
        let ctx = state.tickets.redeem(&ticket).await?; // got within the scope `chat`
        known(&request, ctx);
        socket.enter(ctx, state.connections.open(ctx).await?);
    }
    // MessageStream is not Send: this task, and only this one, belongs to the worker. The turns it
    // watches do not.
    actix_web::rt::spawn(run(socket, stream));
    Ok(response)
}

/// What RFC 6455 wants to be said to a client of another version.
fn other_version() -> HttpResponse {
    let problem = Problem::new(Code::UpgradeRequired, "Use version 13 of the WebSocket protocol.");
    let mut response = problem.error_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// The ticket among the offered subprotocols; only `docent.v1` is answered.
fn offered_ticket(request: &HttpRequest) -> Option<String> {
    request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|offer| offer.trim().strip_prefix(TICKET).map(String::from))
}

/// A browser always sends its origin: it must be this server's own or a listed one. Other programs
/// send none.
fn origin_allowed(request: &HttpRequest, allowed: &[String]) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let origin = origin.to_lowercase();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").map(|(_, rest)| rest);
    own.is_some() && own.map(str::to_owned) == host.map(str::to_lowercase)
        || allowed.contains(&origin)
}
