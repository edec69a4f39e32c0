//! The messages of a request, and what in them is not taken.

use super::refusal::wrong;
use crate::api::problem::Problem;
use crate::llm::{ChatMessage, Content, Image, Role, ToolCall, ToolResult};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// Pictures that all providers read.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/gif"];

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
    /// What an assistant said in place of content.
    refusal: Option<String>,
    tool_calls: Option<Vec<Call>>,
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct Call {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: String,
}

fn refused(place: usize, why: &str) -> Problem {
    wrong("messages", format!("`messages[{place}]` {why}."))
}

/// What is said, in order; the last one is what is answered.
pub(super) fn parse(list: Vec<Value>) -> Result<Vec<ChatMessage>, Problem> {
    let mut messages: Vec<ChatMessage> = Vec::with_capacity(list.len());
    for (place, one) in list.into_iter().enumerate() {
        let one: Message = serde_json::from_value(one)
            .map_err(|error| refused(place, &format!("is not as documented: {error}")))?;
        let message = match one.role.as_str() {
            "system" | "developer" => {
                ChatMessage { role: Role::System, content: texts(place, one.content)? }
            }
            "user" => ChatMessage { role: Role::User, content: pieces(place, one.content)? },
            "assistant" => assistant(place, one)?,
            "tool" => result(place, one, &messages)?,
            role => return Err(refused(place, &format!("has a role that is not taken: '{role}'"))),
        };
        messages.push(message);
    }
    match messages.last().map(|last| last.role) {
        Some(Role::User | Role::Tool) => Ok(messages),
        _ => Err(wrong("messages", "`messages` ends with a message of the user, or of a tool.")),
    }
}

fn assistant(place: usize, message: Message) -> Result<ChatMessage, Problem> {
    let mut content = match message.content {
        Value::Null => Vec::new(),
        content => texts(place, content)?,
    };
    content.extend(message.refusal.map(Content::Text));
    let call = |call: Call| {
        let Function { name, arguments } = call.function;
        Content::ToolCall(ToolCall { id: call.id, name, arguments, signature: None })
    };
    content.extend(message.tool_calls.into_iter().flatten().map(call));
    if content.is_empty() {
        return Err(refused(place, "says nothing and calls nothing"));
    }
    Ok(ChatMessage { role: Role::Assistant, content })
}

/// What a tool gave; its name is that of the call.
fn result(place: usize, message: Message, before: &[ChatMessage]) -> Result<ChatMessage, Problem> {
    let id = message.tool_call_id.unwrap_or_default();
    let called = before.iter().flat_map(|message| &message.content).find_map(|piece| match piece {
        Content::ToolCall(call) if call.id == id => Some(call.name.clone()),
        _ => None,
    });
    let name = called
        .ok_or_else(|| refused(place, "has a `tool_call_id` that was not called before it"))?;
    let content = texts(place, message.content)?;
    let output = ChatMessage { role: Role::Tool, content }.text();
    let content = vec![Content::ToolResult(ToolResult { id, name, output, failed: false })];
    Ok(ChatMessage { role: Role::Tool, content })
}

/// Text alone.
fn texts(place: usize, content: Value) -> Result<Vec<Content>, Problem> {
    let pieces = pieces(place, content)?;
    match pieces.iter().all(|piece| matches!(piece, Content::Text(_))) {
        true => Ok(pieces),
        false => Err(refused(place, "has a picture: only the user shows pictures")),
    }
}

/// Text and pictures.
fn pieces(place: usize, content: Value) -> Result<Vec<Content>, Problem> {
    match content {
        Value::String(text) => Ok(vec![Content::Text(text)]),
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(|one| piece(place, one)).collect()
        }
        _ => Err(refused(place, "has no `content`: a text, or a list of texts and pictures")),
    }
}

fn piece(place: usize, one: &Value) -> Result<Content, Problem> {
    let kind = one.get("type").and_then(Value::as_str).unwrap_or_default();
    match (kind, one.get("text").and_then(Value::as_str)) {
        ("text", Some(text)) => Ok(Content::Text(text.to_owned())),
        ("refusal", _) => {
            let refusal = one.get("refusal").and_then(Value::as_str).unwrap_or_default();
            Ok(Content::Text(refusal.to_owned()))
        }
        ("image_url", _) => {
            let url = one.pointer("/image_url/url").and_then(Value::as_str).unwrap_or_default();
            picture(url).map(Content::Image).map_err(|why| refused(place, &why))
        }
        _ => Err(refused(place, &format!("has content of a type that is not taken: '{kind}'"))),
    }
}

/// A picture in a data URL. Others are not fetched: that would be asking other servers in our name.
fn picture(url: &str) -> Result<Image, String> {
    let Some(data) = url.strip_prefix("data:") else {
        return Err("has the address of a picture: send the picture itself, as a data URL".into());
    };
    let (media_type, encoded) =
        data.split_once(";base64,").ok_or("has a data URL without base64")?;
    if !PICTURES.contains(&media_type) {
        return Err(format!("has a picture that is none of {}", PICTURES.join(", ")));
    }
    let bytes = STANDARD.decode(encoded).map_err(|_why| "has a picture that is not base64")?;
    Ok(Image { media_type: media_type.to_owned(), bytes: bytes.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(list: &Value) -> Result<Vec<ChatMessage>, String> {
        parse(list.as_array().unwrap().clone()).map_err(|problem| problem.detail)
    }

    #[test]
    fn every_kind_of_message_is_read() {
        let call = json!({"id": "c1", "type": "function",
            "function": {"name": "add", "arguments": "{\"a\":1}"}});
        let said = read(&json!([
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQI=", "detail": "low"}}]},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "3"}]},
            {"role": "assistant", "content": null, "refusal": "No."},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "audio": null},
            {"role": "user", "content": "Why?", "name": "Anna"},
        ]))
        .unwrap();
        let roles: Vec<Role> = said.iter().map(|message| message.role).collect();
        assert_eq!(roles[..4], [Role::System, Role::User, Role::Assistant, Role::Tool]);
        assert_eq!((said[4].text(), said[5].text()), ("No.".into(), "No.".into()));
        assert!(matches!(&said[1].content[1], Content::Image(image) if image.bytes[..] == [1, 2]));
        let Content::ToolResult(result) = &said[3].content[0] else { panic!("a result") };
        assert_eq!((result.name.as_str(), result.output.as_str()), ("add", "3"));
    }

    #[test]
    fn what_is_not_taken_is_refused_in_words() {
        let user = |content: Value| json!([{"role": "user", "content": content}]);
        let image = |url: &str| user(json!([{"type": "image_url", "image_url": {"url": url}}]));
        for (list, why) in [
            (image("https://example.com/a.png"), "send the picture itself"),
            (image("data:image/svg+xml;base64,AA=="), "none of image/png"),
            (image("data:image/png;base64,%%"), "not base64"),
            (user(json!([{"type": "input_audio", "input_audio": {}}])), "'input_audio'"),
            (user(json!([{"type": "file", "file": {"file_data": "data:"}}])), "'file'"),
            (user(json!(null)), "no `content`"),
            (json!([{"role": "function", "name": "x", "content": "y"}]), "'function'"),
            (json!([{"role": "assistant", "content": null}]), "says nothing"),
            (json!([{"role": "assistant", "content": "Hi"}]), "ends with"),
            (json!([{"role": "tool", "tool_call_id": "c9", "content": "3"}]), "not called"),
            (json!([]), "ends with"),
        ] {
            let error = read(&list).unwrap_err();
            assert!(error.contains(why), "{list}: {error}");
        }
    }
}
