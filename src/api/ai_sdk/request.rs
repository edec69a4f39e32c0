//! The body that the AI SDK's `DefaultChatTransport` sends. Of the messages only the last question is read, and the
//! ids around it: what was said before is what is stored here.

use crate::api::problem::Problem;
use crate::types::{ChatName, MessageId};
use serde::Deserialize;
use utoipa::ToSchema;

/// A chat as its client has it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChatBody {
    /// The client's name for the chat (1 to 200 printable ASCII characters), or the id of a conversation.
    id: String,
    /// The last one is the question.
    messages: Vec<UiMessage>,
    #[serde(default)]
    trigger: Trigger,
    /// The message that is edited, or answered again.
    message_id: Option<String>,
    /// Slug or id; left out, the conversation's or the tenant's default. Not the AI SDK's: set it in the
    /// transport's `body`.
    pub(super) assistant: Option<String>,
}

/// Why it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Trigger {
    #[default]
    SubmitMessage,
    RegenerateMessage,
}

#[derive(Deserialize, ToSchema)]
pub(super) struct UiMessage {
    #[serde(default)]
    id: String,
    role: String,
    #[serde(default)]
    parts: Vec<UiPart>,
}

#[derive(Deserialize, ToSchema)]
pub(super) struct UiPart {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

impl ChatBody {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice(bytes)
            .map_err(|error| Problem::invalid(format!("The body is not as documented: {error}.")))
    }

    pub(super) fn name(&self) -> Result<ChatName, Problem> {
        ChatName::parse(&self.id).map_err(|error| Problem::invalid(format!("{error}.")).about("id"))
    }

    /// What is asked: the text of the last message.
    pub(super) fn text(&self) -> Result<String, Problem> {
        let last = self.messages.last().filter(|message| message.role == "user");
        let wrong = |detail| Problem::invalid(detail).about("messages");
        let last = last.ok_or_else(|| wrong("The last message must be the user's."))?;
        if last.parts.iter().any(|part| part.kind == "file") {
            return Err(wrong("Files in messages are not taken: upload them as documents."));
        }
        let texts = last.parts.iter().filter(|part| part.kind == "text");
        Ok(texts.filter_map(|part| part.text.as_deref()).collect::<Vec<_>>().join("\n"))
    }

    /// Whether a stored question is meant: edited, or answered again.
    pub(super) fn of_stored(&self) -> bool {
        self.message_id.is_some() || self.regenerates()
    }

    pub(super) fn regenerates(&self) -> bool {
        self.trigger == Trigger::RegenerateMessage
    }

    /// The id of ours that is named, if it is one.
    pub(super) fn message(&self) -> Option<MessageId> {
        self.message_id.as_deref()?.parse().ok()
    }

    /// The answers before the question, the last one first. Their ids are ours, as `start` told them.
    pub(super) fn answers(&self) -> impl Iterator<Item = MessageId> {
        let answers = self.messages.iter().rev().filter(|message| message.role == "assistant");
        answers.filter_map(|message| message.id.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body(value: &Value) -> Result<ChatBody, Problem> {
        ChatBody::parse(value.to_string().as_bytes())
    }

    #[test]
    fn the_last_message_is_the_question() {
        let asked = json!({"id": "c", "messages": [
            {"id": "a", "role": "user", "parts": [{"type": "text", "text": "Before."}]},
            {"id": "b", "role": "user", "metadata": {"x": 1},
             "parts": [{"type": "data-x", "data": []}, {"type": "text", "text": "One"}, {"type": "text", "text": "two?"}]}]});
        let read = body(&asked).unwrap();
        assert_eq!(read.text().unwrap(), "One\ntwo?");
        assert!(!read.of_stored() && read.message().is_none() && read.answers().next().is_none());
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        for (last, word) in [
            (json!({"id": "a", "role": "assistant", "parts": []}), "user's"),
            (
                json!({"id": "a", "role": "user", "parts": [{"type": "file", "url": "data:"}]}),
                "upload",
            ),
        ] {
            let problem =
                body(&json!({"id": "c", "messages": [last]})).unwrap().text().unwrap_err();
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
        assert!(body(&json!({"id": "c", "messages": []})).unwrap().text().is_err());
        assert!(body(&json!({"id": "c", "messages": [], "trigger": "resume"})).is_err());
        assert!(body(&json!({"id": "ü", "messages": []})).unwrap().name().is_err());
    }
}
