//! The tools of one assistant, as they are when its turn begins.

use super::builtin::Builtin;
use crate::llm::Tool;

/// What a model may call in a turn.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    pub(super) builtin: Vec<Builtin>,
}

impl Offer {
    /// As the model is told of them.
    #[must_use]
    pub fn definitions(&self) -> Vec<Tool> {
        self.builtin.iter().map(|tool| tool.definition()).collect()
    }

    /// True when there is nothing to call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.builtin.is_empty()
    }
}
