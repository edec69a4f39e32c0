//! What was said before, as far as it fits: the newest messages, and a summary of those before them.

use crate::llm::router::Route;
use crate::llm::{ChatMessage, Role, tokens};
use crate::store::messages::Message;
use crate::store::summaries::Remembered;
use crate::types::MessageId;

/// How many messages are looked at.
pub(super) const LOOK_BACK: i64 = 48;
/// The most tokens of them that go into a prompt, and the fewest where a model has little room.
const MOST: u32 = 6_000;
const LEAST: u32 = 500;
/// The part of a model's context window that is for them.
const PART: u32 = 4;
/// What a message costs besides its text.
const EACH: u32 = 4;

/// How many tokens of messages go into the prompts of a route: whoever answers has the room.
pub(super) fn budget(route: &Route) -> u32 {
    (window(route) / PART).clamp(LEAST, MOST)
}

/// The smallest context window of a route.
pub(super) fn window(route: &Route) -> u32 {
    route.candidates.iter().map(|candidate| candidate.context_window).min().unwrap_or(0)
}

/// What a turn remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Of all that was said before the messages.
    pub(super) summary: Option<String>,
    /// Oldest first, beginning with a question.
    pub(super) messages: Vec<ChatMessage>,
    /// What is not summed up, whether it fits or not: tokens, and a count of messages.
    weight: u32,
    count: usize,
}

impl History {
    /// The newest messages that fit the budget, after the nearest summary.
    pub(super) fn new(branch: &[Remembered], budget: u32) -> Self {
        let (summary, rest) = after_summary(branch);
        let costs: Vec<u32> = rest.iter().map(|said| cost(&said.message)).collect();
        Self {
            summary: summary.map(ToOwned::to_owned),
            messages: fitting(rest, &costs, budget),
            weight: costs.iter().copied().fold(0, u32::saturating_add),
            count: rest.len(),
        }
    }

    /// True when something falls out of the window once this was said, too.
    pub(super) fn is_full(&self, question: &str, answer: &str, budget: u32) -> bool {
        let more = tokens::count(question).saturating_add(tokens::count(answer)) + 2 * EACH;
        self.weight.saturating_add(more) > budget || is_long(self.count + 2)
    }
}

fn is_long(count: usize) -> bool {
    i64::try_from(count).is_ok_and(|count| count >= LOOK_BACK)
}

fn after_summary(branch: &[Remembered]) -> (Option<&str>, &[Remembered]) {
    match branch.split_first() {
        Some((Remembered { summary: Some(summary), .. }, rest)) => (Some(summary), rest),
        _ => (None, branch),
    }
}

fn cost(message: &Message) -> u32 {
    tokens::count(&message.content).saturating_add(EACH)
}

/// Answers that failed before they said anything are left out with their question.
fn fitting(branch: &[Remembered], costs: &[u32], budget: u32) -> Vec<ChatMessage> {
    let mut picked: Vec<ChatMessage> = Vec::new();
    let mut left = budget;
    let mut unanswered = false;
    for (Remembered { message, .. }, cost) in branch.iter().zip(costs).rev() {
        let question = message.role == "user";
        if message.content.is_empty() || (question && unanswered) {
            unanswered = !question;
            continue;
        }
        if *cost > left {
            break;
        }
        left -= *cost;
        let role = if question { Role::User } else { Role::Assistant };
        picked.push(ChatMessage::new(role, message.content.as_str()));
    }
    picked.reverse();
    let first = picked.iter().position(|message| message.role == Role::User);
    first.map_or_else(Vec::new, |first| picked.split_off(first))
}

/// What is to be summed up next: the summary so far, what was said since, and the last message of it.
pub(super) struct Due<'a> {
    pub(super) summary: Option<&'a str>,
    pub(super) messages: Vec<&'a Message>,
    pub(super) until: MessageId,
}

/// Of a branch that is too long for a prompt all but the newest half of what fits, and the last exchange;
/// `None` while all of it fits.
pub(super) fn due(branch: &[Remembered], budget: u32) -> Option<Due<'_>> {
    let (summary, rest) = after_summary(branch);
    let messages: Vec<&Message> = rest.iter().map(|said| &said.message).collect();
    let weight = |part: &[&Message]| part.iter().map(|it| cost(it)).fold(0, u32::saturating_add);
    if weight(&messages) <= budget && !is_long(messages.len()) {
        return None;
    }
    let kept = |from: &usize| {
        let part = messages.get(*from..).unwrap_or_default();
        let begins = part.first().is_none_or(|first| first.role == "user");
        let most = if part.len() <= 2 { budget } else { budget / 2 };
        begins && weight(part) <= most && !is_long(2 * part.len())
    };
    let from = (1..=messages.len()).find(kept)?;
    let messages = messages.get(..from)?.to_vec();
    let until = messages.last()?.id;
    Some(Due { summary, messages, until })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TurnId;
    use chrono::Utc;

    /// Questions and answers in turn, of so many words each.
    fn branch(words: &[usize]) -> Vec<Remembered> {
        let one = |(n, words): (usize, &usize)| Remembered {
            message: Message {
                id: MessageId::new(),
                parent_id: None,
                turn_id: TurnId::new(),
                role: if n % 2 == 0 { "user" } else { "assistant" }.into(),
                status: "complete".into(),
                content: "word ".repeat(*words).trim().into(),
                created_at: Utc::now(),
            },
            summary: None,
        };
        words.iter().enumerate().map(one).collect()
    }

    /// How many messages are to be summed up.
    fn summed(branch: &[Remembered], budget: u32) -> usize {
        due(branch, budget).map_or(0, |due| due.messages.len())
    }

    #[test]
    fn what_falls_out_of_the_window_is_summed_up_and_half_of_it_stays() {
        assert_eq!(summed(&branch(&[96; 10]), 1_000), 0, "it fits");
        assert_eq!(summed(&branch(&[96; 12]), 1_000), 8, "four of a hundred are less than half");
        assert_eq!(summed(&branch(&[10, 10, 96, 700]), 1_000), 0);
        assert_eq!(summed(&branch(&[96, 96, 96, 800]), 1_000), 2, "the last exchange stays whole");
        assert_eq!(summed(&branch(&[96, 96, 96, 2_000]), 1_000), 4, "unless it does not fit");
        assert_eq!(summed(&branch(&[1; 46]), 1_000), 0);
        let long = summed(&branch(&[1; 48]), 1_000);
        assert!(long > 24 && long < 48 && long.is_multiple_of(2), "short ones are many: {long}");
    }

    #[test]
    fn what_is_summed_up_is_not_repeated() {
        let mut said = branch(&[96; 12]);
        said.remove(0);
        said[0].summary = Some("Before.".into());
        let history = History::new(&said, 1_000);
        assert_eq!((history.summary.as_deref(), history.messages.len()), (Some("Before."), 10));
        assert_eq!(history.messages[0].role, Role::User);
        assert!(!history.is_full("", "", 1_008) && history.is_full("word", "", 1_008));
        let due = due(&said, 900).unwrap();
        assert_eq!((due.summary, due.messages.len()), (Some("Before."), 6));
        assert_eq!(due.until, said[6].message.id);
    }
}
