//! Our messages as chat completions want them.

use async_openai::types::chat::{
    ChatCompletionMessageToolCall, ChatCompletionMessageToolCalls,
    ChatCompletionRequestAssistantMessage, ChatCompletionRequestMessage,
    ChatCompletionRequestMessageContentPartImage, ChatCompletionRequestMessageContentPartText,
    ChatCompletionRequestSystemMessage, ChatCompletionRequestToolMessage,
    ChatCompletionRequestToolMessageContent, ChatCompletionRequestUserMessage,
    ChatCompletionRequestUserMessageContent, ChatCompletionRequestUserMessageContentPart,
    FunctionCall, ImageUrl,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::dialect::Dialect;
use crate::llm::{ChatMessage, Content, Image, Role, ToolCall, ToolResult};

type Part = ChatCompletionRequestUserMessageContentPart;

/// One message of ours is one of theirs, but for results of tools: each is a message of its own.
pub(super) fn messages(
    messages: &[ChatMessage],
    dialect: Dialect,
) -> Vec<ChatCompletionRequestMessage> {
    messages.iter().flat_map(|message| translate(message, dialect)).collect()
}

fn translate(message: &ChatMessage, dialect: Dialect) -> Vec<ChatCompletionRequestMessage> {
    match message.role {
        Role::System => vec![ChatCompletionRequestSystemMessage::from(message.text()).into()],
        Role::Assistant => vec![assistant(message, dialect).into()],
        Role::User => vec![ChatCompletionRequestUserMessage::from(user(message)).into()],
        Role::Tool => {
            let results = message.content.iter().filter_map(|content| match content {
                Content::ToolResult(result) => Some(result_of(result, dialect).into()),
                _ => None,
            });
            results.collect()
        }
    }
}

/// Text alone stays a string: servers without eyes know nothing else.
fn user(message: &ChatMessage) -> ChatCompletionRequestUserMessageContent {
    if !message.content.iter().any(|content| matches!(content, Content::Image(_))) {
        return ChatCompletionRequestUserMessageContent::Text(message.text());
    }
    let parts = message.content.iter().filter_map(|content| match content {
        Content::Text(text) => {
            Some(Part::Text(ChatCompletionRequestMessageContentPartText::from(text.as_str())))
        }
        Content::Image(image) => Some(Part::ImageUrl(picture(image))),
        _ => None,
    });
    ChatCompletionRequestUserMessageContent::Array(parts.collect())
}

fn picture(image: &Image) -> ChatCompletionRequestMessageContentPartImage {
    let data = BASE64_STANDARD.encode(&image.bytes);
    let url = format!("data:{};base64,{data}", image.media_type);
    ChatCompletionRequestMessageContentPartImage {
        image_url: ImageUrl { url, detail: None },
        prompt_cache_breakpoint: None,
    }
}

/// What the assistant thought is left out: this protocol has no place for it.
fn assistant(message: &ChatMessage, dialect: Dialect) -> ChatCompletionRequestAssistantMessage {
    let calls = message.content.iter().filter_map(|content| match content {
        Content::ToolCall(call) => Some(call_of(call, dialect)),
        _ => None,
    });
    let calls: Vec<_> = calls.collect();
    let text = message.text();
    let mut said = ChatCompletionRequestAssistantMessage::default();
    if !text.is_empty() || calls.is_empty() {
        said.content = Some(text.into());
    }
    said.tool_calls = (!calls.is_empty()).then_some(calls);
    said
}

fn call_of(call: &ToolCall, dialect: Dialect) -> ChatCompletionMessageToolCalls {
    // Servers parse the arguments to print them into the prompt, and fail over what is no JSON.
    let arguments = match call.input() {
        Some(_) if !call.arguments.trim().is_empty() => call.arguments.clone(),
        _ => "{}".to_owned(),
    };
    let function = FunctionCall { name: call.name.clone(), arguments };
    let call = ChatCompletionMessageToolCall { id: dialect.id(&call.id), function };
    ChatCompletionMessageToolCalls::Function(call)
}

fn result_of(result: &ToolResult, dialect: Dialect) -> ChatCompletionRequestToolMessage {
    ChatCompletionRequestToolMessage {
        content: ChatCompletionRequestToolMessageContent::Text(result.output.clone()),
        tool_call_id: dialect.id(&result.id),
    }
}
