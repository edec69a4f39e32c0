//! Events in, what they say out.
//!
//! An answer is a sequence of blocks, each begun, continued and ended by events that carry its number.
//! Read leniently: unknown events, blocks and fields mean nothing.

use serde_json::Value;

use super::{OWNER, REDACTED};
use crate::llm::{
    ChatEvent, FinishReason, TokenUsage,
    providers::said::{Decode, Said, count, made_up_id, part_of},
    providers::signature,
};

/// Reads one answer.
#[derive(Debug, Default)]
pub(in crate::llm::providers) struct Decoder {
    /// The numbers of the blocks that are calls, in order.
    calls: Vec<u64>,
    prompt: Prompt,
}

/// What the prompt cost. The three parts are told apart and later ones replace earlier ones.
#[derive(Debug, Default)]
struct Prompt {
    fresh: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
}

impl Decode for Decoder {
    fn read(&mut self, name: &str, data: &str) -> Option<Said> {
        let event: Value = serde_json::from_str(data).ok().filter(Value::is_object)?;
        let kind = event.get("type").and_then(Value::as_str).unwrap_or(name);
        let mut said = Said::default();
        match kind {
            "error" => said.failure = Some(event),
            "message_start" => {
                // The output counted so far is no count of the answer's.
                let usage = event.get("message").and_then(|message| message.get("usage"));
                said.usage = TokenUsage { output: None, ..self.usage(usage) };
            }
            "content_block_start" => self.begin(&event, &mut said)?,
            "content_block_delta" => self.go_on(&event, &mut said),
            "message_delta" => {
                let delta = event.get("delta");
                said.finish = delta.and_then(finish);
                said.usage = self.usage(event.get("usage"));
            }
            "message_stop" => said.done = true,
            "message" => self.whole(&event, &mut said)?,
            _ => {}
        }
        Some(said)
    }
}

impl Decoder {
    fn begin(&mut self, event: &Value, said: &mut Said) -> Option<()> {
        let number = event.get("index").and_then(Value::as_u64)?;
        said.alive = true;
        self.block(number, event.get("content_block")?, said)
    }

    /// A block, or what of it is there at its beginning.
    fn block(&mut self, number: u64, block: &Value, said: &mut Said) -> Option<()> {
        match text(block, "type") {
            "text" => said.text(text(block, "text")),
            "thinking" => {
                let signature = text(block, "signature");
                let sealed = (!signature.is_empty()).then(|| signature::seal(OWNER, signature));
                said.reasoning(text(block, "thinking"), sealed);
            }
            "redacted_thinking" => {
                said.reasoning("", Some(signature::seal(REDACTED, text(block, "data"))));
            }
            "tool_use" => {
                let index = u32::try_from(self.calls.len()).ok()?;
                self.calls.push(number);
                let (id, name) = (text(block, "id"), text(block, "name").to_owned());
                let id = if id.is_empty() { made_up_id() } else { id.to_owned() };
                said.events.push(ChatEvent::ToolBegin { index, id, name, signature: None });
                let input = block.get("input").and_then(Value::as_object);
                if let Some(input) = input.filter(|input| !input.is_empty()) {
                    said.input(index, &serde_json::to_string(input).ok()?);
                }
            }
            _ => {}
        }
        Some(())
    }

    fn go_on(&self, event: &Value, said: &mut Said) {
        let Some(delta) = event.get("delta") else { return };
        match text(delta, "type") {
            "text_delta" => said.text(text(delta, "text")),
            "thinking_delta" => said.reasoning(text(delta, "thinking"), None),
            "signature_delta" => {
                let sealed = signature::seal(OWNER, text(delta, "signature"));
                said.reasoning("", Some(sealed));
            }
            "input_json_delta" => {
                let number = event.get("index").and_then(Value::as_u64);
                // Tools that Anthropic runs itself have pieces, too.
                let call = self.calls.iter().position(|call| Some(*call) == number);
                if let Some(index) = call.and_then(|call| u32::try_from(call).ok()) {
                    said.input(index, text(delta, "partial_json"));
                }
            }
            _ => {}
        }
    }

    /// An answer that was not streamed.
    fn whole(&mut self, message: &Value, said: &mut Said) -> Option<()> {
        let blocks = message.get("content").and_then(Value::as_array)?;
        for (number, block) in (0..).zip(blocks) {
            self.block(number, block, said)?;
        }
        said.finish = finish(message);
        said.usage = self.usage(message.get("usage"));
        Some(())
    }

    /// The figures count from the beginning of the answer, and a later event may leave some out.
    fn usage(&mut self, usage: Option<&Value>) -> TokenUsage {
        let named = |key: &str| count(usage?.get(key));
        let Prompt { fresh, read, written } = &mut self.prompt;
        *fresh = named("input_tokens").or(*fresh);
        *read = named("cache_read_input_tokens").or(*read);
        *written = named("cache_creation_input_tokens").or(*written);
        let parts = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        let output = named("output_tokens");
        let details = usage.and_then(|usage| usage.get("output_tokens_details"));
        let thought = count(details.and_then(|details| details.get("thinking_tokens")));
        TokenUsage {
            input: fresh.map(|fresh| fresh.saturating_add(parts)),
            cached: *read,
            cache_written: *written,
            output,
            reasoning: part_of(output, thought),
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn finish(said: &Value) -> Option<FinishReason> {
    Some(match text(said, "stop_reason") {
        "" => return None,
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    })
}
