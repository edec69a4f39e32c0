//! Our request as the chat completions endpoint wants it.

use async_openai::types::chat::{
    ChatCompletionNamedToolChoice, ChatCompletionStreamOptions, ChatCompletionTool,
    ChatCompletionToolChoiceOption, ChatCompletionTools, CreateChatCompletionRequest, FunctionName,
    FunctionObject, ReasoningEffort, ResponseFormat, ResponseFormatJsonSchema, StopConfiguration,
    ToolChoiceOptions,
};

use super::{dialect::Dialect, messages};
use crate::llm::{ChatRequest, Effort, Format, Sampling, Tool, ToolChoice};

pub(super) fn body(request: ChatRequest, dialect: Dialect) -> CreateChatCompletionRequest {
    let mut body = CreateChatCompletionRequest {
        messages: messages::messages(&request.messages, dialect),
        stream: Some(true),
        // Mistral reports usage without being asked.
        stream_options: (dialect != Dialect::Mistral).then_some(ChatCompletionStreamOptions {
            include_usage: Some(true),
            include_obfuscation: None,
        }),
        response_format: format(request.format),
        reasoning_effort: request.effort.map(effort),
        prompt_cache_key: request.cache_key.filter(|_key| dialect == Dialect::OpenAi),
        ..Default::default()
    };
    if !request.tools.is_empty() {
        body.tool_choice = choice(request.tool_choice);
        body.tools = Some(request.tools.into_iter().map(tool).collect());
    }
    if !(dialect.is_openai() && only_reasons(&request.model)) {
        sample(&mut body, request.sampling, dialect);
    }
    if dialect.is_openai() {
        body.max_completion_tokens = Some(request.max_output_tokens);
    } else {
        #[expect(deprecated, reason = "the only name that older compatible servers know")]
        {
            body.max_tokens = Some(request.max_output_tokens);
        }
    }
    body.model = request.model;
    body
}

