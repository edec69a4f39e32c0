//! What a client asks for, read once at the edge: a question, an edited one, or another answer.

use crate::guard::{Blocked, Rules};
use crate::llm::{ChatMessage, Content, Effort, Format, Role, Sampling, Tool, ToolChoice};
use crate::types::{
    ApprovalId, AssistantId, ChatName, ConversationId, IdempotencyKey, MessageId, Question,
    QuestionError,
};
use std::sync::Arc;
use thiserror::Error;

/// A turn that is wished for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub what: What,
    /// Slug or id; `None` is the conversation's, or the tenant's default. With a given prompt also the name
    /// of a route or model, which answers without documents.
    pub assistant: Option<String>,
    /// Its draft is tried, by somebody who may edit it; `assistant` is an id then.
    pub draft: bool,
    /// A repeat with the same key attaches to the same turn.
    pub idempotency_key: Option<IdempotencyKey>,
    pub wishes: Wishes,
}

/// How an answer is wished for. What is left out is the assistant's, or as the provider likes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    pub tool_choice: ToolChoice,
    pub format: Format,
    pub sampling: Sampling,
    pub effort: Option<Effort>,
    /// The longest answer.
    pub max_output: Option<u32>,
    /// SHA-256 of the request that wishes it, to tell a repeat from another request with the same key.
    pub fingerprint: Vec<u8>,
}

/// What is to be answered.
#[derive(Clone, Debug)]
pub enum What {
    /// A question at the end of the active branch; without a conversation it begins one.
    Question { conversation: Option<ConversationId>, text: Question },
    /// The same in the conversation that the client has a name for; the first question begins it.
    Named { name: ChatName, conversation: Option<ConversationId>, text: Question },
    /// A question in place of another one, beside which it stands from then on.
    Edit { conversation: ConversationId, of: MessageId, text: Question },
    /// A stored question once more; named by itself or by one of its answers.
    Regenerate { conversation: ConversationId, message: MessageId },
    /// A person's word on a call that an earlier turn waits with; `text` says it in the conversation.
    Decision { conversation: ConversationId, approval: ApprovalId, approved: bool, text: Question },
    /// The end of a conversation that the client keeps: nothing of it is stored but the bill, and the log
    /// for a while.
    Given(Arc<Given>),
}

/// A prompt that a client brings along.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Not empty; the last one is what is answered.
    pub messages: Vec<ChatMessage>,
    /// Of the client: their calls end the answer, and the client brings the results. Without any, an assistant
    /// has its own.
    pub tools: Vec<Tool>,
}

impl Given {
    /// What is searched for: what the person said last.
    #[must_use]
    pub fn question(&self) -> String {
        let asked = self.messages.iter().rev().find(|message| message.role == Role::User);
        asked.map(ChatMessage::text).unwrap_or_default()
    }

    /// What a tenant's filters leave of it. All is looked at but what assistants said: what the client says
    /// that they said before is not what we answered.
    pub(super) fn filtered(
        self: &Arc<Self>,
        rules: &Rules,
        assistant: Option<AssistantId>,
    ) -> Result<Arc<Self>, Blocked> {
        if !rules.filter_input(assistant) {
            return Ok(Arc::clone(self));
        }
        let mut given = Self::clone(self);
        for message in given.messages.iter_mut().filter(|it| it.role != Role::Assistant) {
            if let Some(left) = rules.input(assistant, &message.text())? {
                message.content.retain(|content| !matches!(content, Content::Text(_)));
                message.content.insert(0, Content::Text(left));
            }
            for content in &mut message.content {
                if let Content::ToolResult(result) = content
                    && let Some(left) = rules.input(assistant, &result.output)?
                {
                    result.output = left;
                }
            }
        }
        Ok(Arc::new(given))
    }
}

/// Why a request asks for nothing.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AskedError {
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error("`edit_of` and `regenerate` name a message of a conversation: send `conversation_id`")]
    NoConversation,
    #[error("`regenerate` answers the stored question again: leave out `text` and `edit_of`")]
    TooMuch,
}

impl What {
    /// Reads the fields of a request.
    ///
    /// # Errors
    /// When they contradict each other, or the text is not a question.
    pub fn parse(
        conversation: Option<ConversationId>,
        text: Option<&str>,
        edit_of: Option<MessageId>,
        regenerate: Option<MessageId>,
    ) -> Result<Self, AskedError> {
        if regenerate.is_some() && (text.is_some() || edit_of.is_some()) {
            return Err(AskedError::TooMuch);
        }
        let known = || conversation.ok_or(AskedError::NoConversation);
        if let Some(message) = regenerate {
            return Ok(Self::Regenerate { conversation: known()?, message });
        }
        let text = Question::parse(text.unwrap_or_default())?;
        Ok(match edit_of {
            Some(of) => Self::Edit { conversation: known()?, of, text },
            None => Self::Question { conversation, text },
        })
    }
}

impl Asked {
    /// Where it is asked; `None` begins a conversation.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        match &self.what {
            What::Question { conversation, .. } | What::Named { conversation, .. } => *conversation,
            What::Edit { conversation, .. }
            | What::Regenerate { conversation, .. }
            | What::Decision { conversation, .. } => Some(*conversation),
            What::Given(_) => None,
        }
    }

    /// The new question; `None` when a stored one is answered again.
    #[must_use]
    pub fn question(&self) -> Option<&Question> {
        match &self.what {
            What::Question { text, .. }
            | What::Named { text, .. }
            | What::Edit { text, .. }
            | What::Decision { text, .. } => Some(text),
            What::Regenerate { .. } | What::Given(_) => None,
        }
    }

    /// What the client calls the conversation.
    #[must_use]
    pub fn name(&self) -> Option<&ChatName> {
        match &self.what {
            What::Named { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The prompt that the client brought along.
    #[must_use]
    pub fn given(&self) -> Option<&Arc<Given>> {
        match &self.what {
            What::Given(given) => Some(given),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_say_one_thing() {
        let (at, message) = (Some(ConversationId::new()), Some(MessageId::new()));
        let parse = What::parse;
        assert!(matches!(parse(None, Some("?"), None, None), Ok(What::Question { .. })));
        assert!(matches!(parse(at, Some("?"), message, None), Ok(What::Edit { .. })));
        assert!(matches!(parse(at, None, None, message), Ok(What::Regenerate { .. })));
        let error = |what: Result<What, AskedError>| what.unwrap_err();
        assert_eq!(error(parse(None, Some("?"), message, None)), AskedError::NoConversation);
        assert_eq!(error(parse(None, None, None, message)), AskedError::NoConversation);
        assert_eq!(error(parse(at, Some("?"), None, message)), AskedError::TooMuch);
        assert_eq!(error(parse(at, None, message, message)), AskedError::TooMuch);
        assert_eq!(error(parse(at, None, message, None)), QuestionError::Empty.into());
    }
}
