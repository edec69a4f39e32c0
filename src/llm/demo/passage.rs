//! The passages of a prompt and the question, read back as a model would read them.
//!
//! A passage is fenced exactly as
//! `<passage n="1" file="handbook.pdf" page="3">`, its text on lines of its own, `</passage>`.

use std::collections::BTreeMap;

use crate::llm::{ChatMessage, Role};

const OPEN: &str = "<passage ";
const CLOSE: &str = "</passage>";

/// One numbered passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    /// The number to cite.
    pub(super) n: u32,
    /// The text between the fences.
    pub(super) text: String,
}

/// A prompt taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Prompt {
    /// By number; where a number comes twice, the later message wins.
    pub(super) passages: Vec<Passage>,
    /// The last user message without its passages.
    pub(super) question: String,
    /// The user message before it, which a short follow-up leans on.
    pub(super) before: String,
}

impl Prompt {
    pub(super) fn read(messages: &[ChatMessage]) -> Self {
        let mut passages = BTreeMap::new();
        let (mut question, mut before) = (String::new(), String::new());
        for message in messages.iter().filter(|message| message.role != Role::Assistant) {
            let rest = take_passages(&message.text(), &mut passages);
            if message.role == Role::User {
                before = std::mem::replace(&mut question, rest);
            }
        }
        let passages = passages.into_iter().map(|(n, text)| Passage { n, text }).collect();
        Self { passages, question, before }
    }
}

/// Moves the passages of `content` into `found`; what remains is returned.
fn take_passages(content: &str, found: &mut BTreeMap<u32, String>) -> String {
    let mut rest = content;
    let mut outside = String::new();
    while let Some((text, fenced)) = rest.split_once(OPEN) {
        outside.push_str(text);
        let parsed = fenced.split_once(">\n").and_then(|(attributes, body)| {
            let n = attribute(attributes, "n")?.parse().ok()?;
            let (body, after) = body.split_once(CLOSE)?;
            Some((n, body.trim(), after))
        });
        if let Some((n, body, after)) = parsed {
            found.insert(n, body.to_owned());
            rest = after;
        } else {
            outside.push_str(OPEN);
            rest = fenced;
        }
    }
    outside.push_str(rest);
    outside
}

/// The value of `name="…"` in the attributes of a tag.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let value = attributes.split_whitespace().find_map(|part| part.strip_prefix(name))?;
    value.strip_prefix("=\"")?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_and_question_come_apart() {
        let system = "Rules.\n<passage n=\"1\" file=\"my handbook.pdf\" page=\"3-4\">\nOne.\n\n\
                      Two > one.\n</passage>\n<passage n=\"2\" file=\"b.md\" page=\"1\">\nB\n</passage>";
        let messages = [
            ChatMessage::new(Role::System, system),
            ChatMessage::new(Role::User, "First?"),
            ChatMessage::new(Role::Assistant, "<passage n=\"9\" page=\"1\">\nno\n</passage>"),
            ChatMessage::new(Role::User, "Why? <passage n=\"2\" page=\"1\">\nnew\n</passage>"),
        ];
        let prompt = Prompt::read(&messages);
        assert_eq!(prompt.question.trim(), "Why?");
        assert_eq!(prompt.before, "First?");
        let passages = [(1, "One.\n\nTwo > one."), (2, "new")];
        let passages = passages.map(|(n, text)| Passage { n, text: text.to_owned() });
        assert_eq!(prompt.passages, passages);
    }

    #[test]
    fn broken_fences_are_text() {
        for text in ["<passage n=\"1\">\nno end", "<passage n=\"x\">\n</passage>", "<passage ", ""]
        {
            let prompt = Prompt::read(&[ChatMessage::new(Role::User, text)]);
            assert!(prompt.passages.is_empty());
            assert_eq!(prompt.question, text);
        }
    }
}
