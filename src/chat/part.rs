//! The parts of a turn: the subset of the AI SDK's UI Message Stream v1 that all its versions since
//! 5.0.0 read. Our own kinds are `data-*`; offsets are never inside a part.

use crate::store::citations::Citation;
use crate::store::ledger::TurnEntry;
use crate::types::{DocumentId, MessageId, Provenance, TenantId, TurnId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One entry of a turn's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Part {
    Start {
        message_id: MessageId,
    },
    SourceDocument {
        source_id: DocumentId,
        media_type: String,
        title: String,
        filename: String,
    },
    DataCitation {
        id: String,
        data: CitationData,
    },
    TextStart {
        id: String,
    },
    TextDelta {
        id: String,
        delta: String,
    },
    TextEnd {
        id: String,
    },
    DataUsage {
        data: UsageData,
    },
    /// What the `error` part that follows means to a program.
    DataError {
        data: ErrorData,
    },
    /// The log is gone: what follows is the stored message, whole.
    DataSnapshot {
        data: SnapshotData,
    },
    Finish {},
    Error {
        error_text: String,
    },
    Abort {},
}

impl Part {
    /// The id of the only text block of an answer.
    pub const TEXT: &str = "t1";

    /// True for the part that ends a turn.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Finish {} | Self::Error { .. } | Self::Abort {})
    }

    /// A piece of the answer.
    #[must_use]
    pub fn delta(text: String) -> Self {
        Self::TextDelta { id: Self::TEXT.into(), delta: text }
    }
}

/// A passage that the answer was given; the answer refers to it as `[index]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CitationData {
    /// Counted from 1.
    pub index: i32,
    pub document_id: DocumentId,
    pub file_name: String,
    /// The page the snippet stands on, counted from 1.
    pub page: i32,
    pub page_end: i32,
    pub snippet: String,
    /// 0 to 1: how well the passage fits the question, compared with the others.
    pub score: f32,
}

impl From<Citation> for CitationData {
    fn from(row: Citation) -> Self {
        Self {
            index: row.index,
            document_id: row.document_id,
            file_name: row.file_name,
            page: row.page,
            page_end: row.page_end,
            snippet: row.snippet,
            score: row.score,
        }
    }
}

impl CitationData {
    /// The row that keeps it.
    pub(super) fn row(self, tenant_id: TenantId, turn_id: TurnId) -> Citation {
        Citation {
            tenant_id,
            turn_id,
            index: self.index,
            document_id: self.document_id,
            file_name: self.file_name,
            page: self.page,
            page_end: self.page_end,
            snippet: self.snippet,
            score: self.score,
        }
    }
}

/// What a turn was billed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageData {
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// `estimated` when the provider did not say all of it.
    pub provenance: Provenance,
    /// Billionths of a US dollar; null when the model has no price.
    pub cost_nano_usd: Option<i64>,
}

impl UsageData {
    /// What the ledger says of a turn; `None` when no tokens were billed.
    #[must_use]
    pub fn billed(entries: &[TurnEntry], turn: TurnId) -> Option<Self> {
        let of = |meter: &str| {
            entries.iter().find(move |entry| entry.turn_id == Some(turn) && entry.meter == meter)
        };
        let (input, output) = (of("input_tokens")?, of("output_tokens")?);
        let exact = input.provenance == "exact" && output.provenance == "exact";
        Some(Self {
            input_tokens: input.quantity,
            output_tokens: output.quantity,
            provenance: if exact { Provenance::Exact } else { Provenance::Estimated },
            cost_nano_usd: input.cost_nano_usd.zip(output.cost_nano_usd).map(|(a, b)| a + b),
        })
    }
}

/// Why an answer failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorData {
    /// Stable, for programs.
    pub code: String,
    /// Asking again may succeed.
    pub retryable: bool,
}

/// Says of a stream that it is not the turn's own log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotData {
    /// complete, stopped or failed.
    pub state: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_as_the_protocol_says() {
        let id = MessageId::new();
        let json = |part: &Part| serde_json::to_string(part).unwrap();
        assert_eq!(
            json(&Part::Start { message_id: id }),
            format!(r#"{{"type":"start","messageId":"{id}"}}"#)
        );
        assert_eq!(
            json(&Part::delta("x".into())),
            r#"{"type":"text-delta","id":"t1","delta":"x"}"#
        );
        assert_eq!(json(&Part::Finish {}), r#"{"type":"finish"}"#);
        assert_eq!(json(&Part::Abort {}), r#"{"type":"abort"}"#);
        let error = Part::Error { error_text: "e".into() };
        assert_eq!(json(&error), r#"{"type":"error","errorText":"e"}"#);
        assert!(error.is_terminal() && !Part::delta(String::new()).is_terminal());
    }
}
