//! What a scripted answer looks like in the stream of each provider: the path that is asked decides.

use super::Step;
use serde_json::{Value, json};

#[derive(Clone, Copy)]
enum Wire {
    OpenAi,
    Anthropic,
    Gemini,
}

/// Writes one answer.
pub struct Writer {
    wire: Wire,
    /// What the script says of usage; Anthropic tells the prompt's before anything else.
    usage: Option<(u64, u64)>,
    begun: bool,
    /// Anthropic's number of the block that is open, and what it holds.
    block: u64,
    open: Option<&'static str>,
    calls: u64,
}

impl Writer {
    pub fn new(path: &str, steps: &[Step]) -> Self {
        let wire = if path.ends_with("/messages") {
            Wire::Anthropic
        } else if path.contains(":streamGenerateContent") {
            Wire::Gemini
        } else {
            Wire::OpenAi
        };
        let usage = steps.iter().find_map(|step| match step {
            Step::Usage(input, output) => Some((*input, *output)),
            _ => None,
        });
        Self { wire, usage, begun: false, block: 0, open: None, calls: 0 }
    }

    /// A stretch of the answer.
    pub fn text(&mut self, text: &str) -> String {
        match self.wire {
            Wire::OpenAi => delta(json!({"content": text}), None),
            Wire::Anthropic => {
                let opened = self.block("text", json!({"text": ""}));
                opened + &self.piece(json!({"type": "text_delta", "text": text}))
            }
            Wire::Gemini => response(&[json!({"text": text})], None),
        }
    }

    /// A stretch of what is thought.
    pub fn thought(&mut self, text: &str) -> String {
        match self.wire {
            Wire::OpenAi => delta(json!({"reasoning_content": text}), None),
            Wire::Anthropic => {
                let opened = self.block("thinking", json!({"thinking": "", "signature": ""}));
                opened + &self.piece(json!({"type": "thinking_delta", "thinking": text}))
            }
            Wire::Gemini => response(&[json!({"text": text, "thought": true})], None),
        }
    }

    /// A call, its arguments in two pieces where they can be.
    pub fn call(&mut self, id: &str, name: &str, arguments: &str) -> String {
        let (index, (head, tail)) = (self.calls, arguments.split_at(1));
        self.calls += 1;
        match self.wire {
            Wire::OpenAi => {
                let begin = json!({"index": index, "id": id, "type": "function",
                    "function": {"name": name, "arguments": head}});
                let rest = json!({"index": index, "function": {"arguments": tail}});
                let calls = |call: Value| delta(json!({"tool_calls": [call]}), None);
                calls(begin) + &calls(rest)
            }
            Wire::Anthropic => {
                let closed = self.close();
                let begin = json!({"id": id, "name": name, "input": {}});
                let opened = closed + &self.block("tool_use", begin);
                let input = |json: &str| json!({"type": "input_json_delta", "partial_json": json});
                opened + &self.piece(input(head)) + &self.piece(input(tail))
            }
            Wire::Gemini => {
                let args: Value = serde_json::from_str(arguments).unwrap();
                let call = json!({"id": id, "name": name, "args": args});
                response(&[json!({"functionCall": call})], None)
            }
        }
    }

    /// The answer is complete.
    pub fn finish(&mut self) -> String {
        let waits = self.calls > 0;
        match self.wire {
            Wire::OpenAi => delta(json!({}), Some(if waits { "tool_calls" } else { "stop" })),
            Wire::Anthropic => {
                let reason = if waits { "tool_use" } else { "end_turn" };
                let ended = self.begin() + &self.close();
                let delta = json!({"stop_reason": reason, "stop_sequence": null});
                let usage = self.usage.map(|(_, output)| json!({"output_tokens": output}));
                ended + &event("message_delta", json!({"delta": delta, "usage": usage}))
            }
            Wire::Gemini => response(&[], self.usage),
        }
    }

    /// What it cost; where the protocol has a frame for it.
    pub fn usage(&self, input: u64, output: u64) -> String {
        match self.wire {
            Wire::OpenAi => data(&json!({"id": "chatcmpl-1", "object": "chat.completion.chunk",
                "created": 1, "model": "scripted", "choices": [], "usage": {"prompt_tokens": input,
                "completion_tokens": output, "total_tokens": input + output}})),
            Wire::Anthropic | Wire::Gemini => String::new(),
        }
    }

    /// Nothing follows; where the protocol says so.
    pub fn done(&self) -> String {
        match self.wire {
            Wire::OpenAi => "data: [DONE]\n\n".to_owned(),
            Wire::Anthropic => event("message_stop", json!({})),
            Wire::Gemini => String::new(),
        }
    }

    fn begin(&mut self) -> String {
        if std::mem::replace(&mut self.begun, true) {
            return String::new();
        }
        let usage = self.usage.map(|(input, _)| json!({"input_tokens": input, "output_tokens": 1}));
        let message = json!({"id": "msg_1", "type": "message", "role": "assistant",
            "model": "scripted", "content": [], "stop_reason": null, "usage": usage});
        event("message_start", json!({"message": message})) + &event("ping", json!({}))
    }

    /// Opens a block of this kind, unless one is open.
    fn block(&mut self, kind: &'static str, mut block: Value) -> String {
        if self.open == Some(kind) {
            return String::new();
        }
        let closed = self.begin() + &self.close();
        self.open = Some(kind);
        block["type"] = kind.into();
        let begin = json!({"index": self.block, "content_block": block});
        closed + &event("content_block_start", begin)
    }

    fn piece(&self, delta: Value) -> String {
        event("content_block_delta", json!({"index": self.block, "delta": delta}))
    }

    fn close(&mut self) -> String {
        match self.open.take() {
            Some(_) => {
                self.block += 1;
                event("content_block_stop", json!({"index": self.block - 1}))
            }
            None => String::new(),
        }
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn delta(delta: Value, finish: Option<&str>) -> String {
    data(&json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
        "model": "scripted", "usage": null,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))
}

fn event(name: &str, mut value: Value) -> String {
    value["type"] = name.into();
    format!("event: {name}\n{}", data(&value))
}

/// A piece of Gemini's; the last one is empty, and has the usage.
fn response(parts: &[Value], usage: Option<(u64, u64)>) -> String {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    if parts.is_empty() {
        candidate["finishReason"] = "STOP".into();
    }
    let mut response = json!({"candidates": [candidate], "modelVersion": "scripted"});
    if let Some((input, output)) = usage {
        response["usageMetadata"] = json!({"promptTokenCount": input,
            "candidatesTokenCount": output, "totalTokenCount": input + output});
    }
    data(&response)
}
