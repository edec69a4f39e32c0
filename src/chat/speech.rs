//! What models say, written into the log: blocks of text and of thoughts, calls of tools.

use super::log::TurnLog;
use super::part::{NoticeData, Part};
use crate::guard::{Blocked, Screen};
use crate::llm::{ChatEvent, Content, ToolCall};
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
    /// What the model said in this step, as it wants it back with the results of its calls.
    pub(super) said: Vec<Content>,
    /// Text of an earlier step comes before it: a paragraph ends there.
    apart: bool,
    open: Option<(Block, String)>,
    blocks: u32,
    /// What text and thoughts pass through before they are shown; `None`: there are no filters.
    screens: Option<Box<Screens>>,
}

struct Screens {
    text: Screen,
    thoughts: Screen,
    /// The reader knows that one of them blocks.
    told: bool,
}

impl Screens {
    fn blocked(&self) -> Option<&Blocked> {
        self.thoughts.blocked().or(self.text.blocked())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Text,
    Reasoning,
}

impl Speech {
    pub(super) fn new(log: Arc<TurnLog>) -> Self {
        let (text, written) = (String::new(), String::new());
        let said = Vec::new();
        Self { log, text, written, said, apart: false, open: None, blocks: 0, screens: None }
    }

    /// What is said from now on passes through filters.
    pub(super) fn screened(&mut self, text: Screen, thoughts: Screen) {
        self.screens = Some(Box::new(Screens { text, thoughts, told: false }));
    }

    /// A filter has ended the answer.
    pub(super) fn is_blocked(&self) -> bool {
        self.screens.as_ref().is_some_and(|screens| screens.blocked().is_some())
    }

    /// The text from `heard` on, as the model that is to go on from it has to know it.
    pub(super) fn since(&self, heard: usize) -> String {
        let shown = self.text.get(heard..).unwrap_or_default();
        let held = self.screens.as_ref().map(|screens| screens.text.held());
        format!("{shown}{}", held.unwrap_or_default())
    }

    /// The calls of this step.
    pub(super) fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.said.iter().filter_map(|content| match content {
            Content::ToolCall(call) => Some(call),
            _ => None,
        })
    }

    /// True when there is more than anybody will read.
    pub(super) fn too_long(&self) -> bool {
        self.text.len().max(self.written.len()) > MAX_BYTES
    }

    /// Says it; true when it was something to hear.
    pub(super) fn say(&mut self, event: ChatEvent) -> bool {
        match event {
            ChatEvent::Text(text) => self.words(Block::Text, &text),
            ChatEvent::Reasoning { text, signature } => {
                self.think(&text, signature);
                self.words(Block::Reasoning, &text)
            }
            ChatEvent::ToolBegin { id, name, signature, .. } => {
                self.close();
                if self.is_blocked() {
                    return false;
                }
                self.written.push_str(&name);
                let part =
                    Part::ToolInputStart { tool_call_id: id.clone(), tool_name: name.clone() };
                self.log.append(&part);
                let call = ToolCall { id, name, arguments: String::new(), signature };
                self.said.push(Content::ToolCall(call));
                true
            }
            ChatEvent::ToolInput { index, json } => {
                let calls = self.said.iter_mut().filter_map(|content| match content {
                    Content::ToolCall(call) => Some(call),
                    _ => None,
                });
                let call = usize::try_from(index).ok().and_then(|n| { calls }.nth(n));
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
        let mut text = text.replace('\0', "");
        if text.is_empty() {
            return false;
        }
        if block == Block::Text {
            self.note(&text);
            if std::mem::take(&mut self.apart) {
                text.insert_str(0, "\n\n");
            }
        }
        self.written.push_str(&text);
        match self.screens {
            None => self.show(block, text),
            Some(_) => self.screen(block, &text),
        }
    }

    fn show(&mut self, block: Block, text: String) -> bool {
        if text.is_empty() {
            return false;
        }
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

    /// Shows what the filters let through.
    fn screen(&mut self, block: Block, text: &str) -> bool {
        let Some(screens) = &mut self.screens else { return false };
        if block == Block::Reasoning {
            let thought = screens.thoughts.push(text);
            let shown = self.show(block, thought);
            self.heed();
            return shown;
        }
        self.end_of_thoughts();
        let Some(screens) = self.screens.as_mut().filter(|it| it.blocked().is_none()) else {
            return false;
        };
        let text = screens.text.push(text);
        let shown = self.show(block, text);
        self.heed();
        shown
    }

    fn end_of_thoughts(&mut self) {
        let Some(screens) = &mut self.screens else { return };
        let rest = screens.thoughts.finish();
        self.show(Block::Reasoning, rest);
        self.heed();
    }

    /// The reader is told, once, that a filter ended the answer.
    fn heed(&mut self) {
        let Some(screens) = self.screens.as_mut().filter(|screens| !screens.told) else { return };
        let Some(blocked) = screens.blocked() else { return };
        let data = NoticeData { code: "output_blocked".into(), text: blocked.to_string() };
        screens.told = true;
        self.end_block();
        self.log.append(&Part::DataNotice { data });
    }

    /// Keeps a thought. What follows a signature is another thought: the signature is of what it follows.
    fn think(&mut self, more: &str, signature: Option<String>) {
        if let Some(Content::Reasoning { text, signature: none @ None }) = self.said.last_mut() {
            text.push_str(more);
            *none = signature;
            return;
        }
        self.said.push(Content::Reasoning { text: more.to_owned(), signature });
    }

    fn note(&mut self, more: &str) {
        match self.said.last_mut() {
            Some(Content::Text(text)) => text.push_str(more),
            _ => self.said.push(Content::Text(more.to_owned())),
        }
    }

    /// The id of the open block of this kind.
    fn block(&mut self, block: Block) -> String {
        if let Some((open, id)) = &self.open
            && *open == block
        {
            return id.clone();
        }
        self.end_block();
        self.blocks += 1;
        let id = format!("{}{}", if block == Block::Text { "t" } else { "r" }, self.blocks);
        self.log.append(&match block {
            Block::Text => Part::TextStart { id: id.clone() },
            Block::Reasoning => Part::ReasoningStart { id: id.clone() },
        });
        self.open = Some((block, id.clone()));
        id
    }

    /// What is held back is shown, and the open block ends.
    pub(super) fn close(&mut self) {
        self.end_of_thoughts();
        if let Some(screens) = self.screens.as_mut().filter(|it| it.blocked().is_none()) {
            let rest = screens.text.finish();
            self.show(Block::Text, rest);
            self.heed();
        }
        self.end_block();
    }

    fn end_block(&mut self) {
        match self.open.take() {
            Some((Block::Text, id)) => self.log.append(&Part::TextEnd { id }),
            Some((Block::Reasoning, id)) => self.log.append(&Part::ReasoningEnd { id }),
            None => {}
        }
    }

    /// The calls of this step have all their arguments.
    pub(super) fn call(&mut self) {
        self.close();
        for call in self.calls() {
            self.log.append(&Part::ToolInputAvailable {
                tool_call_id: call.id.clone(),
                tool_name: call.name.clone(),
                input: call.input().unwrap_or_else(|| Value::String(call.arguments.clone())),
            });
        }
    }

    /// A further step begins, after the calls of this one.
    pub(super) fn next_after_calls(&mut self) {
        self.next_step();
        self.apart = !self.text.is_empty();
    }

    /// A further step begins.
    pub(super) fn next_step(&mut self) {
        self.end_block(); // a match may begin in one step and end in the next
        self.written.clear();
        self.said.clear();
        self.log.append(&Part::FinishStep {});
        self.log.append(&Part::StartStep {});
    }
}
