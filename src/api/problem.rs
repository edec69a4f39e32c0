//! Failures as RFC 9457 problem documents, from one catalogue of codes.
//!
//! `code` is stable and for programs, `detail` is a sentence for people, `request_id` finds the log
//! line. What went wrong inside never leaves the server: it is logged, once, here.

use super::observe::request_id;
use crate::accounts::AccountError;
use crate::chat::{AskedError, Refused};
use crate::documents::UploadError;
use crate::limiter::{Limited, TooManyConnections};
use crate::llm::router::{CatalogueError, RouteError};
use crate::metering::QuotaExceeded;
use crate::store::DbError;
use crate::types::BadField;
use crate::vectors::EmbedRefused;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;
use utoipa::ToSchema;

/// What can go wrong, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    ScopeMissing,
    TenantMismatch,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    TurnInProgress,
    Conflict,
    Stale,
    TooLarge,
    UnsupportedMedia,
    UpgradeRequired,
    IdempotencyConflict,
    InputBlocked,
    RateLimited,
    QuotaExceeded,
    Unpriced,
    ModelUnknown,
    TooManyTurns,
    Overloaded,
    TooManyConnections,
    ModelNotAllowed,
    UpstreamFailed,
    Unavailable,
    Internal,
}

impl Code {
    /// code, status, title.
    fn entry(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest => ("invalid_request", S::BAD_REQUEST, "The request is not valid"),
            Self::Unauthenticated => ("unauthenticated", S::UNAUTHORIZED, "Log in first"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "This role may not do that"),
            Self::ScopeMissing => ("scope_missing", S::FORBIDDEN, "This key is not for that"),
            Self::TenantMismatch => {
                ("tenant_mismatch", S::FORBIDDEN, "X-Tenant-ID does not fit the token")
            }
            Self::NotFound => ("not_found", S::NOT_FOUND, "There is no such thing"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", S::METHOD_NOT_ALLOWED, "Not with this method")
            }
            Self::RequestTimeout => {
                ("request_timeout", S::REQUEST_TIMEOUT, "The request came too slowly")
            }
            Self::TurnInProgress => ("turn_in_progress", S::CONFLICT, "A turn is running here"),
            Self::Conflict => ("conflict", S::CONFLICT, "This does not go with what is there"),
            Self::Stale => ("stale", S::PRECONDITION_FAILED, "It was changed in the meantime"),
            Self::TooLarge => ("too_large", S::PAYLOAD_TOO_LARGE, "Too large"),
            Self::UnsupportedMedia => {
                ("unsupported_media", S::UNSUPPORTED_MEDIA_TYPE, "This kind of file is not read")
            }
            Self::UpgradeRequired => {
                ("upgrade_required", S::UPGRADE_REQUIRED, "Another WebSocket version is needed")
            }
            Self::IdempotencyConflict => (
                "idempotency_conflict",
                S::UNPROCESSABLE_ENTITY,
                "The idempotency key was used for another request",
            ),
            Self::InputBlocked => {
                ("input_blocked", S::UNPROCESSABLE_ENTITY, "The question is not allowed")
            }
            Self::RateLimited => ("rate_limited", S::TOO_MANY_REQUESTS, "Too many requests"),
            Self::QuotaExceeded => ("quota_exceeded", S::TOO_MANY_REQUESTS, "The quota is used up"),
            Self::ModelUnknown => ("model_unknown", S::NOT_FOUND, "There is no such model here"),
            Self::Unpriced => ("model_unpriced", S::SERVICE_UNAVAILABLE, "The model has no price"),
            Self::TooManyTurns => {
                ("too_many_turns", S::TOO_MANY_REQUESTS, "Too many answers are being written")
            }
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "The server is full"),
            Self::TooManyConnections => (
                "too_many_connections",
                S::TOO_MANY_REQUESTS,
                "Too many streams and sockets are open",
            ),
            Self::ModelNotAllowed => {
                ("model_not_allowed", S::UNPROCESSABLE_ENTITY, "The model is not allowed here")
            }
            Self::UpstreamFailed => {
                ("upstream_failed", S::BAD_GATEWAY, "The model could not answer")
            }
            Self::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "Try again in a moment"),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "Something went wrong here"),
        }
    }
}

