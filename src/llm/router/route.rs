//! A route: the models that may answer, in the order in which they are asked.

use crate::llm::{ChatModel, ChatRequest, Content, Format};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What happens when an answer breaks off after the first words were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterCut {
    /// The next model goes on from where it broke off.
    Continue,
    /// The answer ends as failed, with what there is.
    End,
}

/// What a model can do besides text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    pub tools: bool,
    pub images: bool,
    pub json_schema: bool,
    pub reasoning: bool,
}

impl Capabilities {
    /// Of a model that nobody described: the provider will say what it cannot do.
    pub const ALL: Self = Self { tools: true, images: true, json_schema: true, reasoning: true };

    /// What `request` needs and this lacks.
    #[must_use]
    pub fn lacks(self, request: &ChatRequest) -> Option<&'static str> {
        let image = |content: &Content| matches!(content, Content::Image(_));
        let images = || request.messages.iter().any(|message| message.content.iter().any(image));
        if !self.tools && !request.tools.is_empty() {
            Some("tools")
        } else if !self.json_schema && matches!(request.format, Format::Schema { .. }) {
            Some("json_schema")
        } else if !self.images && images() {
            Some("images")
        } else {
            None
        }
    }
}

/// A model of a route.
pub struct Candidate {
    /// As it is shown and billed.
    pub id: String,
    /// Whose it is, such as `openai`.
    pub provider: String,
    /// The provider's own name for it.
    pub name: String,
    pub model: Arc<dyn ChatModel>,
    /// Tokens of prompt and answer together.
    pub context_window: u32,
    /// The most tokens it writes in one answer.
    pub max_output: u32,
    pub capabilities: Capabilities,
    /// The longest one answer may take, from asking to its end.
    pub total: Duration,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} at {})", self.id, self.name, self.provider)
    }
}

/// What a name stands for.
#[derive(Debug)]
pub struct Route {
    pub name: String,
    /// In the order in which they are asked; never empty. Of a weighted route the order was drawn.
    pub candidates: Vec<Arc<Candidate>>,
    pub after_cut: AfterCut,
}
