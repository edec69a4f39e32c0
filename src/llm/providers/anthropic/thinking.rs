//! How much a model thinks, and what it takes beside that.
//!
//! Models before 4.6 take a budget of tokens, later ones a word; from 4.7 on none takes sampling
//! parameters. A model that thinks cannot be forced to call a tool.

use serde::Serialize;

use crate::llm::{ChatRequest, Effort, Sampling, ToolChoice, providers::version::version};

/// The least budget that is taken.
const LEAST: u32 = 1_024;

/// How the model is told to think.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Thinking {
    Enabled { budget_tokens: u32 },
    Adaptive { display: &'static str },
}

/// What a request may say about thinking and sampling.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tuning {
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<Effort>,
    pub(super) temperature: Option<f32>,
    pub(super) top_p: Option<f32>,
}

impl Tuning {
    pub(super) fn of(request: &ChatRequest) -> Self {
        let version = version(&request.model).unwrap_or((u32::MAX, 0));
        let mut tuning = Self::default();
        if let Some(effort) = request.effort {
            tuning.effort = (version >= (4, 6)).then_some(effort);
            tuning.thinking = thinking(request, effort, version);
        }
        if version < (4, 7) && tuning.thinking.is_none() {
            // Both at once are refused.
            let Sampling { temperature, top_p, .. } = request.sampling;
            tuning.temperature = temperature.map(|heat| heat.clamp(0.0, 1.0));
            tuning.top_p = top_p.filter(|_| temperature.is_none());
        }
        tuning
    }
}

fn thinking(request: &ChatRequest, effort: Effort, version: (u32, u32)) -> Option<Thinking> {
    let forced = matches!(request.tool_choice, ToolChoice::Required | ToolChoice::Named(_));
    if version < (3, 7) || (forced && !request.tools.is_empty()) {
        return None;
    }
    if version >= (4, 6) {
        return Some(Thinking::Adaptive { display: "summarized" });
    }
    let wished = match effort {
        Effort::Low => 2_048,
        Effort::Medium => 8_192,
        Effort::High => 24_576,
    };
    // The budget is part of the answer's limit: half of it is left for what is shown.
    let budget_tokens = wished.min(request.max_output_tokens / 2);
    (budget_tokens >= LEAST).then_some(Thinking::Enabled { budget_tokens })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Tool;

    fn request(model: &str) -> ChatRequest {
        let mut request = ChatRequest::new(model, vec![], 10_000);
        request.sampling.temperature = Some(1.5);
        request.sampling.top_p = Some(0.9);
        request.effort = Some(Effort::Medium);
        request
    }

    #[test]
    fn each_model_thinks_its_own_way() {
        let budget = Some(Thinking::Enabled { budget_tokens: 5_000 });
        let adaptive = || Some(Thinking::Adaptive { display: "summarized" });
        for (model, thinking, effort, temperature) in [
            ("claude-3-5-haiku-latest", None, None, Some(1.0)),
            ("claude-sonnet-4-5", budget, None, None),
            ("claude-opus-4-6", adaptive(), Some(Effort::Medium), None),
            ("claude-opus-5", adaptive(), Some(Effort::Medium), None),
            ("house-model", adaptive(), Some(Effort::Medium), None),
        ] {
            let expected = Tuning { thinking, effort, temperature, top_p: None };
            assert_eq!(Tuning::of(&request(model)), expected, "{model}");
        }
        let mut short = request("claude-sonnet-4-5");
        short.max_output_tokens = 2_000;
        assert_eq!(Tuning::of(&short).thinking, None, "no room to think");
    }

    #[test]
    fn sampling_is_left_to_those_who_take_it() {
        let sampled = |model: &str| {
            let tuning = Tuning::of(&ChatRequest { effort: None, ..request(model) });
            (tuning.temperature, tuning.top_p)
        };
        assert_eq!(sampled("claude-opus-4-6"), (Some(1.0), None));
        assert_eq!(sampled("claude-opus-4-7"), (None, None));
        let mut only_top_p = ChatRequest { effort: None, ..request("claude-opus-4-5") };
        only_top_p.sampling.temperature = None;
        assert_eq!(Tuning::of(&only_top_p).top_p, Some(0.9));
    }

    #[test]
    fn a_forced_call_is_not_thought_about() {
        let mut forced = request("claude-sonnet-4-5");
        let (name, description) = ("t".to_owned(), String::new());
        forced.tools = vec![Tool { name, description, parameters: true.into(), strict: false }];
        assert!(Tuning::of(&forced).thinking.is_some());
        forced.tool_choice = ToolChoice::Required;
        assert_eq!(Tuning::of(&forced).thinking, None);
    }
}