/// A problem document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:docent:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    /// A sentence for people.
    pub detail: String,
    /// For programs; it does not change.
    pub code: &'static str,
    pub request_id: String,
    /// `retry_after_ms`, `scope`, `field`, or `quota` with limit, used, reserved and `resets_at`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub more: Map<String, Value>,
}

impl Problem {
    /// A problem of the catalogue.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (word, status, title) = code.entry();
        Self {
            kind: format!("urn:docent:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            code: word,
            request_id: request_id(),
            more: Map::new(),
        }
    }

    /// 400 with a sentence.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// 404: not there, or not this tenant's or user's. The two cannot be told apart.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("There is no such {what}."))
    }

    /// Which field of the request is meant.
    #[must_use]
    pub fn about(mut self, field: &str) -> Self {
        self.more.insert("field".into(), field.into());
        self
    }

    /// When to come back.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self.more.insert("retry_after_ms".into(), ms.into());
        self
    }

    fn rate_limited(limited: Limited) -> Self {
        let (policy, limit, wait) = (limited.policy, limited.limit, limited.retry_after);
        let detail = format!(
            "The limit of {limit} {} per minute is reached; wait {} s.",
            policy.replace('-', " "),
            wait.as_secs() + 1
        );
        Self::new(Code::RateLimited, detail).retry_after(wait)
    }

    fn overloaded() -> Self {
        Self::new(Code::Overloaded, "Too many questions are waiting on this server.")
            .retry_after(Duration::from_secs(2))
    }

    fn quota(exceeded: &QuotaExceeded) -> Self {
        let QuotaExceeded { scope, period, meter, limit, used, reserved, resets_at } = exceeded;
        let whose = if scope == "tenant" { "your organisation's" } else { "your" };
        let which = match period.as_str() {
            "day" => "daily ",
            "month" => "monthly ",
            _ => "",
        };
        let what = match meter.as_str() {
            "cost_nano_usd" => format!("{} US dollars", dollars(*limit)),
            meter => format!("{limit} {}", meter.replace('_', " ")),
        };
        let anew = resets_at.map_or(String::new(), |at| {
            format!("; it starts anew on {}", at.format("%-d %B %Y, %H:%M UTC"))
        });
        let mut problem = Self::new(
            Code::QuotaExceeded,
            format!("This would exceed {whose} {which}quota of {what}{anew}."),
        );
        let quota = json!({"scope": scope, "period": period, "meter": meter, "limit": limit,
            "used": used, "reserved": reserved, "resets_at": resets_at});
        problem.more.insert("quota".into(), quota);
        problem
    }
}

/// Nano-dollars as dollars, without needless zeros.
fn dollars(nano: i64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, (nano % 1_000_000_000).abs());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if self.status == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(ms) = self.more.get("retry_after_ms").and_then(Value::as_u64) {
            let seconds = ms.div_ceil(1000).max(1);
            response.insert_header((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        let body = serde_json::to_string(self).unwrap_or_default();
        response.body(body)
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        tracing::error!(%error, cause = ?std::error::Error::source(&error).map(ToString::to_string),
            "The database failed");
        if error.is_transient() {
            Self::new(Code::Unavailable, "The database is not available right now.")
                .retry_after(Duration::from_secs(1))
        } else {
            Self::new(Code::Internal, "Something went wrong here; it was logged.")
        }
    }
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        let detail = format!("{error}.");
        match error {
            RouteError::Unknown(_) => Self::new(Code::ModelUnknown, detail),
            RouteError::NotAllowed(_) => Self::new(Code::ModelNotAllowed, detail),
            RouteError::Db(error) => error.into(),
        }
    }
}

