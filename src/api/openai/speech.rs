//! The parts of a turn as OpenAI's clients understand them: what is new in each, and how it ended.

use crate::chat::{CitationData, ErrorData, Part, UsageData};
use crate::llm::FinishReason;
use serde_json::{Value, json};

/// One step of a completion.
#[derive(Debug, PartialEq)]
pub(super) enum Delta {
    Begin,
    /// The passages that an assistant was given; before its words.
    Cited(Vec<CitationData>),
    Text(String),
    Thought(String),
    CallBegin {
        index: usize,
        id: String,
        name: String,
    },
    CallInput {
        index: usize,
        json: String,
    },
    End {
        reason: &'static str,
        usage: Option<UsageData>,
    },
    Failed {
        message: String,
        error: Option<ErrorData>,
    },
}

/// Which calls of tools a client is to hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Calls {
    /// None: it brought no tools, so they are the assistant's and run here.
    #[default]
    Ours,
    /// The first of its own: it wants one at a time.
    First,
    /// All of its own.
    All,
}

/// Listens to a turn's log.
#[derive(Default)]
pub(super) struct Listener {
    wanted: Calls,
    citations: Vec<CitationData>,
    /// The ids of the calls, in order.
    calls: Vec<String>,
    finish: Option<FinishReason>,
    usage: Option<UsageData>,
    error: Option<ErrorData>,
}

impl Listener {
    pub(super) fn new(wanted: Calls) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// What a part says.
    pub(super) fn hear(&mut self, part: Part) -> Vec<Delta> {
        let mut said = Vec::new();
        let delta = match part {
            Part::Start { .. } => Some(Delta::Begin),
            Part::DataCitation { data, .. } => {
                self.citations.push(data);
                return said; // all of them in one
            }
            Part::TextDelta { delta, .. } => Some(Delta::Text(delta)),
            Part::ReasoningDelta { delta, .. } => Some(Delta::Thought(delta)),
            Part::ToolInputStart { tool_call_id: id, tool_name: name } if self.tells_next() => {
                self.calls.push(id.clone());
                Some(Delta::CallBegin { index: self.calls.len() - 1, id, name })
            }
            Part::ToolInputDelta { tool_call_id, input_text_delta: json } => {
                let index = self.calls.iter().position(|id| *id == tool_call_id);
                index.map(|index| Delta::CallInput { index, json })
            }
            Part::DataFinish { data } => {
                self.finish = Some(data.reason);
                None
            }
            Part::DataUsage { data } => {
                self.usage = Some(data);
                None
            }
            Part::DataError { data } => {
                self.error = Some(data);
                None
            }
            // Somebody stopped it: what there is, is the answer.
            Part::Finish {} | Part::Abort {} => {
                Some(Delta::End { reason: self.reason(), usage: self.usage.take() })
            }
            Part::Error { error_text: message } => {
                Some(Delta::Failed { message, error: self.error.take() })
            }
            _ => None,
        };
        if delta.is_some() && !self.citations.is_empty() {
            said.push(Delta::Cited(std::mem::take(&mut self.citations)));
        }
        said.extend(delta);
        said
    }

    fn tells_next(&self) -> bool {
        match self.wanted {
            Calls::Ours => false,
            Calls::First => self.calls.is_empty(),
            Calls::All => true,
        }
    }

    fn reason(&self) -> &'static str {
        match self.finish {
            Some(FinishReason::Length) => "length",
            Some(FinishReason::ContentFilter) => "content_filter",
            Some(FinishReason::ToolCalls) if self.wanted != Calls::Ours => "tool_calls",
            _ => "stop",
        }
    }
}

/// An object with one more field, or another value of it.
pub(super) fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.into(), value);
    }
    object
}

/// `usage` in their words: cached is inside the prompt, reasoning inside the completion.
pub(super) fn usage(data: &UsageData) -> Value {
    json!({
        "prompt_tokens": data.input_tokens,
        "completion_tokens": data.output_tokens,
        "total_tokens": data.input_tokens.saturating_add(data.output_tokens),
        "prompt_tokens_details": {"cached_tokens": data.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": data.reasoning_tokens},
        "cost_nano_usd": data.cost_nano_usd,
    })
}
