//! Chunks in, what they say out.

use super::{calls::Calls, chunk::Chunk};
use crate::llm::providers::said::{Decode, Said};

/// Reads one answer.
#[derive(Debug, Default)]
pub(in crate::llm::providers) struct Decoder {
    calls: Calls,
}

impl Decode for Decoder {
    fn read(&mut self, name: &str, data: &str) -> Option<Said> {
        if data.trim() == "[DONE]" {
            return Some(Said { done: true, ..Said::default() });
        }
        let chunk = Chunk::parse(data.as_bytes());
        if name == "error" && chunk.as_ref().is_none_or(|chunk| chunk.failure.is_none()) {
            let failure = serde_json::from_str(data).unwrap_or_default();
            return Some(Said { failure: Some(failure), ..Said::default() });
        }
        let chunk = chunk?;
        let mut said = Said {
            finish: chunk.finish,
            usage: chunk.usage,
            failure: chunk.failure,
            ..Said::default()
        };
        said.reasoning(&chunk.reasoning, None);
        said.text(&chunk.text);
        for piece in chunk.calls {
            said.events.extend(self.calls.take(piece)?);
        }
        Some(said)
    }
}
