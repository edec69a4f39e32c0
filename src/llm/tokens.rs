//! Tokens of a prompt: those of its texts and those of its envelope.

use super::{ChatMessage, ChatRequest, Content};

pub use crate::text::tokens::{count, truncate};

/// Role marker and separators around each message, as OpenAI's chat format spends them.
const PER_MESSAGE: u32 = 4;
/// What opens the answer.
const PER_PROMPT: u32 = 3;

/// How many input tokens a prompt is. Within a few tokens of what OpenAI bills; other providers
/// wrap messages differently.
#[must_use]
pub fn count_messages(messages: &[ChatMessage]) -> u32 {
    messages
        .iter()
        .map(|message| {
            message.content.iter().map(count_content).fold(PER_MESSAGE, u32::saturating_add)
        })
        .fold(PER_PROMPT, u32::saturating_add)
}

/// How many input tokens a request is, what it says of tools included.
#[must_use]
pub fn count_request(request: &ChatRequest) -> u32 {
    let tools = request.tools.iter().map(|tool| {
        let texts = [&tool.name, &tool.description, &tool.parameters.to_string()];
        texts.iter().map(|text| count(text)).fold(PER_TOOL, u32::saturating_add)
    });
    tools.fold(count_messages(&request.messages), u32::saturating_add)
}

/// Providers count a picture by its size in pixels; this is a large one in full detail.
const PER_IMAGE: u32 = 1_600;
/// What frames a call or its result.
const PER_TOOL: u32 = 8;

fn count_content(content: &Content) -> u32 {
    match content {
        Content::Text(text) | Content::Reasoning { text, .. } => count(text),
        Content::Image(_) => PER_IMAGE,
        Content::ToolCall(call) => {
            PER_TOOL.saturating_add(count(&call.name)).saturating_add(count(&call.arguments))
        }
        Content::ToolResult(result) => PER_TOOL.saturating_add(count(&result.output)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Role;

    #[test]
    fn the_envelope_counts() {
        assert_eq!(count_messages(&[]), 3);
        let messages =
            [ChatMessage::new(Role::System, ""), ChatMessage::new(Role::User, "hello world")];
        assert_eq!(count_messages(&messages), 3 + 4 + 4 + 2);
    }
}
