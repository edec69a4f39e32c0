//! A completion as a stream of chunks. No ids of events: some clients choke on them beside heartbeats.

use super::speech::{Calls, Delta, Listener, usage, with};
use crate::api::stream::{Cut, Wire};
use crate::chat::{Batch, Part};
use bytes::Bytes;
use serde_json::{Value, json};

const DONE: &str = "data: [DONE]\n\n";

/// What all chunks of a completion have, and whether its usage was asked for.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) include_usage: bool,
    pub(super) calls: Calls,
}

/// Writes chunks.
pub(super) struct Chunks {
    head: Head,
    listener: Listener,
    failed: bool,
}

impl Chunks {
    pub(super) fn new(head: Head) -> Self {
        let listener = Listener::new(head.calls);
        Self { head, listener, failed: false }
    }

    fn chunk(&self, delta: &Value, reason: Option<&str>) -> Value {
        let Head { id, created, model, include_usage, .. } = &self.head;
        let chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": model,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}],
        });
        if *include_usage { with(chunk, "usage", Value::Null) } else { chunk }
    }

    fn write(&mut self, delta: Delta) -> Vec<Value> {
        let call = |call: Value| json!({"tool_calls": [call]});
        let said = match delta {
            Delta::Begin => json!({"role": "assistant", "content": ""}),
            Delta::Text(text) => json!({"content": text}),
            Delta::Thought(text) => json!({"reasoning_content": text}),
            Delta::CallBegin { index, id, name } => {
                call(json!({"index": index, "id": id, "type": "function",
                "function": {"name": name, "arguments": ""}}))
            }
            Delta::CallInput { index, json } => {
                call(json!({"index": index, "function": {"arguments": json}}))
            }
            Delta::Cited(citations) => {
                return vec![with(self.chunk(&json!({}), None), "citations", json!(citations))];
            }
            Delta::End { reason, usage: billed } => {
                let mut chunks = vec![self.chunk(&json!({}), Some(reason))];
                if let (true, Some(billed)) = (self.head.include_usage, &billed) {
                    let last = with(self.chunk(&Value::Null, None), "choices", json!([]));
                    chunks.push(with(last, "usage", usage(billed)));
                }
                return chunks;
            }
            Delta::Failed { message, error } => {
                self.failed = true;
                let code = error.map_or("upstream_failed".into(), |error| error.code);
                return vec![failure(&message, &code)];
            }
        };
        vec![self.chunk(&said, None)]
    }
}

/// What makes their clients raise an error in the middle of a stream.
fn failure(message: &str, code: &str) -> Value {
    json!({"error": {"message": message, "type": "server_error", "param": null, "code": code}})
}

fn event(json: &Value) -> String {
    format!("data: {json}\n\n")
}

impl Wire for Chunks {
    fn begin(&self) -> Bytes {
        Bytes::from_static(b": ok\n\n")
    }

    fn batch(&mut self, batch: &Batch) -> Bytes {
        let mut text = String::new();
        for span in batch.spans() {
            let Ok(part) = serde_json::from_slice::<Part>(&span.part) else { continue };
            for delta in self.listener.hear(part) {
                text.extend(self.write(delta).iter().map(event));
            }
        }
        text.into()
    }

    fn end(&self) -> Bytes {
        Bytes::from_static(if self.failed { b"" } else { DONE.as_bytes() })
    }

