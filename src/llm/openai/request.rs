//! Our request as the chat completions endpoint wants it.

use async_openai::types::chat::{
    ChatCompletionRequestAssistantMessage, ChatCompletionRequestMessage,
    ChatCompletionRequestSystemMessage, ChatCompletionRequestUserMessage,
    ChatCompletionStreamOptions, CreateChatCompletionRequest,
};

use crate::llm::{ChatMessage, ChatRequest, Role};

/// How a server calls the limit of an answer's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenAI: `max_completion_tokens`; its newer models refuse the old name.
    OpenAi,
    /// Everybody else: `max_tokens`; older servers ignore the new name and answer without limit.
    Compatible,
}

impl Dialect {
    /// Azure's endpoints run the same models as OpenAI's and take the same names.
    pub(super) fn of_host(host: &str) -> Self {
        let openai = host == "api.openai.com"
            || host.ends_with(".api.openai.com")
            || host.ends_with(".openai.azure.com");
        if openai { Self::OpenAi } else { Self::Compatible }
    }
}

pub(super) fn body(request: ChatRequest, dialect: Dialect) -> CreateChatCompletionRequest {
    let mut body = CreateChatCompletionRequest {
        model: request.model,
        messages: request.messages.iter().map(message).collect(),
        temperature: request.sampling.temperature,
        stream: Some(true),
        stream_options: Some(ChatCompletionStreamOptions {
            include_usage: Some(true),
            include_obfuscation: None,
        }),
        ..Default::default()
    };
    match dialect {
        Dialect::OpenAi => body.max_completion_tokens = Some(request.max_output_tokens),
        Dialect::Compatible => {
            #[expect(deprecated, reason = "the only name that older compatible servers know")]
            {
                body.max_tokens = Some(request.max_output_tokens);
            }
        }
    }
    body
}

fn message(message: &ChatMessage) -> ChatCompletionRequestMessage {
    let text = message.text();
    match message.role {
        Role::System => ChatCompletionRequestSystemMessage::from(text).into(),
        Role::User | Role::Tool => ChatCompletionRequestUserMessage::from(text).into(),
        Role::Assistant => ChatCompletionRequestAssistantMessage::from(text).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request() -> ChatRequest {
        let messages = vec![
            ChatMessage::new(Role::System, "s"),
            ChatMessage::new(Role::User, "u"),
            ChatMessage::new(Role::Assistant, "a"),
        ];
        ChatRequest::new("m", messages, 9)
    }

    #[test]
    fn the_body_holds_what_we_mean_and_nothing_else() {
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
        let sent = serde_json::to_value(body(request(), Dialect::Compatible)).unwrap();
        assert_eq!(sent, expected);
        let sent = serde_json::to_value(body(request(), Dialect::OpenAi)).unwrap();
        let limit = expected.as_object_mut().unwrap().remove("max_tokens").unwrap();
        expected["max_completion_tokens"] = limit;
        assert_eq!(sent, expected);
    }

    #[test]
    fn the_dialect_follows_the_host() {
        assert_eq!(Dialect::of_host("api.openai.com"), Dialect::OpenAi);
        assert_eq!(Dialect::of_host("eu.api.openai.com"), Dialect::OpenAi);
        assert_eq!(Dialect::of_host("api.openai.com.example.org"), Dialect::Compatible);
        assert_eq!(Dialect::of_host("127.0.0.1"), Dialect::Compatible);
    }
}
