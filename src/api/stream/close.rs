//! Why the server closes a WebSocket: the codes are published in docs/websocket.md.

use actix_ws::{CloseCode, CloseReason, ProtocolError};

/// Why a connection is closed by us.
#[derive(Clone, Copy)]
pub(super) enum Close {
    Restarting,
    TooSlow,
    TextOnly,
    NotUtf8,
    TooBig,
    Protocol,
    Unauthenticated,
    AuthDeadline,
    Silent,
}

impl Close {
    /// Code, whether to reconnect, why.
    fn parts(self) -> (u16, bool, &'static str) {
        match self {
            Self::Restarting => (1012, true, "the server restarts"),
            Self::TooSlow => (1013, true, "frames were not read for 30 s"),
            Self::TextOnly => (1003, false, "text frames only"),
            Self::NotUtf8 => (1007, false, "a text frame is not UTF-8"),
            Self::TooBig => (1009, false, "a frame may have 64 KiB"),
            Self::Protocol => (1002, false, "not a WebSocket frame"),
            Self::Unauthenticated => (4401, true, "get a new ticket or token, then reconnect"),
            Self::AuthDeadline => (4408, false, "no auth message within 10 s"),
            Self::Silent => (1001, true, "nothing was heard for 60 s"),
        }
    }
}

impl From<Close> for CloseReason {
    fn from(close: Close) -> Self {
        let (code, reconnect, reason) = close.parts();
        let description = serde_json::json!({"reconnect": reconnect, "reason": reason}).to_string();
        Self { code: CloseCode::from(code), description: Some(description) }
    }
}

impl From<&ProtocolError> for Close {
    fn from(error: &ProtocolError) -> Self {
        match error {
            ProtocolError::Overflow => Self::TooBig,
            ProtocolError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Self::NotUtf8
            }
            _ => Self::Protocol,
        }
    }
}
