//! What is counted: the words of the ledger. A token is counted by one meter only, so that sums of
//! rows are sums of tokens: cached input is not also input, reasoning not also output.

use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// A thing that is counted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Accepted turns.
    Requests,
    /// Prompt tokens that the chat model read anew.
    InputTokens,
    /// Prompt tokens that the provider had in its cache.
    CachedInputTokens,
    /// Tokens of the answer.
    OutputTokens,
    /// Tokens that the model thought and did not show.
    ReasoningTokens,
    /// Tokens embedded, of documents and of questions.
    EmbeddingTokens,
    /// Pages ingested.
    Pages,
    /// Bytes of documents: added when one is ready, taken away when it is deleted.
    StoredBytes,
}

impl Meter {
    /// Every meter, in the order they are shown.
    pub const ALL: [Self; 8] = [
        Self::Requests,
        Self::InputTokens,
        Self::CachedInputTokens,
        Self::OutputTokens,
        Self::ReasoningTokens,
        Self::EmbeddingTokens,
        Self::Pages,
        Self::StoredBytes,
    ];

    /// Tokens that the chat model read or wrote.
    #[must_use]
    pub fn is_of_chat(self) -> bool {
        use Meter::{CachedInputTokens, InputTokens, OutputTokens, ReasoningTokens};
        matches!(self, InputTokens | CachedInputTokens | OutputTokens | ReasoningTokens)
    }

    /// The word in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::InputTokens => "input_tokens",
            Self::CachedInputTokens => "cached_input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::ReasoningTokens => "reasoning_tokens",
            Self::EmbeddingTokens => "embedding_tokens",
            Self::Pages => "pages",
            Self::StoredBytes => "stored_bytes",
        }
    }
}

impl FromStr for Meter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|meter| meter.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a meter"))
    }
}

/// Where a quantity comes from. There is no "missing, therefore zero".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// The provider said so, or we counted the thing itself.
    Exact,
    /// Counted by our own tokenizer: stopped, cut off, or the provider did not say.
    Estimated,
}

impl Provenance {
    /// The word in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Estimated => "estimated",
        }
    }
}