    /// Their clients take a stream that just ends for a whole one.
    fn cut(&self, why: Cut) -> Bytes {
        event(&match why {
            Cut::TooSlow => failure("The stream is read too slowly.", "too_slow"),
            Cut::Restarting => failure("The server is restarting.", "unavailable"),
        })
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{ErrorData, FinishData, TurnLog, UsageData};
    use crate::llm::FinishReason;
    use crate::types::{MessageId, Provenance, TurnId};

    async fn written(parts: &[Part], include_usage: bool) -> Vec<Value> {
        let log = TurnLog::new(TurnId::new());
        parts.iter().for_each(|part| log.append(part));
        let (id, model) = ("chatcmpl-1".into(), "m".into());
        let mut chunks =
            Chunks::new(Head { id, created: 7, model, include_usage, calls: Calls::All });
        let mut text = String::new();
        let mut cursor = log.cursor(0);
        while let Some(batch) = cursor.next().await {
            text.push_str(std::str::from_utf8(&chunks.batch(&batch)).unwrap());
        }
        text.push_str(std::str::from_utf8(&chunks.end()).unwrap());
        let events = text.split_terminator("\n\n");
        let data = |event: &str| match event.strip_prefix("data: ").expect("nothing but data") {
            "[DONE]" => json!("[DONE]"),
            json => serde_json::from_str(json).unwrap(),
        };
        events.map(data).collect()
    }

    fn start() -> Part {
        Part::Start { message_id: MessageId::new() }
    }

    fn billed() -> Part {
        let data = UsageData {
            input_tokens: 10,
            cached_input_tokens: 4,
            output_tokens: 5,
            reasoning_tokens: 2,
            provenance: Provenance::Exact,
            cost_nano_usd: None,
        };
        Part::DataUsage { data }
    }

    #[tokio::test]
    async fn text_comes_in_chunks_and_usage_when_it_was_asked_for() {
        let parts = [start(), Part::delta("Hi".into()), billed(), Part::Finish {}];
        let said = written(&parts, true).await;
        let delta = |n: usize| &said[n]["choices"][0]["delta"];
        assert_eq!(delta(0), &json!({"role": "assistant", "content": ""}));
        assert_eq!((delta(1), &said[1]["usage"]), (&json!({"content": "Hi"}), &Value::Null));
        assert_eq!(
            (delta(2), &said[2]["choices"][0]["finish_reason"]),
            (&json!({}), &json!("stop"))
        );
        assert_eq!(said[3]["choices"], json!([]));
        assert_eq!(said[3]["usage"]["total_tokens"], 15);
        assert_eq!(said[3]["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
        assert_eq!(said[3]["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
        assert_eq!(said[4], "[DONE]");
        assert!(said[..4].iter().all(|chunk| chunk["id"] == "chatcmpl-1" && chunk["created"] == 7));
        let without = written(&parts, false).await;
        assert_eq!(without.len(), 4);
        assert!(without.iter().all(|chunk| chunk.get("usage").is_none()));
    }

    #[tokio::test]
    async fn calls_of_tools_come_in_pieces_and_end_the_answer() {
        let begin = |id: &str, name: &str| Part::ToolInputStart {
            tool_call_id: id.into(),
            tool_name: name.into(),
        };
        let input = |id: &str, json: &str| Part::ToolInputDelta {
            tool_call_id: id.into(),
            input_text_delta: json.into(),
        };
        let finish = FinishData { reason: FinishReason::ToolCalls };
        let parts = [
            start(),
            Part::ReasoningDelta { id: "r1".into(), delta: "Hm.".into() },
            begin("a", "add"),
            input("a", "{\"x\""),
            begin("b", "sub"),
            input("b", "{}"),
            input("a", ":1}"),
            Part::DataFinish { data: finish },
            Part::Finish {},
        ];
        let said = written(&parts, false).await;
        assert_eq!(said[1]["choices"][0]["delta"], json!({"reasoning_content": "Hm."}));
        let calls: Vec<&Value> =
            said[2..7].iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).collect();
        assert_eq!(
            calls[0],
            &json!({"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": ""}})
        );
        assert_eq!(calls[2]["index"], 1);
        assert_eq!(calls[4], &json!({"index": 0, "function": {"arguments": ":1}"}}));
        assert_eq!(said[7]["choices"][0]["finish_reason"], "tool_calls");
    }

    #[tokio::test]
    async fn a_failure_is_an_error_and_not_done() {
        let error = ErrorData { code: "llm_timeout".into(), retryable: true };
        let text = "The model took too long.".to_owned();
        let parts = [
            start(),
            Part::delta("Hi".into()),
            Part::DataError { data: error },
            Part::Error { error_text: text },
        ];
        let said = written(&parts, true).await;
        let last = said.last().unwrap();
        assert_eq!(last["error"]["message"], "The model took too long.");
        assert_eq!(last["error"]["code"], "llm_timeout");
    }

    #[tokio::test]
    async fn a_stopped_answer_is_an_answer() {
        let said = written(&[start(), Part::delta("Hi".into()), Part::Abort {}], false).await;
        assert_eq!(said[2]["choices"][0]["finish_reason"], "stop");
        assert_eq!(said[3], "[DONE]");
    }
}
