//! A step of a turn: one model that is asked and answers. Most turns have one; a turn whose answer broke
//! off, or whose model calls tools, has more.

use crate::llm::router::{Attempt, Failure};
use crate::llm::{LlmError, TokenUsage};
use crate::metering::{Item, StepBill};
use crate::types::{Meter, Provenance};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of a step; as `turns.steps` keeps it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) model: String,
    pub(super) provider: String,
    /// Our own count of what the model was sent; 0 until it is asked.
    pub(super) prompt_tokens: u32,
    /// Our own count of what it wrote, text, thoughts and calls; 0 while it writes.
    pub(super) output_tokens: u32,
    /// What the provider counted.
    pub(super) usage: TokenUsage,
    /// It ended badly.
    pub(super) failed: bool,
    /// Who was asked, for admins.
    pub(super) attempts: Vec<Attempt>,
}

impl Step {
    /// Ends with its last attempt, which failed and is paid for.
    fn paid(mut self) -> Self {
        if let Some(last) = self.attempts.last() {
            (self.model, self.provider) = (last.model.clone(), last.provider.clone());
            (self.usage, self.failed) = (last.usage, true);
        }
        self
    }

    /// The answer that had begun broke off.
    pub(super) fn broke(&mut self, error: &LlmError) {
        if let Some(last) = self.attempts.last_mut() {
            last.error = Some(Failure::from(error));
        }
    }

    /// What is billed, by the published rules: an answer with its prompt; a stop, the prompt and what was
    /// produced; a failure before the first token nothing but what the provider reported.
    pub(super) fn bill(&self) -> StepBill {
        let usage = &self.usage;
        let nothing = self.failed && self.output_tokens == 0 && !reported(usage);
        let mut items = Vec::new();
        if (self.prompt_tokens > 0 || self.output_tokens > 0) && !nothing {
            let input = (Meter::InputTokens, Meter::CachedInputTokens);
            items.extend(split(input, usage.input, usage.cached, self.prompt_tokens));
            let output = (Meter::OutputTokens, Meter::ReasoningTokens);
            items.extend(split(output, usage.output, usage.reasoning, self.output_tokens));
        }
        StepBill { model: Some(self.model.clone()), items }
    }
}

/// The steps of a turn so far; shared with the journal, which writes them down.
#[derive(Clone, Default)]
pub(super) struct Steps(Arc<Mutex<(u64, Vec<Step>)>>);

impl Steps {
    /// One more begins.
    pub(super) fn begin(&self, step: Step) {
        self.with(|steps| steps.push(step));
    }

    /// Changes the one that is under way.
    pub(super) fn change(&self, change: impl FnOnce(&mut Step)) {
        self.with(|steps| steps.last_mut().map(change));
    }

    /// Notes whom the step under way asked. Who failed and reported usage wants to be paid for it: there a
    /// step of its own ends, before this one.
    pub(super) fn asked(&self, attempts: Vec<Attempt>) {
        self.with(|steps| {
            let Some(mut step) = steps.pop() else { return };
            for attempt in attempts {
                let ends = attempt.error.is_some() && reported(&attempt.usage);
                step.attempts.push(attempt);
                if ends {
                    let next = Self::after(&step);
                    steps.push(std::mem::replace(&mut step, next).paid());
                }
            }
            steps.push(step);
        });
    }

    /// The same question, put to the next.
    fn after(step: &Step) -> Step {
        let Step { model, provider, prompt_tokens, .. } = step;
        let (model, provider) = (model.clone(), provider.clone());
        Step { model, provider, prompt_tokens: *prompt_tokens, ..Step::default() }
    }

    pub(super) fn all(&self) -> Vec<Step> {
        self.locked().1.clone()
    }

    /// The steps as the turn's row keeps them, with their version, when that is not `known`; no version is 0.
    pub(super) fn since(&self, known: u64) -> Option<(u64, serde_json::Value)> {
        let steps = self.locked();
        (steps.0 != known).then(|| (steps.0, json(&steps.1)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Step>) -> T) -> T {
        let mut steps = self.locked();
        steps.0 += 1;
        work(&mut steps.1)
    }

    fn locked(&self) -> MutexGuard<'_, (u64, Vec<Step>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the turn's row keeps them.
pub(super) fn json(steps: &[Step]) -> serde_json::Value {
    // Serialising our own structs into memory cannot fail.
    serde_json::to_value(steps).unwrap_or_default()
}

fn reported(usage: &TokenUsage) -> bool {
    usage.input.is_some() || usage.output.is_some()
}

/// A total that the provider reported, without and with its special part; our own count where it
/// reported none.
fn split(
    (plain, special): (Meter, Meter),
    total: Option<u64>,
    part: Option<u64>,
    counted: u32,
) -> Vec<Item> {
    let Some(total) = total else {
        let quantity = i64::from(counted);
        return vec![Item { meter: plain, quantity, provenance: Provenance::Estimated }];
    };
    let part = part.unwrap_or(0).min(total);
    let mut items = vec![Item::exact(plain, quantity(total - part))];
    if part > 0 {
        items.push(Item::exact(special, quantity(part)));
    }
    items
}

/// A count of tokens as the ledger has it.
pub(super) fn quantity(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
