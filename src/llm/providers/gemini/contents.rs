//! Our messages as Gemini wants them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

use super::OWNER;
use crate::llm::{ChatMessage, Content, Role, ToolCall, ToolResult, providers::signature};

/// Google's word for calls that Gemini did not make itself: since 3 it refuses those that nobody
/// signed.
const UNSIGNED: &str = "skip_thought_signature_validator";

/// A turn of one speaker, or the instructions.
#[derive(Serialize)]
pub(super) struct Turn {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Part>,
    /// Whose turn it is to us: results of tools are a turn of their own.
    #[serde(skip)]
    speaker: Role,
}

/// A piece of a turn: one of these.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Call>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<Response>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
}

/// A picture.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    mime_type: String,
    data: String,
}

#[derive(Serialize)]
struct Call {
    id: String,
    name: String,
    args: Value,
}

#[derive(Serialize)]
struct Response {
    id: String,
    name: String,
    response: Value,
}

/// The system messages.
pub(super) fn instructions(messages: &[ChatMessage]) -> Option<Turn> {
    let system = messages.iter().filter(|message| message.role == Role::System);
    let parts: Vec<Part> = system.flat_map(|message| &message.content).filter_map(part).collect();
    (!parts.is_empty()).then_some(Turn { role: None, parts, speaker: Role::System })
}

/// The other messages. `signed`: calls without a signature are refused.
pub(super) fn contents(messages: &[ChatMessage], signed: bool) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for message in messages.iter().filter(|message| message.role != Role::System) {
        let parts = message.content.iter().filter_map(part);
        match turns.last_mut() {
            // Results of several calls have to come in one turn.
            Some(turn) if turn.speaker == message.role => turn.parts.extend(parts),
            _ => {
                let role = if message.role == Role::Assistant { "model" } else { "user" };
                let parts = parts.collect();
                turns.push(Turn { role: Some(role), parts, speaker: message.role });
            }
        }
    }
    turns.retain(|turn| !turn.parts.is_empty());
    if signed {
        turns.iter_mut().for_each(sign);
    }
    turns
}

/// Of several calls at once only the first has a signature.
fn sign(turn: &mut Turn) {
    if let Some(first) = turn.parts.iter_mut().find(|part| part.function_call.is_some()) {
        first.thought_signature.get_or_insert_with(|| UNSIGNED.to_owned());
    }
}

fn part(content: &Content) -> Option<Part> {
    let mut part = Part::default();
    match content {
        Content::Text(text) if text.is_empty() => return None,
        Content::Text(text) => part.text = Some(text.clone()),
        Content::Image(image) => {
            let (mime_type, data) =
                (image.media_type.clone(), BASE64_STANDARD.encode(&image.bytes));
            part.inline_data = Some(Blob { mime_type, data });
        }
        // What nobody signed is of no use to it.
        Content::Reasoning { text, signature: sealed } => {
            part.thought_signature = Some(signature::open(OWNER, sealed.as_deref())?.to_owned());
            part.thought = !text.is_empty();
            part.text = Some(text.clone());
        }
        Content::ToolCall(call) => {
            let signature = signature::open(OWNER, call.signature.as_deref());
            part.thought_signature = signature.map(str::to_owned);
            part.function_call = Some(call_of(call));
        }
        Content::ToolResult(result) => part.function_response = Some(response(result)),
    }
    Some(part)
}

fn call_of(call: &ToolCall) -> Call {
    let args = call.input().unwrap_or_else(|| json!({}));
    Call { id: call.id.clone(), name: call.name.clone(), args }
}

fn response(result: &ToolResult) -> Response {
    let object = || serde_json::from_str(&result.output).ok().filter(Value::is_object);
    let response = match result.failed {
        true => json!({"error": result.output}),
        false => object().unwrap_or_else(|| json!({"output": result.output})),
    };
    Response { id: result.id.clone(), name: result.name.clone(), response }
}
