//! What models say, written into the log: blocks of text and of thoughts, calls of tools.

use super::log::TurnLog;
use super::part::Part;
use crate::llm::{ChatEvent, ToolCall};
use serde_json::Value;
use std::sync::Arc;

/// The most text an answer may have, whatever the provider sends.
const MAX_BYTES: usize = 1 << 20;

/// The voice of a turn. Dropping the work that feeds it loses nothing that it has said.
pub(super) struct Speech {
    log: Arc<TurnLog>,
    /// All text of the turn.
    pub(super) text: String,
    /// All that the model wrote in this step, thoughts and calls included.
    pub(super) written: String,
    /// The calls of this step.
    pub(super) calls: Vec<ToolCall>,
    open: Option<(Block, String)>,
    blocks: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Reasoning,
}

impl Speech {
    pub(super) fn new(log: Arc<TurnLog>) -> Self {
        let (text, written) = (String::new(), String::new());
        Self { log, text, written, calls: Vec::new(), open: None, blocks: 0 }
    }

    /// True when there is more than anybody will read.
    pub(super) fn too_long(&self) -> bool {
        self.text.len().max(self.written.len()) > MAX_BYTES
    }

    /// Says it; true when it was something to hear.
    pub(super) fn say(&mut self, event: ChatEvent) -> bool {
        match event {
            ChatEvent::Text(text) => self.words(Block::Text, &text),
            ChatEvent::Reasoning { text, .. } => self.words(Block::Reasoning, &text),
            ChatEvent::ToolBegin { id, name, signature, .. } => {
                self.close();
                self.written.push_str(&name);
                let part =
                    Part::ToolInputStart { tool_call_id: id.clone(), tool_name: name.clone() };
                self.log.append(&part);
                self.calls.push(ToolCall { id, name, arguments: String::new(), signature });
                true
            }
            ChatEvent::ToolInput { index, json } => {
                let call = usize::try_from(index).ok().and_then(|n| self.calls.get_mut(n));
                let Some(call) = call else { return false };
                call.arguments.push_str(&json);
                self.written.push_str(&json);
                let (tool_call_id, input_text_delta) = (call.id.clone(), json);
                self.log.append(&Part::ToolInputDelta { tool_call_id, input_text_delta });
                true
            }
            ChatEvent::Finished(_) | ChatEvent::Usage(_) => false,
        }
    }

    fn words(&mut self, block: Block, text: &str) -> bool {
        // PostgreSQL's text cannot hold NUL, and what is stored is what was streamed.
        let text = text.replace('\0', "");
        if text.is_empty() {
            return false;
        }
        self.written.push_str(&text);
        if block == Block::Text {
            self.text.push_str(&text);
        }
        let id = self.block(block);
        self.log.append(&match block {
            Block::Text => Part::TextDelta { id, delta: text },
            Block::Reasoning => Part::ReasoningDelta { id, delta: text },
        });
        true
    }

    /// The id of the open block of this kind.
    fn block(&mut self, block: Block) -> String {
        if let Some((open, id)) = &self.open
            && *open == block
        {
            return id.clone();
        }
        self.close();
        self.blocks += 1;
        let id = format!("{}{}", if block == Block::Text { "t" } else { "r" }, self.blocks);
        self.log.append(&match block {
            Block::Text => Part::TextStart { id: id.clone() },
            Block::Reasoning => Part::ReasoningStart { id: id.clone() },
        });
        self.open = Some((block, id.clone()));
        id
    }

    /// Ends the open block.
    pub(super) fn close(&mut self) {
        match self.open.take() {
            Some((Block::Text, id)) => self.log.append(&Part::TextEnd { id }),
            Some((Block::Reasoning, id)) => self.log.append(&Part::ReasoningEnd { id }),
            None => {}
        }
    }

    /// The calls of this step have all their arguments.
    pub(super) fn call(&mut self) {
        self.close();
        for call in &self.calls {
            self.log.append(&Part::ToolInputAvailable {
                tool_call_id: call.id.clone(),
                tool_name: call.name.clone(),
                input: call.input().unwrap_or_else(|| Value::String(call.arguments.clone())),
            });
        }
    }

    /// A further step begins.
    pub(super) fn next_step(&mut self) {
        self.close();
        self.written.clear();
        self.calls.clear();
        self.log.append(&Part::FinishStep {});
        self.log.append(&Part::StartStep {});
    }
}
