//! What was said before, as far as it fits.

use crate::llm::{ChatMessage, Role, tokens};
use crate::store::messages::Message;

/// How many messages are looked at.
pub(super) const LOOK_BACK: i64 = 24;
/// How many tokens of them go into a prompt.
const BUDGET: u32 = 3_000;

/// The newest messages that fit the budget, oldest first, beginning with a question. Answers that
/// failed before they said anything are left out with their question.
pub(super) fn fitting(messages: &[Message]) -> Vec<ChatMessage> {
    let mut picked: Vec<ChatMessage> = Vec::new();
    let mut left = BUDGET;
    let mut unanswered = false;
    for message in messages.iter().rev() {
        let question = message.role == "user";
        if message.content.is_empty() || (question && unanswered) {
            unanswered = !question;
            continue;
        }
        let cost = tokens::count(&message.content) + 4;
        if cost > left {
            break;
        }
        left -= cost;
        let role = if question { Role::User } else { Role::Assistant };
        picked.push(ChatMessage::new(role, message.content.as_str()));
    }
    picked.reverse();
    let first = picked.iter().position(|message| message.role == Role::User);
    first.map_or_else(Vec::new, |first| picked.split_off(first))
}

/// What to search for: a short follow-up ("and in 2023?") means little without the question before.
pub(super) fn search_text(question: &str, history: &[ChatMessage]) -> String {
    const SHORT: usize = 5;
    let before = history.iter().rev().find(|message| message.role == Role::User);
    match before {
        Some(before) if question.split_whitespace().count() <= SHORT => {
            format!("{} {question}", before.text())
        }
        _ => question.to_owned(),
    }
}
