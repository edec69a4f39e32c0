//! Between two steps of a turn: what the model called is run, and the next step is told what it gave.

use super::accepted::Refused;
use super::answer::{Answer, End, Work, append_sources, failed};
use super::part::Part;
use super::prompt;
use super::speech::Speech;
use crate::llm::{
    ChatEvent, ChatMessage, ChatRequest, Content, FinishReason, Role, ToolCall, ToolResult, tokens,
};
use crate::retrieval::Passage;
use crate::store::DbError;
use crate::store::approvals::Approval;
use crate::tools::{Failed, Offer, Output, Scene};
use crate::types::ApprovalId;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

/// The most calls that one step may make.
const MAX_CALLS: usize = 5;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most bytes of what one gives that the model reads.
const MAX_OUTPUT: usize = 16 * 1024;

/// The most tokens that what one step calls embeds.
pub(super) fn most_embedded(tools: &Offer) -> i64 {
    i64::try_from(MAX_CALLS * tools.most_embedded()).unwrap_or(i64::MAX)
}

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
        if calls.iter().any(|call| self.opened.tools.needs_approval(&call.name)) {
            return Err(self.wait_for_approval(&calls, answer).await);
        }
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

    /// Ends the turn with the calls that somebody has to agree to. Others of the same step are not run: the
    /// model can make them again.
    async fn wait_for_approval(&self, calls: &[ToolCall], answer: &mut Answer) -> End {
        let needs = |call: &&ToolCall| self.opened.tools.needs_approval(&call.name);
        let row = |call: &ToolCall| Approval {
            tenant_id: self.order.ctx.tenant,
            id: ApprovalId::new(),
            turn_id: self.order.turn,
            call_id: call.id.clone(),
            tool: call.name.clone(),
            arguments: call.arguments.replace('\0', ""),
            signature: call.signature.clone(),
        };
        let rows: Vec<Approval> = calls.iter().filter(needs).take(MAX_CALLS).map(row).collect();
        if let Err(error) = self.keep(&rows).await {
            tracing::error!(turn.id = %self.order.turn, %error, "A call that waits was not kept");
            return failed("unavailable", "The answer could not go on. Ask again.", true);
        }
        if answer.speech.text.trim().is_empty() {
            // An answer without a word would be left out of what the next turn remembers.
            let names: Vec<String> = rows.iter().map(|row| format!("`{}`", row.tool)).collect();
            let text = format!("I need your approval to call {}.", names.join(" and "));
            answer.speech.say(ChatEvent::Text(text));
            answer.speech.close();
        }
        for row in rows {
            self.log.append(&Part::DataApproval { id: row.id.to_string(), data: row.into() });
        }
        answer.finish = Some(FinishReason::ToolCalls);
        End::Complete
    }

    async fn keep(&self, rows: &[Approval]) -> Result<(), DbError> {
        let mut tx = self.parts.db.tenant(self.order.ctx.tenant).await?;
        for row in rows {
            row.insert(&mut tx).await?;
        }
        tx.commit().await
    }

    /// What was decided comes first in the turn that follows a decision.
    pub(super) async fn begin_decided(&self, request: &mut ChatRequest, answer: &mut Answer) {
        let Some((call, approved)) = &self.opened.decided else { return };
        self.log.append(&Part::ToolInputAvailable {
            tool_call_id: call.id.clone(),
            tool_name: call.name.clone(),
            input: call.input().unwrap_or_else(|| Value::String(call.arguments.clone())),
        });
        let output = match approved {
            true => self.run_call(0, call, &answer.passages).await,
            false => Err(Failed("The user declined this call.".into())),
        };
        let content = vec![Content::ToolCall(call.clone())];
        request.messages.push(ChatMessage { role: Role::Assistant, content });
        let content = vec![Content::ToolResult(self.tell(call, output, answer))];
        request.messages.push(ChatMessage { role: Role::Tool, content });
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
        let scene = Scene { tenant, passages, collections, space: &self.opened.space };
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
