//! One frame of a streamed answer, read leniently.
//!
//! Every field may be missing, null or of an unexpected type without spoiling the others; only
//! something that is not a JSON object is an error. A whole `chat.completion`, as servers send that
//! ignore `stream`, reads the same way.

use serde::Deserialize;
use serde_json::Value;

use super::calls::Piece;
use crate::llm::{
    FinishReason, TokenUsage,
    providers::said::{count, part_of},
};

/// What one frame says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunk {
    /// More text; may be empty.
    pub(super) text: String,
    /// More of what the model thinks; may be empty.
    pub(super) reasoning: String,
    /// More of the calls it makes.
    pub(super) calls: Vec<Piece>,
    /// Set on the last frame with a choice.
    pub(super) finish: Option<FinishReason>,
    /// Known where the server reports usage, on any frame.
    pub(super) usage: TokenUsage,
    /// The server reports a failure instead; the whole frame.
    pub(super) failure: Option<Value>,
}

#[derive(Deserialize)]
struct Frame {
    choices: Option<Value>,
    usage: Option<Value>,
    /// Groq's place for usage.
    x_groq: Option<Value>,
    error: Option<Value>,
}

impl Chunk {
    /// Reads the data of one event; `None` when it is not a JSON object.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let frame: Frame = serde_json::from_slice(data).ok()?;
        if frame.error.as_ref().is_some_and(|error| !error.is_null()) {
            let failure = serde_json::from_slice(data).ok();
            return Some(Self { failure, ..Self::default() });
        }
        let choice = frame.choices.as_ref().and_then(first_choice);
        let said = choice.and_then(|choice| choice.get("delta").or_else(|| choice.get("message")));
        let elsewhere = || frame.x_groq.as_ref()?.get("usage");
        let counted = frame.usage.as_ref().filter(|usage| !usage.is_null()).or_else(elsewhere);
        Some(Self {
            text: said.map(text).unwrap_or_default(),
            reasoning: said.map(reasoning).unwrap_or_default(),
            calls: said.map(calls).unwrap_or_default(),
            finish: choice.and_then(|choice| finish(choice.get("finish_reason")?.as_str()?)),
            usage: counted.map(usage).unwrap_or_default(),
            failure: None,
        })
    }
}

/// The choice with index 0: we never ask for a second one, but must not interleave if it comes.
fn first_choice(choices: &Value) -> Option<&Value> {
    let index = |choice: &&Value| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0;
    choices.as_array()?.iter().find(index)
}

/// The text of a delta: `content` as a string or in parts, or a `refusal`, which is what the model
/// says to the user when it declines.
fn text(said: &Value) -> String {
    match said.get("content") {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Array(parts)) => texts(parts),
        _ => said.get("refusal").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

/// What the model thinks, by the names that vLLM, Groq and others give it, or among the
/// parts of the content, as Mistral has it.
fn reasoning(said: &Value) -> String {
    let named = |key: &str| said.get(key)?.as_str().filter(|text| !text.is_empty());
    if let Some(text) = named("reasoning_content").or_else(|| named("reasoning")) {
        return text.to_owned();
    }
    let parts = said.get("content").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("thinking")?.as_array()).map(|parts| texts(parts)).collect()
}

fn texts(parts: &[Value]) -> String {
    parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()
}

fn calls(said: &Value) -> Vec<Piece> {
    let pieces = said.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    pieces.map(piece).collect()
}

fn piece(call: &Value) -> Piece {
    let word = |value: Option<&Value>| {
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let function = call.get("function");
    let arguments = function.and_then(|function| function.get("arguments"));
    Piece {
        index: call.get("index").and_then(Value::as_u64),
        id: word(call.get("id")),
        name: word(function.and_then(|function| function.get("name"))),
        arguments: match arguments {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(json)) => json.clone(),
            Some(parsed) => parsed.to_string(),
        },
    }
}

fn finish(reason: &str) -> Option<FinishReason> {
    Some(match reason {
        // Some servers send an empty reason where others send null.
        "" => return None,
        "stop" | "eos" | "end_turn" | "stop_sequence" => FinishReason::Stop,
        "length" | "max_tokens" | "model_length" => FinishReason::Length,
        "content_filter" | "safety" => FinishReason::ContentFilter,
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
        _ => FinishReason::Other,
    })
}

