//! The parts of a turn: the subset of the AI SDK's UI Message Stream v1 that all its versions since
//! 5.0.0 read. Our own kinds are `data-*`; offsets are never inside a part.

use crate::llm::FinishReason;
use crate::metering::Item;
use crate::store::approvals::Approval;
use crate::store::citations::Citation;
use crate::store::ledger::TurnEntry;
use crate::types::{ApprovalId, DocumentId, MessageId, Meter, Provenance, TenantId, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// One entry of a turn's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Part {
    #[schema(rename_all = "camelCase")]
    Start {
        message_id: MessageId,
    },
    #[schema(rename_all = "camelCase")]
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
    /// What the model thinks, where its provider shows it.
    ReasoningStart {
        id: String,
    },
    ReasoningDelta {
        id: String,
        delta: String,
    },
    ReasoningEnd {
        id: String,
    },
    /// The model calls a tool.
    #[schema(rename_all = "camelCase")]
    ToolInputStart {
        tool_call_id: String,
        tool_name: String,
    },
    #[schema(rename_all = "camelCase")]
    ToolInputDelta {
        tool_call_id: String,
        input_text_delta: String,
    },
    #[schema(rename_all = "camelCase")]
    ToolInputAvailable {
        tool_call_id: String,
        tool_name: String,
        /// An object; a string where the model did not write one.
        input: Value,
    },
    #[schema(rename_all = "camelCase")]
    ToolOutputAvailable {
        tool_call_id: String,
        output: Value,
    },
    #[schema(rename_all = "camelCase")]
    ToolOutputError {
        tool_call_id: String,
        error_text: String,
    },
    /// A call waits for the reader's word.
    DataApproval {
        id: String,
        data: ApprovalData,
    },
    /// Between the steps of a turn that has several.
    FinishStep {},
    StartStep {},
    /// Something that the reader may want to know.
    DataNotice {
        data: NoticeData,
    },
    DataUsage {
        data: UsageData,
    },
    /// Why the model ended, where it was not simply done.
    DataFinish {
        data: FinishData,
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
    #[schema(rename_all = "camelCase")]
    Error {
        error_text: String,
    },
    Abort {},
}

impl Part {
    /// The id of the first text block of an answer.
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
    /// Cached ones included.
    pub input_tokens: i64,
    /// The part of `input_tokens` that the provider had in its cache; left out when there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_input_tokens: i64,
    /// Reasoning included.
    pub output_tokens: i64,
    /// The part of `output_tokens` that was not shown; left out when there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning_tokens: i64,
    /// `estimated` when the provider did not say all of it.
    pub provenance: Provenance,
    /// Billionths of a US dollar; null when the model has no price.
    pub cost_nano_usd: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(n: &i64) -> bool {
    *n == 0
}

impl UsageData {
    /// Of metered quantities; `None` when no tokens were billed.
    pub(super) fn of(items: &[Item], cost_nano_usd: Option<i64>) -> Option<Self> {
        let sum = |meter| {
            let of = items.iter().filter(|item| item.meter == meter);
            of.map(|item| item.quantity).reduce(i64::saturating_add)
        };
        let (input, output) = (sum(Meter::InputTokens)?, sum(Meter::OutputTokens)?);
        let cached = sum(Meter::CachedInputTokens).unwrap_or(0);
        let reasoning = sum(Meter::ReasoningTokens).unwrap_or(0);
        let chat = |item: &&Item| matches!(item.meter, Meter::InputTokens | Meter::OutputTokens);
        let exact = items.iter().filter(chat).all(|item| item.provenance == Provenance::Exact);
        Some(Self {
            input_tokens: input.saturating_add(cached),
            cached_input_tokens: cached,
            output_tokens: output.saturating_add(reasoning),
            reasoning_tokens: reasoning,
            provenance: if exact { Provenance::Exact } else { Provenance::Estimated },
            cost_nano_usd,
        })
    }

    /// What the ledger says of a turn; `None` when no tokens were billed.
    #[must_use]
    pub fn billed(entries: &[TurnEntry], turn: TurnId) -> Option<Self> {
        let of_turn = || entries.iter().filter(|entry| entry.turn_id == Some(turn));
        let item = |entry: &TurnEntry| {
            let exact = entry.provenance == Provenance::Exact.as_str();
            Some(Item {
                meter: entry.meter.parse().ok()?,
                quantity: entry.quantity,
                provenance: if exact { Provenance::Exact } else { Provenance::Estimated },
            })
        };
        let items: Vec<Item> = of_turn().filter_map(item).collect();
        // The price of the chat model: what else has a price does not make a sum of it.
        let is_output = |entry: &&TurnEntry| entry.meter == Meter::OutputTokens.as_str();
        let priced = of_turn().filter(is_output).all(|entry| entry.cost_nano_usd.is_some());
        let cost = || of_turn().filter_map(|entry| entry.cost_nano_usd).sum();
        Self::of(&items, priced.then(cost))
    }
}

/// A notice, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeData {
    /// Stable: `model_changed`, `quota_exceeded`, `output_blocked` or `moderated`.
    pub code: String,
    pub text: String,
}

/// A call that is made when whoever asked agrees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalData {
    pub approval_id: ApprovalId,
    pub tool_call_id: String,
    pub tool_name: String,
    pub input: Value,
}

impl From<Approval> for ApprovalData {
    fn from(row: Approval) -> Self {
        let input = serde_json::from_str(&row.arguments);
        Self {
            approval_id: row.id,
            tool_call_id: row.call_id,
            tool_name: row.tool,
            input: input.unwrap_or(Value::String(row.arguments)),
        }
    }
}

/// Why an answer ended before its model was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FinishData {
    /// length, content-filter, tool-calls or other.
    pub reason: FinishReason,
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
