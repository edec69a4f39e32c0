//! Our request as `streamGenerateContent` wants it.

use serde::Serialize;
use serde_json::Value;

use super::contents::{self, Turn};
use crate::llm::{ChatRequest, Effort, Format, Tool, ToolChoice, providers::version::version};

/// The whole request; the model is part of the address.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Turn>,
    contents: Vec<Turn>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig>,
    generation_config: Generation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools {
    function_declarations: Vec<Declaration>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    parameters_json_schema: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig {
    function_calling_config: Calling,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling {
    mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_function_names: Vec<String>,
}

/// Penalties are left out: most of the models refuse them.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Generation {
    max_output_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Thinking>,
}

/// Models before 3 take a budget of tokens, later ones a word; both at once are refused.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thinking {
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<Effort>,
}

pub(super) fn body(request: ChatRequest) -> Body {
    let version = version(&request.model).unwrap_or((u32::MAX, 0));
    let thinking_config = thinking(&request, version);
    let mut generation_config = Generation {
        max_output_tokens: request.max_output_tokens,
        temperature: request.sampling.temperature,
        top_p: request.sampling.top_p,
        stop_sequences: request.sampling.stop,
        seed: request.sampling.seed.filter(|seed| i32::try_from(*seed).is_ok()),
        thinking_config,
        ..Generation::default()
    };
    // Before 3 a model that may call tools cannot be held to a format.
    if version >= (3, 0) || request.tools.is_empty() {
        shape(&mut generation_config, request.format);
    }
    Body {
        system_instruction: contents::instructions(&request.messages),
        contents: contents::contents(&request.messages, version >= (3, 0)),
        tool_config: calling(request.tool_choice, &request.tools),
        tools: declared(request.tools),
        generation_config,
    }
}

fn thinking(request: &ChatRequest, version: (u32, u32)) -> Option<Thinking> {
    let effort = request.effort.filter(|_effort| version >= (2, 5))?;
    let mut thinking =
        Thinking { include_thoughts: true, thinking_budget: None, thinking_level: None };
    if version >= (3, 0) {
        thinking.thinking_level = Some(effort);
    } else {
        let wished = match effort {
            Effort::Low => 1_024,
            Effort::Medium => 8_192,
            Effort::High => 24_576,
        };
        // The budget is part of the answer's limit: half of it is left for what is shown.
        thinking.thinking_budget = Some(wished.min(request.max_output_tokens / 2));
    }
    Some(thinking)
}

fn shape(generation: &mut Generation, format: Format) {
    generation.response_mime_type = (format != Format::Text).then_some("application/json");
    if let Format::Schema { schema, .. } = format {
        generation.response_json_schema = Some(schema);
    }
}

fn declared(tools: Vec<Tool>) -> Vec<Tools> {
    let declare = |tool: Tool| Declaration {
        name: tool.name,
        description: tool.description,
        parameters_json_schema: tool.parameters,
    };
    let function_declarations: Vec<_> = tools.into_iter().map(declare).collect();
    match function_declarations.is_empty() {
        true => Vec::new(),
        false => vec![Tools { function_declarations }],
    }
}

