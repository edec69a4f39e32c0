//! One frame of a streamed answer, read leniently.
//!
//! Every field may be missing, null or of an unexpected type without spoiling the others; only
//! something that is not a JSON object is an error. A whole `chat.completion`, as servers send that
//! ignore `stream`, reads the same way.

use serde::Deserialize;
use serde_json::Value;

use crate::llm::{FinishReason, TokenUsage};

/// More tokens than any model's window: a count above it is a bug of the server, not a bill.
const ABSURD_TOKENS: u64 = 100_000_000;

/// What one frame says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunk {
    /// More text; may be empty.
    pub(super) text: String,
    /// The model is at work though it shows nothing: reasoning.
    pub(super) thinking: bool,
    /// Set on the last frame with a choice.
    pub(super) finish: Option<FinishReason>,
    /// Set where the server reports usage, on any frame.
    pub(super) usage: Option<TokenUsage>,
    /// The server reports a failure instead; the whole frame, for `Complaint::parse`.
    pub(super) failure: Option<Value>,
}

#[derive(Deserialize)]
struct Frame {
    choices: Option<Value>,
    usage: Option<Value>,
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
        let has_text = |key: &str| said.and_then(|said| said.get(key)).is_some_and(is_text);
        Some(Self {
            text: said.map(text).unwrap_or_default(),
            thinking: has_text("reasoning_content") || has_text("reasoning"),
            finish: choice.and_then(|choice| finish(choice.get("finish_reason")?.as_str()?)),
            usage: frame.usage.as_ref().and_then(usage),
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
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()
        }
        _ => said.get("refusal").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn finish(reason: &str) -> Option<FinishReason> {
    Some(match reason {
        // Some servers send an empty reason where others send null.
        "" => return None,
        "stop" | "eos" | "end_turn" | "stop_sequence" => FinishReason::Stop,
        "length" | "max_tokens" | "model_length" => FinishReason::Length,
        "content_filter" | "safety" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    })
}

fn usage(usage: &Value) -> Option<TokenUsage> {
    let count = |value: Option<&Value>| value?.as_u64().filter(|n| *n <= ABSURD_TOKENS);
    let part = |details: &str, key: &str| count(usage.get(details)?.get(key));
    let (input, output) =
        (count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")));
    // A part that is larger than its whole is a mistake, and the whole is what is billed.
    let of = |part: Option<u64>, whole: Option<u64>| part.filter(|n| Some(*n) <= whole);
    let usage = TokenUsage {
        input,
        cached: of(part("prompt_tokens_details", "cached_tokens"), input),
        cache_written: of(part("prompt_tokens_details", "cache_write_tokens"), input),
        output,
        reasoning: of(part("completion_tokens_details", "reasoning_tokens"), output),
    };
    (usage != TokenUsage::default()).then_some(usage)
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
        let thinking = parse(r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#);
        assert!(thinking.thinking && thinking.text.is_empty());
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
            Some(TokenUsage { input: Some(7), output: Some(0), ..TokenUsage::default() })
        );
        assert_eq!(
            usage(r#"{"prompt_tokens":-7,"completion_tokens":3}"#),
            Some(TokenUsage { output: Some(3), ..TokenUsage::default() })
        );
        let parts = |cached: u64| {
            let json = format!(
                r#"{{"prompt_tokens":9,"prompt_tokens_details":{{"cached_tokens":{cached}}},
                    "completion_tokens":5,"completion_tokens_details":{{"reasoning_tokens":5}}}}"#
            );
            usage(&json).map(|usage| (usage.cached, usage.reasoning))
        };
        assert_eq!(parts(8), Some((Some(8), Some(5))));
        assert_eq!(parts(10), Some((None, Some(5))), "more than the whole prompt");
        for nothing in [
            "null",
            "{}",
            "[]",
            r#"{"prompt_tokens":1e300,"completion_tokens":99999999999}"#,
            r#"{"prompt_tokens":"7"}"#,
        ] {
            assert_eq!(usage(nothing), None, "{nothing}");
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
        assert_eq!(chunk.usage.unwrap().input, Some(1));
    }
}
