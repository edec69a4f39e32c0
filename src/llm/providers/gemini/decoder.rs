//! Responses in, what they say out: each frame is a whole response that holds the next piece.

use serde_json::{Value, json};
use std::time::Duration;

use super::OWNER;
use crate::{
    llm::{
        ChatEvent, FinishReason, TokenUsage,
        providers::limits,
        providers::said::{Decode, Said, count, made_up_id, part_of},
        providers::signature,
    },
    net::Complaint,
    types::Secret,
};

/// Reads one answer.
#[derive(Debug, Default)]
pub(in crate::llm::providers) struct Decoder {
    calls: u32,
}

impl Decode for Decoder {
    fn read(&mut self, _name: &str, data: &str) -> Option<Said> {
        let response: Value = serde_json::from_str(data).ok().filter(Value::is_object)?;
        if response.get("error").is_some_and(|error| !error.is_null()) {
            return Some(Said { failure: Some(response), ..Said::default() });
        }
        let candidate = response.get("candidates").and_then(|all| all.as_array()?.first());
        let blocked = response.get("promptFeedback").and_then(|said| said.get("blockReason"));
        if let (None, Some(reason)) = (candidate, blocked.and_then(Value::as_str)) {
            return Some(Said::failed("content_filter", reason));
        }
        let mut said = Said::default();
        let content = candidate.and_then(|candidate| candidate.get("content"));
        let parts = content.and_then(|content| content.get("parts")).and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            self.part(part, &mut said)?;
        }
        match candidate.map(|candidate| text(candidate, "finishReason")).unwrap_or_default() {
            // The model tried to call something and did not manage: asked again, it may.
            "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "MALFORMED_RESPONSE" => {
                return Some(Said::failed("malformed_answer", "the model wrote no valid call"));
            }
            reason => said.finish = finish(reason),
        }
        said.usage = response.get("usageMetadata").map(usage).unwrap_or_default();
        Some(said)
    }

    /// The word is in `status`, `code` repeats the number; a bad key is told in the details.
    fn complaint(&self, body: &Value, key: Option<&Secret>) -> Complaint {
        let Some(error) = first(body).get("error").filter(|error| error.get("status").is_some())
        else {
            return Complaint::parse(first(body), key);
        };
        let reasons = details(error).filter_map(|detail| detail.get("reason")?.as_str());
        let code = match reasons.into_iter().find(|reason| *reason == "API_KEY_INVALID") {
            Some(reason) => reason,
            None => text(error, "status"),
        };
        let code = code.to_ascii_lowercase();
        Complaint::parse(&json!({"code": code, "message": error.get("message")}), key)
    }

    fn retry_after(&self, body: &Value) -> Option<Duration> {
        let error = first(body).get("error")?;
        details(error).find_map(|detail| limits::duration(detail.get("retryDelay")?.as_str()?))
    }
}

impl Decoder {
    fn part(&mut self, part: &Value, said: &mut Said) -> Option<()> {
        let signature = text(part, "thoughtSignature");
        let sealed = (!signature.is_empty()).then(|| signature::seal(OWNER, signature));
        if let Some(call) = part.get("functionCall") {
            let index = self.calls;
            self.calls = index.checked_add(1)?;
            let id = match text(call, "id") {
                "" => made_up_id(),
                id => id.to_owned(),
            };
            let name = text(call, "name").to_owned();
            said.events.push(ChatEvent::ToolBegin { index, id, name, signature: sealed });
            if let Some(args) = call.get("args").filter(|args| args.is_object()) {
                said.input(index, &args.to_string());
            }
        } else if part.get("thought").and_then(Value::as_bool) == Some(true) {
            said.reasoning(text(part, "text"), sealed);
        } else {
            said.text(text(part, "text"));
            // A signature of what was just said.
            said.reasoning("", sealed);
        }
        Some(())
    }
}

/// A refusal is sometimes a list of one.
fn first(body: &Value) -> &Value {
    body.as_array().and_then(|bodies| bodies.first()).unwrap_or(body)
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error.get("details").and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn finish(reason: &str) -> Option<FinishReason> {
    Some(match reason {
        "" | "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE"
        | "IMAGE_SAFETY" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    })
}

/// What tools put into the prompt and what was thought are counted beside the rest.
fn usage(usage: &Value) -> TokenUsage {
    let named = |key: &str| count(usage.get(key));
    let plus = |whole: Option<u64>, key: &str| Some(whole?.saturating_add(named(key).unwrap_or(0)));
    let input = plus(named("promptTokenCount"), "toolUsePromptTokenCount");
    // A response that only thought so far has no candidates to count.
    let thought = named("thoughtsTokenCount");
    let shown = named("candidatesTokenCount").or(thought.map(|_thought| 0));
    let output = plus(shown, "thoughtsTokenCount");
    TokenUsage {
        input,
        cached: part_of(input, named("cachedContentTokenCount")),
        cache_written: None,
        output,
        reasoning: part_of(output, thought),
    }
}