fn calling(choice: ToolChoice, tools: &[Tool]) -> Option<ToolConfig> {
    let (mode, name) = match choice {
        _ if tools.is_empty() => return None,
        ToolChoice::Auto if tools.iter().any(|tool| tool.strict) => ("VALIDATED", None),
        ToolChoice::Auto => return None,
        ToolChoice::Never => ("NONE", None),
        ToolChoice::Required => ("ANY", None),
        ToolChoice::Named(name) => ("ANY", Some(name)),
    };
    let allowed_function_names = name.into_iter().collect();
    Some(ToolConfig { function_calling_config: Calling { mode, allowed_function_names } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{ChatMessage, Content, Image, Role, ToolCall, ToolResult};
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
        ];
        let mut request = ChatRequest::new("gemini-2.5-flash", messages, 9);
        request.sampling.temperature = Some(0.3);
        request.sampling.seed = Some(7);
        request.sampling.presence_penalty = Some(1.0);
        request.sampling.stop = vec!["END".into()];
        let expected = json!({
            "systemInstruction":
                {"parts": [{"text": "You are terse."}, {"text": "Today is Monday."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "u"}]},
                {"role": "model", "parts": [{"text": "a"}]},
            ],
            "generationConfig":
                {"maxOutputTokens": 9, "temperature": 0.3, "seed": 7, "stopSequences": ["END"]},
        });
        assert_eq!(sent(request), expected);
    }

    #[test]
    fn thoughts_pictures_calls_and_results_find_their_places() {
        let image = Image { media_type: "image/png".into(), bytes: b"\x89PNG".as_slice().into() };
        let call = |id: &str, signature: Option<&str>| {
            let (id, name, arguments) =
                (id.to_owned(), "look".to_owned(), r#"{"at":1}"#.to_owned());
            let signature = signature.map(str::to_owned);
            Content::ToolCall(ToolCall { id, name, arguments, signature })
        };
        let thought = |text: &str, signature: &str| Content::Reasoning {
            text: text.into(),
            signature: Some(signature.into()),
        };
        let result = |output: &str, failed| {
            let (id, name, output) = ("1".to_owned(), "look".to_owned(), output.to_owned());
            let result = Content::ToolResult(ToolResult { id, name, output, failed });
            ChatMessage { role: Role::Tool, content: vec![result] }
        };
        let said = |content| ChatMessage { role: Role::Assistant, content };
        let messages = vec![
            ChatMessage { role: Role::User, content: vec![Content::Image(image)] },
            said(vec![
                thought("hm", "gemini:t"),
                thought("", "gemini:e"),
                thought("another's", "anthropic:x"),
                call("1", Some("gemini:c")),
                call("2", None),
            ]),
            result(r#"{"seen":true}"#, false),
            result("42", false),
            result("broken", true),
            ChatMessage::new(Role::User, "Again."),
            said(vec![call("3", Some("anthropic:x")), call("4", None)]),
        ];
        let called = |id: &str| json!({"id": id, "name": "look", "args": {"at": 1}});
        let gave = |response: Value| json!({"functionResponse": {"id": "1", "name": "look", "response": response}});
        let expected = json!([
            {"role": "user", "parts": [
                {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": true, "thoughtSignature": "t"},
                {"text": "", "thoughtSignature": "e"},
                {"functionCall": called("1"), "thoughtSignature": "c"},
                {"functionCall": called("2")},
            ]},
            {"role": "user", "parts": [
                gave(json!({"seen": true})),
                gave(json!({"output": "42"})),
                gave(json!({"error": "broken"})),
            ]},
            {"role": "user", "parts": [{"text": "Again."}]},
            {"role": "model", "parts": [
                {"functionCall": called("3"),
                    "thoughtSignature": "skip_thought_signature_validator"},
                {"functionCall": called("4")},
            ]},
        ]);
        let request = ChatRequest::new("gemini-3-pro", messages, 9);
        assert_eq!(sent(request.clone())["contents"], expected);
        let older = sent(ChatRequest { model: "gemini-2.5-pro".into(), ..request });
        assert_eq!(older["contents"][4]["parts"][0], json!({"functionCall": called("3")}));
    }

    #[test]
    fn tools_formats_and_thinking() {
        let mut request = ChatRequest::new("gemini-3-pro", vec![], 9_000);
        let (name, description) = ("a".to_owned(), String::new());
        let parameters = json!({"type": "object"});
        let tool = Tool { name, description, parameters, strict: false };
        request.tools = vec![tool.clone()];
        request.effort = Some(Effort::High);
        request.format = Format::Schema { name: "n".into(), schema: json!({}), strict: true };
        let body = sent(request.clone());
        let declared = json!({"name": "a", "parametersJsonSchema": {"type": "object"}});
        assert_eq!(body["tools"], json!([{"functionDeclarations": [declared]}]));
        assert_eq!(body.get("toolConfig"), None);
        let expected = json!({
            "maxOutputTokens": 9000,
            "responseMimeType": "application/json", "responseJsonSchema": {},
            "thinkingConfig": {"includeThoughts": true, "thinkingLevel": "high"},
        });
        assert_eq!(body["generationConfig"], expected);

        for (choice, expected) in [
            (ToolChoice::Never, json!({"mode": "NONE"})),
            (ToolChoice::Required, json!({"mode": "ANY"})),
            (ToolChoice::Named("a".into()), json!({"mode": "ANY", "allowedFunctionNames": ["a"]})),
        ] {
            let body = sent(ChatRequest { tool_choice: choice, ..request.clone() });
            assert_eq!(body["toolConfig"]["functionCallingConfig"], expected);
        }
        let strict = vec![Tool { strict: true, ..tool }];
        let body = sent(ChatRequest { tools: strict, ..request.clone() });
        assert_eq!(body["toolConfig"]["functionCallingConfig"]["mode"], "VALIDATED");

        let older = sent(ChatRequest { model: "gemini-2.5-pro".into(), ..request });
        let expected = json!({
            "maxOutputTokens": 9000,
            "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 4500},
        });
        assert_eq!(older["generationConfig"], expected);
    }
}
