//! What a server said when it refused: the common error envelope, cut short and made safe to log.
//!
//! Reads `{"error":{"message","code","type"}}` and the looser shapes that OpenAI-compatible
//! servers send. Invariant: at most 200 printable characters survive, and never
//! our own key. Deliberately absent: the raw body, which may echo the prompt.

use std::{fmt, time::Duration};

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;

use super::retry_after;
use crate::types::Secret;

/// Longest error message kept, in characters.
const MAX_MESSAGE_CHARS: usize = 200;
/// Longest error code kept, in bytes.
const MAX_CODE_BYTES: usize = 64;
/// An error body is read up to here; what follows is ignored.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// An error body that takes longer is not waited for.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// The machine's word and the human's word of an error, each where present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Complaint {
    /// A code such as `rate_limit_exceeded`: letters, digits, `_`, `-`, `.` only.
    pub code: Option<String>,
    /// One short line of text.
    pub message: Option<String>,
}

/// An HTTP answer outside 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What the body said, as far as it could be understood.
    pub complaint: Complaint,
    /// How long the server asked us to wait.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads the refusal out of `response`; never fails, an unreadable body is an empty complaint.
    pub async fn read(response: reqwest::Response, secret: Option<&Secret>) -> Self {
        Self::read_with_body(response, secret).await.0
    }

    /// The same with the body as JSON, for a caller who knows its shape and that it holds no prompt.
    pub async fn read_with_body(
        response: reqwest::Response,
        secret: Option<&Secret>,
    ) -> (Self, Value) {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        let _ = timeout(BODY_TIMEOUT, async {
            while let Some(Ok(chunk)) = chunks.next().await {
                body.extend_from_slice(&chunk);
                if body.len() >= MAX_BODY_BYTES {
                    break;
                }
            }
        })
        .await;
        let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let complaint = Complaint::parse(&body, secret);
        (Self { status, complaint, retry_after }, body)
    }

    /// Whether the same request may succeed in a moment: busy or broken servers, not refusals
    /// that depend on the request or on an unpaid bill.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.status {
            429 => self.complaint.code.as_deref() != Some("insufficient_quota"),
            408 | 500..=599 => true,
            _ => false,
        }
    }
}

impl Complaint {
    /// Finds the complaint in a JSON body: under `error`, or at the top level.
    #[must_use]
    pub fn parse(body: &Value, secret: Option<&Secret>) -> Self {
        let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
        let text = |key: &str| match error.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let message = error.as_str().map(str::to_owned);
        let message = message.or_else(|| text("message")).or_else(|| text("detail"));
        let code = text("code").filter(|code| is_code(code));
        Self {
            code: code.or_else(|| text("type").filter(|code| is_code(code))),
            message: message.map(|message| tidy(&message, secret)).filter(|m| !m.is_empty()),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, "{code}: {message}"),
            (Some(one), None) | (None, Some(one)) => f.write_str(one),
            (None, None) => f.write_str("no reason given"),
        }
    }
}

fn is_code(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !text.is_empty() && text.len() <= MAX_CODE_BYTES && text.bytes().all(allowed)
}

/// One printable line of bounded length without the key.
fn tidy(message: &str, secret: Option<&Secret>) -> String {
    let message = secret.map_or_else(|| message.to_owned(), |secret| secret.redact(message));
    let line = message.split_whitespace().map(without_controls).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

fn without_controls(word: &str) -> String {
    // A key that is not ours (a proxy's, say) still looks like one.
    if word.trim_start_matches(['"', '\'', '(']).starts_with("sk-") {
        return "***".to_owned();
    }
    word.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_the_shapes_that_exist() {
        let parse = |body: Value| Complaint::parse(&body, None).to_string();
        assert_eq!(parse(json!({"error":{"message":"No","code":"bad","type":"t"}})), "bad: No");
        assert_eq!(parse(json!({"error":{"message":"No","code":null,"type":"t"}})), "t: No");
        assert_eq!(parse(json!({"error":{"message":"No","code":503}})), "503: No");
        assert_eq!(parse(json!({"error":"overloaded"})), "overloaded");
        assert_eq!(parse(json!({"detail":"Not Found"})), "Not Found");
        assert_eq!(parse(json!({"object":"error","message":"x","code":40})), "40: x");
        assert_eq!(parse(json!([1, 2])), "no reason given");
    }

    #[test]
    fn keeps_no_key_no_novel_no_control_character() {
        let secret = Secret::new("hunter2hunter2");
        let long = format!("bad\u{1b}[31m key hunter2hunter2 or sk-proj-1234 {}", "x".repeat(9000));
        let complaint = Complaint::parse(&json!({"error":{"message":long}}), Some(&secret));
        let message = complaint.message.unwrap();
        assert!(message.starts_with("bad[31m key *** or *** xxx"), "{message}");
        assert_eq!(message.chars().count(), MAX_MESSAGE_CHARS + 1);
        let code = Complaint::parse(&json!({"error":{"code":"a b\nc"}}), None).code;
        assert_eq!(code, None);
    }

    #[test]
    fn an_unpaid_bill_is_not_transient() {
        let refusal = |status, code: &str| Refusal {
            status,
            complaint: Complaint { code: Some(code.into()), message: None },
            retry_after: None,
        };
        assert!(refusal(429, "rate_limit_exceeded").is_transient());
        assert!(!refusal(429, "insufficient_quota").is_transient());
        assert!(refusal(503, "x").is_transient());
        assert!(!refusal(401, "invalid_api_key").is_transient());
    }
}
