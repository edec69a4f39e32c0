//! Between two steps of a turn: what the model called is run, and the next step is told what it gave.

use super::accepted::Refused;
use super::answer::{Answer, End, Work, append_sources, failed};
use super::part::Part;
use super::prompt;
use super::speech::Speech;
use crate::llm::{
    ChatMessage, ChatRequest, Content, FinishReason, Role, ToolCall, ToolResult, tokens,
};
use crate::retrieval::Passage;
use crate::tools::{Failed, Output, Scene};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

/// The most calls that one step may make.
const MAX_CALLS: usize = 5;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most bytes of what one gives that the model reads.
const MAX_OUTPUT: usize = 16 * 1024;

impl Work<'_> {
    /// True when the model waits for results that we are to bring. A call that was cut off, or that a
    /// client's tool shall answer, is not ours.
    pub(super) fn is_ours(&self, reason: FinishReason, speech: &Speech) -> bool {
        let waits = matches!(reason, FinishReason::ToolCalls | FinishReason::Stop);
        waits && !self.opened.tools.is_empty() && speech.calls().next().is_some()
    }

    /// Runs the calls of the step that ended, and prepares the request of the next one.
    pub(super) async fn use_tools(
        &self,
        request: &mut ChatRequest,
        from: usize,
        answer: &mut Answer,
    ) -> Result<(), End> {
        let calls: Vec<ToolCall> = answer.speech.calls().cloned().collect();
        let outputs =
            calls.iter().enumerate().map(|(n, call)| self.run_call(n, call, &answer.passages));
        let outputs = join_all(outputs).await;
        let said = std::mem::take(&mut answer.speech.said);
        request.messages.push(ChatMessage { role: Role::Assistant, content: said });
        for (call, output) in calls.iter().zip(outputs) {
            let content = vec![Content::ToolResult(self.tell(call, output, answer))];
            request.messages.push(ChatMessage { role: Role::Tool, content });
        }
        match self.extend(request, from).await {
            Ok(()) => {}
            Err(Refused::QuotaExceeded(_) | Refused::Unpriced) => {
                self.notice("quota_exceeded", "A quota is used up: the answer ends here.");
                answer.finish = Some(FinishReason::Length);
                return Err(End::Complete);
            }
            Err(error) => {
                tracing::error!(turn.id = %self.order.turn, %error, "No further step was reserved");
                return Err(failed("unavailable", "The answer could not go on. Ask again.", true));
            }
        }
        let written = tokens::count(&answer.speech.written);
        self.steps.change(|step| step.output_tokens = written);
        answer.speech.next_after_calls();
        Ok(())
    }

    async fn run_call(
        &self,
        n: usize,
        call: &ToolCall,
        passages: &[Passage],
    ) -> Result<Output, Failed> {
        if n >= MAX_CALLS {
            return Err(Failed(format!("No more than {MAX_CALLS} calls are run at once.")));
        }
        let (tenant, collections) = (self.order.ctx.tenant, self.opened.collections.as_slice());
        let scene = Scene { tenant, passages, collections };
        let outcome = self.parts.toolbox.call(scene, &self.opened.tools, call);
        let outcome = tokio::time::timeout(PATIENCE, outcome).await;
        outcome.unwrap_or_else(|_| Err(Failed("The tool took too long.".into())))
    }

    /// Writes down what a call gave, for readers; returns it for the model.
    fn tell(
        &self,
        call: &ToolCall,
        output: Result<Output, Failed>,
        answer: &mut Answer,
    ) -> ToolResult {
        let (id, name) = (call.id.clone(), call.name.clone());
        let tool_call_id = id.clone();
        let output = match output {
            Ok(output) => output,
            Err(Failed(why)) => {
                let part = Part::ToolOutputError { tool_call_id, error_text: why.clone() };
                self.log.append(&part);
                return ToolResult { id, name, output: why, failed: true };
            }
        };
        let (shown, output) = match output {
            Output::Value(value) => {
                let text = cut(value.to_string());
                (value, text)
            }
            Output::Passages(found) => {
                answer.embedding_tokens += found.embedding_tokens;
                answer.embedding_exact &= found.exact;
                let known = answer.passages.len();
                let (numbers, text) = number(&mut answer.passages, found.passages);
                append_sources(self.log, &answer.passages, known);
                (json!({"passages": numbers}), text)
            }
        };
        self.log
            .append(&Part::ToolOutputAvailable { tool_call_id, output: bounded(shown, &output) });
        ToolResult { id, name, output, failed: false }
    }
}

/// Gives each passage its number: the one that it has, or the next; with what the model reads of them.
fn number(known: &mut Vec<Passage>, found: Vec<Passage>) -> (Vec<usize>, String) {
    let (mut numbers, mut texts, mut length) = (Vec::new(), Vec::new(), 0);
    for passage in found {
        let same = |one: &Passage| {
            (one.document, one.page, &one.text) == (passage.document, passage.page, &passage.text)
        };
        let at = known.iter().position(same).unwrap_or(known.len());
        let text = prompt::fenced(at + 1, &passage);
        length += text.len();
        if length > MAX_OUTPUT && !texts.is_empty() {
            break;
        }
        if at == known.len() {
            known.push(passage);
        }
        numbers.push(at + 1);
        texts.push(text);
    }
    match texts.is_empty() {
        true => (numbers, "Nothing was found.".into()),
        false => (numbers, texts.join("\n\n")),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_OUTPUT {
        text.truncate(text.floor_char_boundary(MAX_OUTPUT));
        text.push_str("… (cut off)");
    }
    text
}

/// What readers are shown is no longer than what the model reads.
fn bounded(value: Value, text: &str) -> Value {
    if text.ends_with("… (cut off)") { Value::String(text.to_owned()) } else { value }
}