fn usage(usage: &Value) -> TokenUsage {
    let part = |details: &str, key: &str| count(usage.get(details)?.get(key));
    let (input, output) =
        (count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")));
    // DeepSeek's name for it.
    let hits = || count(usage.get("prompt_cache_hit_tokens"));
    TokenUsage {
        input,
        cached: part_of(input, part("prompt_tokens_details", "cached_tokens").or_else(hits)),
        cache_written: part_of(input, part("prompt_tokens_details", "cache_write_tokens")),
        output,
        reasoning: part_of(output, part("completion_tokens_details", "reasoning_tokens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Chunk {
        Chunk::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn reads_what_compatible_servers_send() {
        for json in [
            r#"{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}"#,
            r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":""}],"usage":null}"#,
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"H"},{"text":"i"}]}}]}"#,
            r#"{"choices":[{"delta":{"content":null,"refusal":"Hi"}}],"error":null}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"no"}},{"delta":{"content":"Hi"}}]}"#,
        ] {
            assert_eq!(parse(json), Chunk { text: "Hi".into(), ..Chunk::default() }, "{json}");
        }
        for json in [
            r#"{"choices":[{"delta":{"reasoning_content":"hm","reasoning":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"content":"","reasoning":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"content":[{"type":"thinking",
                "thinking":[{"type":"text","text":"hm"}]}]}}]}"#,
        ] {
            assert_eq!(parse(json), Chunk { reasoning: "hm".into(), ..Chunk::default() }, "{json}");
        }
        let calls = parse(
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"","function":
            {"name":"f","arguments":{"x":1}}},{"function":{"arguments":null}}]}}]}"#,
        )
        .calls;
        let name = Some("f".to_owned());
        let first = Piece { index: Some(1), id: None, name, arguments: "{\"x\":1}".into() };
        assert_eq!(calls, [first, Piece::default()]);
    }

    #[test]
    fn tolerates_nonsense_around_the_text() {
        for json in ["{}", r#"{"choices":null}"#, r#"{"choices":[]}"#, r#"{"choices":[7]}"#] {
            assert_eq!(parse(json), Chunk::default(), "{json}");
        }
        assert_eq!(Chunk::parse(b"{"), None);
        assert_eq!(Chunk::parse(b"\"text\""), None);
    }

    #[test]
    fn usage_is_believed_only_when_it_can_be_true() {
        let usage = |json: &str| parse(&format!(r#"{{"usage":{json}}}"#)).usage;
        assert_eq!(
            usage(r#"{"prompt_tokens":7,"completion_tokens":0}"#),
            TokenUsage { input: Some(7), output: Some(0), ..TokenUsage::default() }
        );
        assert_eq!(
            usage(r#"{"prompt_tokens":-7,"completion_tokens":3}"#),
            TokenUsage { output: Some(3), ..TokenUsage::default() }
        );
        let parts = |cached: u64| {
            let json = format!(
                r#"{{"prompt_tokens":9,"prompt_tokens_details":{{"cached_tokens":{cached}}},
                    "completion_tokens":5,"completion_tokens_details":{{"reasoning_tokens":5}}}}"#
            );
            (usage(&json).cached, usage(&json).reasoning)
        };
        assert_eq!(parts(8), (Some(8), Some(5)));
        assert_eq!(parts(10), (None, Some(5)), "more than the whole prompt");
        let groq = parse(r#"{"usage":null,"x_groq":{"usage":{"prompt_tokens":7}}}"#).usage;
        assert_eq!(groq.input, Some(7));
        for nothing in [
            "null",
            "{}",
            "[]",
            r#"{"prompt_tokens":1e300,"completion_tokens":99999999999}"#,
            r#"{"prompt_tokens":"7"}"#,
        ] {
            assert_eq!(usage(nothing), TokenUsage::default(), "{nothing}");
        }
    }

    #[test]
    fn a_failure_hides_everything_else() {
        let chunk = parse(r#"{"error":{"message":"boom"},"choices":[{"delta":{"content":"x"}}]}"#);
        assert!(chunk.failure.is_some() && chunk.text.is_empty());
    }

    #[test]
    fn a_whole_completion_reads_like_one_frame() {
        let chunk = parse(
            r#"{"object":"chat.completion","choices":[{"index":0,"finish_reason":"length",
            "message":{"role":"assistant","content":"All"}}],"usage":{"prompt_tokens":1}}"#,
        );
        assert_eq!((chunk.text.as_str(), chunk.finish), ("All", Some(FinishReason::Length)));
        assert_eq!(chunk.usage.input, Some(1));
    }
}
