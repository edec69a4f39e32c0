//! What is counted. The ledger, the reservations and the quotas use the same words, so that
//! `quotas.used = sum(usage_ledger)` can be said per meter without a translation.

use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// A thing that is counted and may be limited.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Accepted turns.
    Requests,
    /// Prompt tokens sent to the chat model.
    InputTokens,
    /// Tokens the chat model produced.
    OutputTokens,
    /// Tokens embedded, of documents and of questions.
    EmbeddingTokens,
    /// Pages ingested.
    Pages,
}

impl Meter {
    /// Every meter, in the order they are shown.
    pub const ALL: [Self; 5] =
        [Self::Requests, Self::InputTokens, Self::OutputTokens, Self::EmbeddingTokens, Self::Pages];

    /// The word in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::EmbeddingTokens => "embedding_tokens",
            Self::Pages => "pages",
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
