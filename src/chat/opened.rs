//! An opened turn: all that its answer is made from.

use super::asked::{Given, Wishes};
use super::history::{self, History};
use super::prompt;
use crate::embedding::Space;
use crate::guard::Rules;
use crate::llm::router::Route;
use crate::llm::{ChatMessage, ChatRequest, Role, Sampling, ToolCall};
use crate::metering::Prices;
use crate::retrieval::Passage;
use crate::store::reservations::Limit;
use crate::store::summaries::Remembered;
use crate::tools::Offer;
use crate::types::{AssistantId, MessageId};
use std::sync::Arc;

/// An opened turn.
pub(super) struct Opened {
    pub(super) question: MessageId,
    /// What the question says.
    pub(super) text: String,
    pub(super) answer: MessageId,
    /// Whose the conversation is.
    pub(super) assistant: AssistantId,
    /// Whose the turn is in the sums by assistant: nobody's when a model was named instead of one.
    pub(super) billed_to: Option<AssistantId>,
    /// The models that may answer.
    pub(super) route: Arc<Route>,
    /// What embeds the question, and is billed for it.
    pub(super) space: Space,
    /// What the turn was quoted.
    pub(super) prices: Prices,
    /// The limits that the turn counts against, where they stand with it.
    pub(super) standing: Vec<Limit>,
    pub(super) instructions: String,
    /// `None`: that of the question.
    pub(super) language: Option<String>,
    pub(super) temperature: Option<f32>,
    /// Empty: all documents.
    pub(super) collections: Vec<String>,
    /// What the model may call.
    pub(super) tools: Offer,
    pub(super) history: History,
    /// What was decided of a call that waited, and whether it may be made.
    pub(super) decided: Option<(ToolCall, bool)>,
    /// Instead of question and history.
    pub(super) given: Option<Arc<Given>>,
    /// What is kept out of the answer.
    pub(super) rules: Arc<Rules>,
    pub(super) max_output: u32,
    pub(super) wishes: Wishes,
}

impl Opened {
    /// The models that may answer, from one candidate on.
    pub(super) fn models(&self, from: usize) -> Vec<String> {
        self.route.candidates.iter().skip(from).map(|candidate| candidate.id.clone()).collect()
    }

    /// Remembers what was said before; returns the message that the question follows.
    pub(super) fn recall(&mut self, earlier: &[Remembered]) -> Option<MessageId> {
        self.history = History::new(earlier, history::budget(&self.route));
        earlier.last().map(|last| last.message.id)
    }

    /// What to search for; `None` when no assistant answers.
    pub(super) fn search_text(&self) -> Option<String> {
        self.billed_to?;
        Some(history::search_text(&self.text, &self.history.messages))
    }

    /// What the model is asked, with these passages.
    pub(super) fn request(&self, passages: &[Passage]) -> ChatRequest {
        let mut messages = Vec::with_capacity(self.history.messages.len() + 4);
        if self.billed_to.is_some() {
            // Apart: providers keep in mind what is the same from turn to turn.
            let system = prompt::system(&self.instructions, self.language.as_deref());
            messages.push(ChatMessage::new(Role::System, system));
            let summary = self.history.summary.as_deref().map(prompt::remembered);
            messages.extend(summary.map(|summary| ChatMessage::new(Role::System, summary)));
            messages.push(ChatMessage::new(Role::System, prompt::quoted(passages)));
        }
        match &self.given {
            Some(given) => messages.extend_from_slice(&given.messages),
            None => {
                messages.extend_from_slice(&self.history.messages);
                messages.push(ChatMessage::new(Role::User, self.text.as_str()));
            }
        }
        let theirs = self.given.as_ref().filter(|given| !given.tools.is_empty());
        let Wishes { tool_choice, format, sampling, effort, .. } = self.wishes.clone();
        ChatRequest {
            tools: theirs.map_or_else(|| self.tools.definitions(), |given| given.tools.clone()),
            tool_choice,
            format,
            sampling: Sampling {
                temperature: sampling.temperature.or(self.temperature),
                ..sampling
            },
            effort,
            ..ChatRequest::new("", messages, self.max_output)
        }
    }
}
