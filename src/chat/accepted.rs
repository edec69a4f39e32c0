//! The two answers to what a client asks for.

use super::log::TurnLog;
use crate::guard::Blocked;
use crate::limiter::Limited;
use crate::llm::router::RouteError;
use crate::metering::{QuotaExceeded, ReserveError};
use crate::store::DbError;
use crate::store::reservations::Limit;
use crate::types::{ConversationId, TurnId};
use std::sync::Arc;
use thiserror::Error;

/// The turn is durable and runs (or ran: a repeat of an idempotency key).
#[derive(Clone, Debug)]
pub struct Accepted {
    pub turn: TurnId,
    pub conversation: ConversationId,
    pub log: Arc<TurnLog>,
    /// The limits that it counts against, where they stand with it; `None` of a repeat, which reserves nothing.
    pub standing: Option<Vec<Limit>>,
}

/// Nothing was started, nothing is billed.
#[derive(Debug, Error)]
pub enum Refused {
    #[error("this role may not ask questions")]
    Forbidden,
    #[error("there is no such conversation")]
    NoConversation,
    #[error("there is no such message in the conversation")]
    NoMessage,
    #[error("there is no such assistant")]
    NoAssistant,
    #[error("this call was decided before, or waited for too long")]
    Decided,
    /// By a filter.
    #[error("the question is not allowed")]
    Blocked(#[from] Blocked),
    #[error(transparent)]
    NoModel(RouteError),
    #[error("a turn is running in this conversation")]
    TurnInProgress,
    #[error("this idempotency key was used for another request")]
    IdempotencyConflict,
    #[error("too many requests")]
    RateLimited(Limited),
    #[error("a quota is used up")]
    QuotaExceeded(QuotaExceeded),
    /// Cost has a hard limit, and the model no price.
    #[error("the model has no price")]
    Unpriced,
    #[error("too many turns run at once")]
    TooManyTurns { limit: u32 },
    #[error("the server is full")]
    Overloaded,
    #[error("the server is restarting")]
    Draining,
    #[error("the conversation has too many requests waiting")]
    Busy,
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<diesel::result::Error> for Refused {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

impl From<RouteError> for Refused {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Db(error) => Self::Db(error),
            other => Self::NoModel(other),
        }
    }
}

impl From<ReserveError> for Refused {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Exceeded(exceeded) => Self::QuotaExceeded(exceeded),
            ReserveError::Unpriced => Self::Unpriced,
            ReserveError::Query(error) => error.into(),
        }
    }
}
