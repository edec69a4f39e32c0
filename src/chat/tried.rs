//! Whom a turn asked, and what became of it: for those who look after the models.

use super::step::Step;
use crate::llm::TokenUsage;
use crate::llm::router::Attempt;
use crate::store::turns::Turn;

/// A model that was asked, or passed over.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Of the turn, and of its rows in the ledger.
    pub step: usize,
    pub attempt: Attempt,
    /// What its provider counted, as far as it did.
    pub usage: TokenUsage,
}

/// In the order in which they were asked. Of a turn that runs, what its node has written down.
#[must_use]
pub fn tried(turn: &Turn) -> Vec<Tried> {
    let steps: Vec<Step> = serde_json::from_value(turn.steps.clone()).unwrap_or_default();
    let mut all = Vec::new();
    for (step, Step { attempts, usage, .. }) in steps.into_iter().enumerate() {
        // What a step counted is of the one that it ended with.
        let before = attempts.len().saturating_sub(1);
        all.extend(attempts.into_iter().enumerate().map(|(n, attempt)| {
            let usage = if n == before { usage } else { attempt.usage };
            Tried { step, attempt, usage }
        }));
    }
    all
}
