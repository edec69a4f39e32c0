//! Our messages as Anthropic wants them: two speakers in turn, results of tools said by the user.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

use super::{OWNER, REDACTED};
use crate::llm::{ChatMessage, Content, Role, providers::signature};

/// A turn of one speaker.
#[derive(Serialize)]
pub(super) struct Turn {
    role: &'static str,
    content: Vec<Block>,
}

/// A piece of a turn.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text { text: String },
    Image { source: Source },
    Thinking { thinking: String, signature: String },
    RedactedThinking { data: String },
    ToolUse { id: String, name: String, input: Value },
    ToolResult { tool_use_id: String, content: String, is_error: bool },
}

/// A picture.
#[derive(Serialize)]
struct Source {
    r#type: &'static str,
    media_type: String,
    data: String,
}

/// The turns of a prompt, without its system messages.
pub(super) fn turns(messages: &[ChatMessage]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for message in messages {
        let role = match message.role {
            Role::System => continue,
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        let blocks = message.content.iter().filter_map(block);
        match turns.last_mut() {
            // Results of several calls have to come in one turn.
            Some(turn) if turn.role == role => turn.content.extend(blocks),
            _ => turns.push(Turn { role, content: blocks.collect() }),
        }
    }
    turns.retain(|turn| !turn.content.is_empty());
    turns
}

fn block(content: &Content) -> Option<Block> {
    Some(match content {
        // Blank texts are refused.
        Content::Text(text) if text.trim().is_empty() => return None,
        Content::Text(text) => Block::Text { text: text.clone() },
        Content::Image(image) => Block::Image {
            source: Source {
                r#type: "base64",
                media_type: image.media_type.clone(),
                data: BASE64_STANDARD.encode(&image.bytes),
            },
        },
        Content::Reasoning { text, signature: sealed } => thought(text, sealed.as_deref())?,
        Content::ToolCall(call) => Block::ToolUse {
            id: id(&call.id),
            name: call.name.clone(),
            input: call.input().unwrap_or_else(|| json!({})),
        },
        Content::ToolResult(result) => Block::ToolResult {
            tool_use_id: id(&result.id),
            content: result.output.clone(),
            is_error: result.failed,
        },
    })
}

/// A thought that Anthropic signed; any other would be refused.
fn thought(text: &str, sealed: Option<&str>) -> Option<Block> {
    if let Some(data) = signature::open(REDACTED, sealed) {
        return Some(Block::RedactedThinking { data: data.to_owned() });
    }
    let signature = signature::open(OWNER, sealed)?.to_owned();
    Some(Block::Thinking { thinking: text.to_owned(), signature })
}

/// An id as Anthropic takes it: the conversation may have begun with another provider.
fn id(id: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    id.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}
