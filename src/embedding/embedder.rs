//! What an embedder is, and how it fails.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::net::Refusal;

/// The vectors of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// One per text, in the order of the texts, each of `dimensions()` finite numbers.
    pub vectors: Vec<Vec<f32>>,
    /// Input tokens of the whole call.
    pub tokens: u64,
    /// Whether `tokens` is what the provider said; else it is our own count.
    pub exact: bool,
}

/// Turns texts into vectors that are near each other when the texts are.
pub trait Embedder: Send + Sync {
    /// Names the vector space: vectors of different names must never be compared.
    fn name(&self) -> &str;

    /// The name under which it has a price: its provider's, whatever the dimensions.
    fn billed_as(&self) -> &str {
        self.name()
    }

    /// It runs in this process: nobody is paid for what it does.
    fn is_built_in(&self) -> bool {
        false
    }

    /// The length of each vector.
    fn dimensions(&self) -> usize;

    /// The same model with shorter vectors, where it can make them.
    fn shortened(&self, _dimensions: usize) -> Option<Arc<dyn Embedder>> {
        None
    }

    /// Embeds any number of texts; batches as its provider needs. An empty text is allowed.
    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>>;
}

/// Why there are no vectors. `Display` is for logs and holds no text, key or body.
#[derive(Debug, Clone, Error)]
pub enum EmbedError {
    /// The request cannot be sent as configured.
    #[error("the embedding request cannot be built: {detail}")]
    Request {
        /// What is wrong.
        detail: String,
    },
    /// No connection, or it broke.
    #[error("no connection to the embedding provider: {detail}")]
    Connect {
        /// The chain of causes, without the URL.
        detail: String,
    },
    /// An HTTP status outside 2xx.
    #[error("the embedding provider answered {}: {}", .0.status, .0.complaint)]
    Status(Refusal),
    /// No whole answer in time.
    #[error("no embeddings within {after:?}")]
    Timeout {
        /// The deadline of one attempt.
        after: Duration,
    },
    /// The answer is not what was asked for: wrong count, length or numbers.
    #[error("the embedding provider sent something else: {detail}")]
    Protocol {
        /// What was wrong.
        detail: String,
    },
    /// The work itself died.
    #[error("embedding failed inside: {detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
}

impl EmbedError {
    /// A stable machine code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Request { .. } => "embedding_misconfigured",
            Self::Connect { .. } => "embedding_unreachable",
            Self::Status(refusal) if refusal.is_transient() => "embedding_busy",
            Self::Status(_) => "embedding_refused",
            Self::Timeout { .. } => "embedding_timeout",
            Self::Protocol { .. } => "embedding_protocol",
            Self::Internal { .. } => "embedding_failed",
        }
    }

    /// How long the provider asked us to wait, where it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// Whether the same call may succeed later: worth a job's next attempt.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Internal { .. } => true,
            Self::Status(refusal) => refusal.is_transient(),
            Self::Request { .. } | Self::Protocol { .. } => false,
        }
    }
}
