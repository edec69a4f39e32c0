//! The endpoint's answer, read strictly where vectors are concerned and leniently elsewhere.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::Value;

use crate::types::Secret;
use crate::{
    embedding::EmbedError,
    net::{Complaint, Refusal},
};

#[derive(Deserialize)]
struct Body {
    data: Vec<Item>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Numbers,
}

/// Servers that do not know `encoding_format` send the other one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Floats(Vec<f32>),
    /// Little-endian `f32`s.
    Base64(String),
}

/// Vectors of one batch in the order of its texts, and tokens if the server said.
#[derive(Debug)]
pub(super) struct Vectors {
    pub(super) vectors: Vec<Vec<f32>>,
    pub(super) tokens: Option<u64>,
}

/// Reads the answer to a batch of `count` texts.
pub(super) fn parse(
    body: &[u8],
    count: usize,
    dimensions: usize,
    key: Option<&Secret>,
) -> Result<Vectors, EmbedError> {
    let body: Body = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(_not_embeddings) => return Err(failure(body, key)),
    };
    if body.data.len() != count {
        return Err(protocol(format!("{} vectors for {count} texts", body.data.len())));
    }
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
    for (position, item) in body.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(position);
        let vector = item.embedding.decode()?;
        if vector.len() != dimensions {
            return Err(protocol(format!("{} dimensions instead of {dimensions}", vector.len())));
        }
        if !vector.iter().all(|value| value.is_finite()) {
            return Err(protocol("a vector that is not finite".to_owned()));
        }
        match vectors.get_mut(index) {
            Some(slot @ None) => *slot = Some(vector),
            _ => return Err(protocol(format!("index {index} twice or out of range"))),
        }
    }
    let tokens = body.usage.as_ref().and_then(|usage| {
        let tokens = usage.get("prompt_tokens").or_else(|| usage.get("total_tokens"));
        // Zero tokens for some text is a server that does not count.
        tokens?.as_u64().filter(|tokens| *tokens > 0)
    });
    Ok(Vectors { vectors: vectors.into_iter().flatten().collect(), tokens })
}

impl Numbers {
    fn decode(self) -> Result<Vec<f32>, EmbedError> {
        let text = match self {
            Self::Floats(floats) => return Ok(floats),
            Self::Base64(text) => text,
        };
        let bytes = BASE64_STANDARD
            .decode(text)
            .map_err(|error| protocol(format!("a vector that is not base64: {error}")))?;
        let (floats, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(protocol("a vector of broken floats".to_owned()));
        }
        Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

/// A 200 that holds an error, or something else altogether.
fn failure(body: &[u8], key: Option<&Secret>) -> EmbedError {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if value.get("error").is_some_and(|error| !error.is_null()) => {
            let complaint = Complaint::parse(&value, key);
            EmbedError::Status(Refusal { status: 200, complaint, retry_after: None })
        }
        Ok(_) => protocol("JSON that holds no embeddings".to_owned()),
        Err(_) => protocol("a body that is not JSON".to_owned()),
    }
}

fn protocol(detail: String) -> EmbedError {
    EmbedError::Protocol { detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vectors, EmbedError> {
        parse(body.as_bytes(), 2, 2, None)
    }

    #[test]
    fn vectors_come_in_the_order_of_the_texts() {
        let body = r#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":"AACAPwAAAEA="}],
            "usage":{"prompt_tokens":5,"total_tokens":6}}"#;
        let read = read(body).unwrap();
        assert_eq!(read.vectors, [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(read.tokens, Some(5));
    }

    #[test]
    fn a_server_may_leave_out_index_and_usage() {
        let body =
            r#"{"data":[{"embedding":[1,2]},{"embedding":[3,4]}],"usage":{"total_tokens":0}}"#;
        let read = read(body).unwrap();
        assert_eq!(read.vectors, [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(read.tokens, None);
    }

    #[test]
    fn anything_that_does_not_fit_is_refused() {
        for body in [
            r#"{"data":[{"embedding":[1,2]}]}"#,
            r#"{"data":[{"embedding":[1,2]},{"embedding":[1]}]}"#,
            r#"{"data":[{"index":0,"embedding":[1,2]},{"index":0,"embedding":[1,2]}]}"#,
            r#"{"data":[{"index":0,"embedding":[1,2]},{"index":2,"embedding":[1,2]}]}"#,
            r#"{"data":[{"embedding":[1,1e39]},{"embedding":[1,2]}]}"#,
            r#"{"data":[{"embedding":"AAAA"},{"embedding":[1,2]}]}"#,
            r#"{"data":[{"embedding":"?"},{"embedding":[1,2]}]}"#,
            r#"{"data":[{"embedding":null},{"embedding":[1,2]}]}"#,
            "[]",
            "<html>",
        ] {
            let error = read(body).unwrap_err();
            assert!(matches!(error, EmbedError::Protocol { .. }), "{body}: {error}");
        }
        let error = read(r#"{"error":{"message":"no","code":"bad"}}"#).unwrap_err();
        assert_eq!(error.to_string(), "the embedding provider answered 200: bad: no");
    }
}