impl From<CatalogueError> for Problem {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::Db(error) => error.into(),
            error => Self::invalid(format!("{error}.")),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let detail = format!("{error}.");
        match error {
            AccountError::NotAnEmail(_) | AccountError::Invalid(_) => Self::invalid(detail),
            AccountError::NoTenant(_) => Self::new(Code::NotFound, detail),
            AccountError::WrongCode
            | AccountError::WrongRefreshToken
            | AccountError::WrongTicket
            | AccountError::WrongKey
            | AccountError::Jwt(_) => Self::new(Code::Unauthenticated, detail),
            AccountError::NoKey => Self::not_found("API key"),
            AccountError::NotYours | AccountError::KeysMakeNoKeys | AccountError::BeyondRole(_) => {
                Self::new(Code::Forbidden, detail)
            }
            AccountError::TooMany(wait) => Self::new(Code::RateLimited, detail).retry_after(wait),
            AccountError::Db(error) => error.into(),
        }
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        match error {
            UploadError::Forbidden => Self::new(Code::Forbidden, detail),
            UploadError::Empty => Self::invalid(detail),
            UploadError::TooLarge => Self::new(Code::TooLarge, detail),
            UploadError::Unsupported(_) => Self::new(Code::UnsupportedMedia, detail),
            UploadError::Db(error) => error.into(),
        }
    }
}

impl From<TooManyConnections> for Problem {
    fn from(full: TooManyConnections) -> Self {
        let most = full.most;
        let detail =
            format!("You have {most} streams and sockets open, as many as you may: close one.");
        Self::new(Code::TooManyConnections, detail).retry_after(full.retry_after)
    }
}

impl From<BadField> for Problem {
    fn from(error: BadField) -> Self {
        Self::invalid(error.to_string()).about(error.field)
    }
}

impl From<AskedError> for Problem {
    fn from(error: AskedError) -> Self {
        Self::invalid(format!("{error}."))
    }
}

impl From<EmbedRefused> for Problem {
    fn from(refused: EmbedRefused) -> Self {
        match refused {
            EmbedRefused::Forbidden => Self::new(Code::Forbidden, "Your role may not embed."),
            EmbedRefused::RateLimited(limited) => Self::rate_limited(limited),
            EmbedRefused::QuotaExceeded(exceeded) => Self::quota(&exceeded),
            EmbedRefused::Overloaded => Self::overloaded(),
            EmbedRefused::Failed(error) => {
                tracing::warn!(%error, embedding.code = error.code(), "Texts could not be embedded");
                Self::new(Code::UpstreamFailed, "The embedding model could not answer.")
            }
            EmbedRefused::Db(error) => error.into(),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Forbidden => Self::new(Code::Forbidden, "Your role may not ask questions."),
            Refused::NoConversation => Self::not_found("conversation"),
            Refused::NoMessage => Self::not_found("message"),
            Refused::NoAssistant => Self::not_found("assistant"),
            Refused::Decided => Self::new(
                Code::Conflict,
                "This call was decided before, or has waited for more than a day.",
            ),
            Refused::Blocked(blocked) => Self::new(Code::InputBlocked, blocked.to_string()),
            Refused::NoModel(error) => error.into(),
            Refused::TurnInProgress => Self::new(
                Code::TurnInProgress,
                "An answer is still being written in this conversation: wait for it or stop it.",
            ),
            Refused::IdempotencyConflict => Self::new(
                Code::IdempotencyConflict,
                "This Idempotency-Key was sent before with another question.",
            ),
            Refused::RateLimited(limited) => Self::rate_limited(limited),
            Refused::QuotaExceeded(exceeded) => Self::quota(&exceeded),
            Refused::Unpriced => Self::new(
                Code::Unpriced,
                "Costs are limited here, and this assistant's model has no price: tell the operator.",
            ),
            Refused::TooManyTurns { limit } => Self::new(
                Code::TooManyTurns,
                format!("{limit} answers are being written already: wait for one or stop it."),
            )
            .retry_after(Duration::from_secs(1)),
            Refused::Overloaded => Self::overloaded(),
            Refused::Draining => Self::new(Code::Unavailable, "The server is restarting.")
                .retry_after(Duration::from_secs(1)),
            Refused::Busy => Self::new(Code::Unavailable, "Too much is waiting here already.")
                .retry_after(Duration::from_secs(1)),
            Refused::Db(error) => error.into(),
        }
    }
}