/// OpenAI's reasoning models refuse to be sampled otherwise than by default.
fn only_reasons(model: &str) -> bool {
    let series = |prefix: char| {
        let rest = model.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let five = model.strip_prefix("gpt-").and_then(|rest| rest.chars().next());
    series('o') || (five.is_some_and(|c| ('5'..='9').contains(&c)) && !model.contains("-chat"))
}

fn sample(body: &mut CreateChatCompletionRequest, sampling: Sampling, dialect: Dialect) {
    body.temperature = sampling.temperature;
    body.top_p = sampling.top_p;
    body.frequency_penalty = sampling.frequency_penalty;
    body.presence_penalty = sampling.presence_penalty;
    #[expect(deprecated, reason = "best effort is what a seed is")]
    {
        body.seed = sampling.seed.filter(|_seed| dialect != Dialect::Mistral);
    }
    body.stop =
        (!sampling.stop.is_empty()).then_some(StopConfiguration::StringArray(sampling.stop));
}

fn tool(tool: Tool) -> ChatCompletionTools {
    let function = FunctionObject {
        name: tool.name,
        description: Some(tool.description).filter(|text| !text.is_empty()),
        parameters: Some(tool.parameters),
        strict: tool.strict.then_some(true),
    };
    ChatCompletionTools::Function(ChatCompletionTool { function })
}

/// What is the default is not said: some servers do not know the word.
fn choice(choice: ToolChoice) -> Option<ChatCompletionToolChoiceOption> {
    Some(match choice {
        ToolChoice::Auto => return None,
        ToolChoice::Never => ChatCompletionToolChoiceOption::Mode(ToolChoiceOptions::None),
        ToolChoice::Required => ChatCompletionToolChoiceOption::Mode(ToolChoiceOptions::Required),
        ToolChoice::Named(name) => {
            let function = FunctionName { name };
            ChatCompletionToolChoiceOption::Function(ChatCompletionNamedToolChoice { function })
        }
    })
}

fn format(format: Format) -> Option<ResponseFormat> {
    Some(match format {
        Format::Text => return None,
        Format::Json => ResponseFormat::JsonObject,
        Format::Schema { name, schema, strict } => {
            let strict = Some(strict);
            let json_schema = ResponseFormatJsonSchema { description: None, name, schema, strict };
            ResponseFormat::JsonSchema { json_schema }
        }
    })
}

fn effort(effort: Effort) -> ReasoningEffort {
    match effort {
        Effort::Low => ReasoningEffort::Low,
        Effort::Medium => ReasoningEffort::Medium,
        Effort::High => ReasoningEffort::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{ChatMessage, Content, Image, Role, ToolCall, ToolResult};
    use serde_json::{Value, json};

    fn sent(request: &ChatRequest, dialect: Dialect) -> Value {
        let bytes = serde_json::to_vec(&body(request.clone(), dialect)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn the_body_holds_what_we_mean_and_nothing_else() {
        let messages = vec![
            ChatMessage::new(Role::System, "s"),
            ChatMessage::new(Role::User, "u"),
            ChatMessage::new(Role::Assistant, "a"),
        ];
        let request = ChatRequest::new("m", messages, 9);
        let mut expected = json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": "a"},
            ],
            "max_tokens": 9,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        assert_eq!(sent(&request, Dialect::Compatible), expected);
        let limit = expected.as_object_mut().unwrap().remove("max_tokens").unwrap();
        expected["max_completion_tokens"] = limit;
        assert_eq!(sent(&request, Dialect::OpenAi), expected);
    }

    #[test]
    fn pictures_calls_and_results_find_their_places() {
        let (id, name) = ("call_1".to_owned(), "look".to_owned());
        let image = Image { media_type: "image/png".into(), bytes: b"\x89PNG".as_slice().into() };
        let call = |arguments: &str| {
            let (id, name) = (id.clone(), name.clone());
            Content::ToolCall(ToolCall { id, name, arguments: arguments.into(), signature: None })
        };
        let thought = Content::Reasoning { text: "hm".into(), signature: Some("x:y".into()) };
        let result =
            ToolResult { id: id.clone(), name: name.clone(), output: "42".into(), failed: false };
        let messages = vec![
            ChatMessage {
                role: Role::User,
                content: vec![Content::Text("What?".into()), Content::Image(image)],
            },
            ChatMessage { role: Role::Assistant, content: vec![thought, call(r#"{"at":1}"#)] },
            ChatMessage { role: Role::Tool, content: vec![Content::ToolResult(result)] },
            ChatMessage {
                role: Role::Assistant,
                content: vec![Content::Text("So.".into()), call("{br")],
            },
        ];
        let call = |arguments: &str| {
            json!([{"type": "function", "id": "call_1",
                "function": {"name": "look", "arguments": arguments}}])
        };
        let expected = json!([
            {"role": "user", "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
            ]},
            {"role": "assistant", "tool_calls": call(r#"{"at":1}"#)},
            {"role": "tool", "content": "42", "tool_call_id": "call_1"},
            {"role": "assistant", "content": "So.", "tool_calls": call("{}")},
        ]);
        let request = ChatRequest::new("m", messages, 9);
        assert_eq!(sent(&request, Dialect::Compatible)["messages"], expected);
        let mistral = sent(&request, Dialect::Mistral);
        let id = &mistral["messages"][1]["tool_calls"][0]["id"];
        assert_eq!((id, id.as_str().unwrap().len()), (&mistral["messages"][2]["tool_call_id"], 9));
        assert_eq!(mistral.get("stream_options"), None);
    }

    #[test]
    fn wishes_are_passed_on_to_those_who_know_them() {
        let mut request = ChatRequest::new("m", vec![], 9);
        request.sampling = Sampling {
            temperature: Some(0.3),
            top_p: Some(0.5),
            stop: vec!["END".into()],
            seed: Some(7),
            frequency_penalty: Some(0.1),
            presence_penalty: Some(-0.1),
        };
        let parameters = json!({"type": "object"});
        let tool = |name: &str, strict| {
            let (name, description) = (name.into(), String::new());
            Tool { name, description, parameters: parameters.clone(), strict }
        };
        request.tools = vec![tool("a", false), tool("b", true)];
        request.tool_choice = ToolChoice::Named("b".into());
        request.format =
            Format::Schema { name: "n".into(), schema: parameters.clone(), strict: true };
        request.effort = Some(Effort::Low);
        request.cache_key = Some("k".into());
        let expected = json!({
            "model": "m", "messages": [], "max_tokens": 9, "stream": true,
            "stream_options": {"include_usage": true},
            "temperature": 0.3, "top_p": 0.5, "stop": ["END"], "seed": 7,
            "frequency_penalty": 0.1, "presence_penalty": -0.1,
            "tools": [
                {"type": "function", "function": {"name": "a", "parameters": parameters}},
                {"type": "function",
                    "function": {"name": "b", "parameters": parameters, "strict": true}},
            ],
            "tool_choice": {"type": "function", "function": {"name": "b"}},
            "response_format": {"type": "json_schema",
                "json_schema": {"name": "n", "schema": parameters, "strict": true}},
            "reasoning_effort": "low",
        });
        assert_eq!(sent(&request, Dialect::Compatible), expected);
        assert_eq!(sent(&request, Dialect::OpenAi)["prompt_cache_key"], "k");
        assert_eq!(sent(&request, Dialect::Mistral).get("seed"), None);

        request.tool_choice = ToolChoice::Required;
        request.format = Format::Json;
        let body = sent(&request, Dialect::Compatible);
        assert_eq!(body["tool_choice"], "required");
        assert_eq!(body["response_format"], json!({"type": "json_object"}));
    }

    #[test]
    fn a_reasoning_model_is_not_told_how_to_sample() {
        for (model, told) in [
            ("o3-mini", false),
            ("gpt-5.1", false),
            ("gpt-5-chat-latest", true),
            ("gpt-4o", true),
            ("omni", true),
        ] {
            let mut request = ChatRequest::new(model, vec![], 9);
            request.sampling.temperature = Some(0.3);
            let body = sent(&request, Dialect::OpenAi);
            assert_eq!(body.get("temperature").is_some(), told, "{model}");
            assert!(sent(&request, Dialect::Compatible).get("temperature").is_some());
        }
    }
}
