//! Why the server closes a WebSocket: the codes are published in docs/websocket.md.

use actix_web::error::PayloadError;
use actix_ws::{CloseCode, CloseReason, ProtocolError};
use serde_json::json;

/// Clients of a server that restarts come back within this time, spread evenly: not all at once.
pub(super) const SPREAD_MS: u64 = 3000;

/// Why a connection is closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    Restarting,
    TooSlow,
    TextOnly,
    NotUtf8,
    TooBig,
    Protocol,
    Unauthenticated,
    Scope,
    AuthDeadline,
    TooMany,
    Silent,
    /// The peer closed, with this code: it is said back.
    Echo(u16),
}

impl Close {
    /// Code, whether to reconnect, why.
    fn parts(self) -> (u16, bool, &'static str) {
        match self {
            Self::Restarting => (1012, true, "the server restarts"),
            Self::TooSlow => (1013, true, "frames are not read as fast as they come"),
            Self::TextOnly => (1003, false, "text frames only"),
            Self::NotUtf8 => (1007, false, "a text frame is not UTF-8"),
            Self::TooBig => (1009, false, "a message may have 64 KiB"),
            Self::Protocol => (1002, false, "not a WebSocket frame"),
            Self::Unauthenticated => (4401, true, "get a new ticket or token, then reconnect"),
            Self::Scope => (4403, false, "this key has not the scope `chat`"),
            Self::AuthDeadline => (4408, false, "no auth message within 10 s"),
            Self::TooMany => (4429, true, "too many connections are open: close one"),
            Self::Silent => (1001, true, "nothing was heard for 60 s"),
            Self::Echo(code) => (code, false, "goodbye"),
        }
    }
}

impl From<Close> for CloseReason {
    fn from(close: Close) -> Self {
        let (code, reconnect, reason) = close.parts();
        let description = match close {
            Close::Echo(_) => None,
            Close::Restarting => {
                let wait = rand::random_range(0..=SPREAD_MS);
                Some(json!({"reconnect": true, "reconnect_in_ms": wait, "reason": reason}))
            }
            _ => Some(json!({"reconnect": reconnect, "reason": reason})),
        };
        let description = description.map(|description| description.to_string());
        Self { code: CloseCode::from(code), description }
    }
}

impl From<&ProtocolError> for Close {
    /// The library says some things only in words (a test holds it to them).
    fn from(error: &ProtocolError) -> Self {
        let ProtocolError::Io(error) = error else {
            return match error {
                ProtocolError::Overflow => Self::TooBig,
                _ => Self::Protocol,
            };
        };
        let inner = error.get_ref();
        let payload = inner.and_then(|inner| inner.downcast_ref::<PayloadError>());
        let words = inner.map(ToString::to_string).unwrap_or_default();
        match error.kind() {
            _ if matches!(payload, Some(PayloadError::Overflow)) => Self::TooBig,
            _ if words == "Exceeded maximum continuation size" => Self::TooBig,
            std::io::ErrorKind::InvalidData if !words.contains("reserved bits") => Self::NotUtf8,
            _ => Self::Protocol,
        }
    }
}
