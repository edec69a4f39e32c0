//! Opening a WebSocket: the origin is checked and the ticket redeemed before 101 is said.

use super::socket::{Socket, run};
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};

const PROTOCOL: &str = "docent.v1";
const TICKET: &str = "ticket.";
/// The largest frame taken, in bytes.
const MAX_FRAME: usize = 64 * 1024;

/// Chat over a WebSocket (subprotocol `docent.v1`; see docs/websocket.md).
#[utoipa::path(get, path = "/ws/chat", tag = "chat",
    responses((status = 101), (status = 401, body = Problem), (status = 403, body = Problem)))]
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
    let ctx = match offered_ticket(&request) {
        Some(ticket) => Some(state.tickets.redeem(&ticket).await?),
        None => None, // it will say who it is in its first message
    };
    let (response, session, stream) = actix_ws::handle_with_protocols(&request, body, &[PROTOCOL])
        .map_err(|error| Problem::invalid(format!("This is no WebSocket request: {error}.")))?;
    let stream = stream.max_frame_size(MAX_FRAME).aggregate_continuations();
    let stream = stream.max_continuation_size(MAX_FRAME);
    let socket = Socket::new(state.get_ref().clone(), session, ctx);
    // MessageStream is not Send: this task, and only this one, belongs to the worker. The turns it
    // watches do not.
    actix_web::rt::spawn(run(socket, stream));
    Ok(response)
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
