//! The provider's vectors: words, hashed. Texts that share words are near each other, and each model has vectors
//! of its own.

use super::{Script, Step};
use serde_json::{Value, json};

/// The texts of a request.
pub fn texts(body: &Value) -> Vec<String> {
    let texts = body["input"].as_array().into_iter().flatten();
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// What answers a request. A model has as many dimensions as its name says: `words-64`.
pub fn script(body: &Value) -> Script {
    let model = body["model"].as_str().unwrap();
    let own = model.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(1536);
    let dimensions = body["dimensions"].as_u64().unwrap_or(own);
    let texts = texts(body);
    let item = |(index, text): (usize, &String)| json!({"object": "embedding", "index": index, "embedding": vector(model, text, dimensions)});
    let data: Vec<Value> = texts.iter().enumerate().map(item).collect();
    let tokens: usize = texts.iter().map(|text| tokens(text)).sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let answer = json!({"object": "list", "data": data, "model": model, "usage": usage});
    let steps = vec![Step::Raw(answer.to_string().into_bytes())];
    Script { content_type: "application/json", ..Script::steps(steps) }
}

/// What a text costs: its words, and one.
pub fn tokens(text: &str) -> usize {
    text.split_whitespace().count() + 1
}

/// The vector of a text.
pub fn vector(model: &str, text: &str, dimensions: u64) -> Vec<f64> {
    let mut vector = vec![0.0; usize::try_from(dimensions).unwrap()];
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    for word in words.chain(["", model]) {
        let seed = model.bytes().chain(word.to_lowercase().into_bytes());
        let hash = seed.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let slot = usize::try_from((hash ^ (hash >> 29)) % dimensions).unwrap();
        vector[slot] += 1.0;
    }
    vector
}
