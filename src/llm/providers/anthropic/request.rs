//! Our request as the messages endpoint wants it.

use serde::Serialize;
use serde_json::Value;

use super::{
    messages::{self, Turn},
    schema,
    thinking::{Thinking, Tuning},
};
use crate::llm::{ChatRequest, Effort, Format, Role, Tool, ToolChoice};

/// JSON of no schema in particular has to be asked for.
const JSON: &str = "Answer with one JSON object and nothing else: no text around it, no Markdown.";

/// The whole request.
#[derive(Serialize)]
pub(super) struct Body {
    model: String,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Instruction>,
    messages: Vec<Turn>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Output>,
}

/// A system message.
#[derive(Serialize)]
struct Instruction {
    r#type: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Cache>,
}

/// Everything up to here is worth keeping.
#[derive(Serialize)]
struct Cache {
    r#type: &'static str,
}

#[derive(Serialize)]
struct ToolSpec {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    input_schema: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Cache>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Choice {
    None,
    Any,
    Tool { name: String },
}

#[derive(Serialize)]
struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat>,
}

#[derive(Serialize)]
struct OutputFormat {
    r#type: &'static str,
    schema: Value,
}

pub(super) fn body(request: ChatRequest) -> Body {
    let tuning = Tuning::of(&request);
    let system = instructions(&request);
    let format = match request.format {
        Format::Text | Format::Json => None,
        Format::Schema { schema, .. } => {
            Some(OutputFormat { r#type: "json_schema", schema: schema::strict(schema) })
        }
    };
    let effort = tuning.effort;
    let calls = !request.tools.is_empty();
    let mut stop_sequences = request.sampling.stop;
    stop_sequences.retain(|stop| !stop.trim().is_empty()); // blank ones are refused
    Body {
        max_tokens: request.max_output_tokens,
        stream: true,
        system,
        messages: messages::turns(&request.messages),
        tools: tools(request.tools),
        tool_choice: choice(request.tool_choice).filter(|_| calls),
        temperature: tuning.temperature,
        top_p: tuning.top_p,
        stop_sequences,
        thinking: tuning.thinking,
        output_config: (effort.is_some() || format.is_some()).then_some(Output { effort, format }),
        model: request.model,
    }
}

/// The first one stays the same from turn to turn: what comes before it is kept in the cache.
fn instructions(request: &ChatRequest) -> Vec<Instruction> {
    let texts = request.messages.iter().filter(|message| message.role == Role::System);
    let mut texts: Vec<String> = texts.map(crate::llm::ChatMessage::text).collect();
    if request.format == Format::Json {
        texts.push(JSON.to_owned());
    }
    texts.retain(|text| !text.trim().is_empty());
    let mut keep = Some(keep());
    let instruction = |text| Instruction { r#type: "text", text, cache_control: keep.take() };
    texts.into_iter().map(instruction).collect()
}

fn keep() -> Cache {
    Cache { r#type: "ephemeral" }
}

fn tools(tools: Vec<Tool>) -> Vec<ToolSpec> {
    let mut specs: Vec<ToolSpec> = tools.into_iter().map(tool).collect();
    if let Some(last) = specs.last_mut() {
        last.cache_control = Some(keep());
    }
    specs
}

fn tool(tool: Tool) -> ToolSpec {
    let Tool { name, description, parameters, strict } = tool;
    let input_schema = if strict { schema::strict(parameters) } else { parameters };
    ToolSpec { name, description, input_schema, strict, cache_control: None }
}

fn choice(choice: ToolChoice) -> Option<Choice> {
    Some(match choice {
        ToolChoice::Auto => return None,
        ToolChoice::Never => Choice::None,
        ToolChoice::Required => Choice::Any,
        ToolChoice::Named(name) => Choice::Tool { name },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{ChatMessage, Content, Image, ToolCall, ToolResult};
    use serde_json::json;

    fn sent(request: ChatRequest) -> Value {
        serde_json::from_slice(&serde_json::to_vec(&body(request)).unwrap()).unwrap()
    }

    #[test]
    fn the_body_holds_what_we_mean_and_nothing_else() {
        let messages = vec![
            ChatMessage::new(Role::System, "You are terse."),
            ChatMessage::new(Role::System, "Today is Monday."),
            ChatMessage::new(Role::User, "u"),
            ChatMessage::new(Role::Assistant, "a"),
            ChatMessage::new(Role::User, "again"),
        ];
        let mut request = ChatRequest::new("claude-opus-4-5", messages, 9);
        request.sampling.temperature = Some(0.3);
        request.sampling.seed = Some(7);
        request.sampling.stop = vec!["END".into(), "\n".into()];
        let text = |text: &str| json!([{"type": "text", "text": text}]);
        let expected = json!({
            "model": "claude-opus-4-5", "max_tokens": 9, "stream": true,
            "system": [
                {"type": "text", "text": "You are terse.", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "Today is Monday."},
            ],
            "messages": [
                {"role": "user", "content": text("u")},
                {"role": "assistant", "content": text("a")},
                {"role": "user", "content": text("again")},
            ],
            "temperature": 0.3,
            "stop_sequences": ["END"],
        });
        assert_eq!(sent(request), expected);
    }

    #[test]
    fn thoughts_pictures_calls_and_results_find_their_places() {
        let image = Image { media_type: "image/png".into(), bytes: b"\x89PNG".as_slice().into() };
        let call = |id: &str, arguments: &str| {
            let (id, name) = (id.to_owned(), "look".to_owned());
            Content::ToolCall(ToolCall { id, name, arguments: arguments.into(), signature: None })
        };
        let thought = |text: &str, signature: Option<&str>| Content::Reasoning {
            text: text.into(),
            signature: signature.map(str::to_owned),
        };
        let result = |id: &str, failed| {
            let (id, name, output) = (id.to_owned(), "look".to_owned(), "42".to_owned());
            let result = Content::ToolResult(ToolResult { id, name, output, failed });
            ChatMessage { role: Role::Tool, content: vec![result] }
        };
        let messages = vec![
            ChatMessage {
                role: Role::User,
                content: vec![Content::Image(image), Content::Text("What?".into())],
            },
            ChatMessage {
                role: Role::Assistant,
                content: vec![
                    thought("hm", Some("anthropic:sig")),
                    thought("", Some("anthropic-redacted:blob")),
                    thought("another's", Some("gemini:sig")),
                    thought("nobody's", None),
                    Content::Text(" ".into()),
                    call("toolu_1", r#"{"at":1}"#),
                    call("functions.look:0", "{br"),
                ],
            },
            result("toolu_1", false),
            result("functions.look:0", true),
            ChatMessage::new(Role::User, "Well?"),
        ];
        let source = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw=="});
        let used = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "look", "input": input});
        let gave = |id: &str, failed: bool| json!({"type": "tool_result", "tool_use_id": id, "content": "42", "is_error": failed});
        let expected = json!([
            {"role": "user", "content": [
                {"type": "image", "source": source},
                {"type": "text", "text": "What?"},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "blob"},
                used("toolu_1", json!({"at": 1})),
                used("functions_look_0", json!({})),
            ]},
            {"role": "user", "content": [
                gave("toolu_1", false),
                gave("functions_look_0", true),
                {"type": "text", "text": "Well?"},
            ]},
        ]);
        assert_eq!(sent(ChatRequest::new("m", messages, 9))["messages"], expected);
    }

    #[test]
    fn tools_formats_and_thinking() {
        let mut request = ChatRequest::new("claude-opus-4-6", vec![], 9_000);
        let tool = |name: &str, strict| {
            let (name, description) = (name.into(), "d".into());
            Tool { name, description, parameters: json!({"type": "object"}), strict }
        };
        request.tools = vec![tool("a", false), tool("b", true)];
        request.effort = Some(Effort::High);
        let schema = json!({"type": "object", "properties": {}});
        request.format = Format::Schema { name: "n".into(), schema, strict: true };
        let body = sent(request.clone());
        let tools = json!([
            {"name": "a", "description": "d", "input_schema": {"type": "object"}},
            {"name": "b", "description": "d", "strict": true,
                "input_schema": {"type": "object", "additionalProperties": false},
                "cache_control": {"type": "ephemeral"}},
        ]);
        assert_eq!(body["tools"], tools);
        assert_eq!(body.get("tool_choice"), None);
        assert_eq!(body["thinking"], json!({"type": "adaptive", "display": "summarized"}));
        let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
        let output = json!({"effort": "high", "format": {"type": "json_schema", "schema": schema}});
        assert_eq!(body["output_config"], output);

        request.effort = None;
        request.format = Format::Json;
        for (choice, expected) in [
            (ToolChoice::Never, json!({"type": "none"})),
            (ToolChoice::Required, json!({"type": "any"})),
            (ToolChoice::Named("b".into()), json!({"type": "tool", "name": "b"})),
        ] {
            let body = sent(ChatRequest { tool_choice: choice, ..request.clone() });
            assert_eq!(body["tool_choice"], expected);
            assert_eq!(body["system"][0]["text"], JSON);
            assert_eq!(body.get("output_config"), None);
        }
    }
}
