//! Tokens of a prompt: those of its texts and those of its envelope.

use super::ChatMessage;

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
        .map(|message| count(&message.content).saturating_add(PER_MESSAGE))
        .fold(PER_PROMPT, u32::saturating_add)
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
