//! A turn for the AI SDK. Our parts are its parts already, of the kinds that all its versions since 5.0.0 read; newer
//! ones are sent to clients that say that they know them.

use crate::api::stream::{Cut, Wire};
use crate::chat::{Batch, Part};
use crate::llm::FinishReason;
use crate::types::TurnId;
use actix_web::HttpRequest;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};
use std::io::Write;

/// The major version of the client's `ai`.
const VERSION: &str = "x-docent-ai-sdk";
/// The oldest one that reads why an answer ended.
const FINISH_REASON_SINCE: u32 = 6;

/// Writes UI messages.
pub(super) struct UiStream {
    turn: TurnId,
    version: u32,
    reason: FinishReason,
}

impl UiStream {
    pub(super) fn new(turn: TurnId, request: &HttpRequest) -> Self {
        let said = request.headers().get(VERSION).and_then(|value| value.to_str().ok());
        let major = said.and_then(|said| said.split('.').next()?.parse().ok());
        Self::of_version(turn, major.unwrap_or_default())
    }

    fn of_version(turn: TurnId, version: u32) -> Self {
        Self { turn, version, reason: FinishReason::Stop }
    }

    /// What a part is for this client, where it is not the same.
    fn other(&mut self, part: &[u8]) -> Option<Value> {
        let begins = |kind: &str| part.starts_with(format!("{{\"type\":\"{kind}").as_bytes());
        if begins("tool-") && !begins("tool-input-delta") {
            let mut tool: Map<String, Value> = serde_json::from_slice(part).ok()?;
            // Else a client would think that it has to run it.
            tool.insert("providerExecuted".into(), true.into());
            return Some(tool.into());
        }
        if self.version < FINISH_REASON_SINCE {
            return None;
        }
        if begins("data-finish") {
            if let Ok(Part::DataFinish { data }) = serde_json::from_slice(part) {
                self.reason = data.reason;
            }
            return None;
        }
        begins("finish\"").then(|| json!({"type": "finish", "finishReason": self.reason}))
    }
}

impl Wire for UiStream {
    fn begin(&self) -> Bytes {
        Bytes::from_static(b": ok\n\n")
    }

    fn batch(&mut self, batch: &Batch) -> Bytes {
        let mut out = BytesMut::new().writer();
        for span in batch.spans() {
            // Writing into memory cannot fail.
            drop(write!(out, "id: {}.{}\ndata: ", self.turn, span.last));
            drop(match self.other(&span.part) {
                Some(other) => write!(out, "{other}"),
                None => out.write_all(&span.part),
            });
            drop(out.write_all(b"\n\n"));
        }
        out.into_inner().freeze()
    }

    fn end(&self) -> Bytes {
        Bytes::from_static(b"data: [DONE]\n\n")
    }

    /// Its clients take a stream that just ends for a whole one.
    fn cut(&self, why: Cut) -> Bytes {
        let why = match why {
            Cut::TooSlow => "The answer is read too slowly: resume it.",
            Cut::Restarting => "The server is restarting: resume the answer.",
        };
        format!("data: {}\n\n", json!({"type": "error", "errorText": why})).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{FinishData, TurnLog};

    async fn written(version: u32) -> Vec<Value> {
        let log = TurnLog::new(TurnId::new());
        let (tool_call_id, tool_name) = (String::from("c"), String::from("add"));
        let input = json!({"a": 1});
        log.append(&Part::ToolInputStart {
            tool_call_id: tool_call_id.clone(),
            tool_name: tool_name.clone(),
        });
        log.append(&Part::ToolInputDelta {
            tool_call_id: tool_call_id.clone(),
            input_text_delta: "{".into(),
        });
        log.append(&Part::ToolInputAvailable { tool_call_id, tool_name, input });
        log.append(&Part::delta("\"type\":\"finish\"".into()));
        log.append(&Part::DataFinish { data: FinishData { reason: FinishReason::Length } });
        log.append(&Part::Finish {});
        let mut wire = UiStream::of_version(log.turn(), version);
        let mut cursor = log.cursor(0);
        let mut text = String::new();
        while let Some(batch) = cursor.next().await {
            text.push_str(std::str::from_utf8(&wire.batch(&batch)).unwrap());
        }
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn the_oldest_client_gets_what_it_reads() {
        let said = written(0).await;
        let ours = said.iter().map(|part| part["providerExecuted"] == true);
        assert_eq!(ours.collect::<Vec<_>>(), [true, false, true, false, false, false]);
        assert_eq!(said[2]["input"], json!({"a": 1}));
        assert_eq!(said[3]["delta"], "\"type\":\"finish\"");
        assert_eq!(said[5], json!({"type": "finish"}));
    }

    #[tokio::test]
    async fn a_newer_client_is_told_why_it_ended() {
        let said = written(6).await;
        assert_eq!(said[5], json!({"type": "finish", "finishReason": "length"}));
    }
}
