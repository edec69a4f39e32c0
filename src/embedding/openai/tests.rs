//! The client against a scripted server on a real socket.

use std::time::Duration;

use serde_json::json;

use super::{Limits, OpenAiEmbedder, OpenAiModel};
use crate::types::Secret;
use crate::{
    embedding::{EmbedError, Embedder as _},
    net::{
        Backoff, ClientOptions, client,
        script::{Reply, Script},
    },
};

fn embedder(server: &Script, send_dimensions: bool) -> OpenAiEmbedder {
    let model = OpenAiModel {
        base_url: server.url("/v1"),
        api_key: Some(Secret::new("sk-test")),
        name: "small-2".into(),
        model: "small".into(),
        dimensions: 2,
        send_dimensions,
        limits: Limits::default(),
    };
    let millisecond = Duration::from_millis(1);
    OpenAiEmbedder::new(client(&ClientOptions::default()).unwrap(), model)
        .with_deadline(Duration::from_millis(400))
        .with_backoff(Backoff { base: millisecond, cap: millisecond * 10, retries: 3 })
}

fn vectors(from: usize, count: usize) -> Reply {
    let data: Vec<_> = (0..count)
        .rev()
        .map(|n| json!({"object": "embedding", "index": n, "embedding": [from + n, 0.5]}))
        .collect();
    let usage = json!({"prompt_tokens": count, "total_tokens": count});
    Reply::json(200, "", &json!({"data": data, "usage": usage}).to_string())
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("text {n}")).collect()
}

#[tokio::test]
async fn a_batch_is_one_request_and_stays_in_order() {
    let server = Script::start(vec![vectors(0, 128)]).await;
    let embedded = embedder(&server, false).embed(texts(128)).await.unwrap();
    let firsts: Vec<f32> = embedded.vectors.iter().map(|vector| vector[0]).collect();
    assert_eq!(firsts, (0_u16..128).map(f32::from).collect::<Vec<_>>());
    assert_eq!((embedded.tokens, embedded.exact), (128, true));

    let body = server.body(0);
    assert_eq!(body["input"].as_array().unwrap().len(), 128);
    assert_eq!((&body["encoding_format"], &body["model"]), (&json!("float"), &json!("small")));
    assert!(body.get("dimensions").is_none());
    assert!(server.requests()[0].to_lowercase().contains("authorization: bearer sk-test"));
}

#[tokio::test]
async fn the_tokens_of_all_batches_are_summed() {
    let server = Script::start(vec![vectors(0, 128); 2]).await;
    let embedded = embedder(&server, false).embed(texts(256)).await.unwrap();
    assert_eq!((embedded.vectors.len(), embedded.tokens), (256, 256));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn dimensions_are_sent_when_configured_and_nothing_is_asked_for_nothing() {
    let server = Script::start(vec![vectors(0, 1)]).await;
    let embedder = embedder(&server, true);
    assert_eq!((embedder.name(), embedder.dimensions()), ("small-2", 2));
    assert!(embedder.embed(vec![]).await.unwrap().vectors.is_empty());
    embedder.embed(texts(1)).await.unwrap();
    assert_eq!(server.body(0)["dimensions"], 2);
}

#[tokio::test]
async fn without_usage_the_tokens_are_our_count() {
    let reply = Reply::json(200, "", r#"{"data":[{"embedding":[1,2]}]}"#);
    let server = Script::start(vec![reply]).await;
    let embedded = embedder(&server, false).embed(vec!["hello world".into()]).await.unwrap();
    assert_eq!((embedded.tokens, embedded.exact), (2, false));
}

#[tokio::test]
async fn a_busy_server_is_asked_up_to_four_times() {
    let busy = Reply::json(429, "", "{}");
    let down = Reply::json(502, "", "bad gateway");
    let replies = vec![busy.clone(), down, Reply::default().reset(), vectors(0, 1)];
    let server = Script::start(replies).await;
    assert!(embedder(&server, false).embed(texts(1)).await.is_ok());

    let server = Script::start(vec![busy; 5]).await;
    let error = embedder(&server, false).embed(texts(1)).await.unwrap_err();
    assert!(error.retryable() && error.code() == "embedding_busy", "{error}");
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn refusals_silence_and_nonsense_are_errors() {
    let refused = Reply::json(401, "", r#"{"error":{"message":"bad key sk-test"}}"#);
    let server = Script::start(vec![refused]).await;
    let error = embedder(&server, false).embed(texts(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "the embedding provider answered 401: bad key ***");
    assert_eq!(server.requests().len(), 1);

    let server = Script::start(vec![Reply::sse().then("{").hang()]).await;
    let error = embedder(&server, false).embed(texts(1)).await.unwrap_err();
    assert!(matches!(error, EmbedError::Timeout { .. }), "{error}");

    let server = Script::start(vec![vectors(0, 2)]).await;
    let error = embedder(&server, false).embed(texts(1)).await.unwrap_err();
    assert!(matches!(error, EmbedError::Protocol { .. }), "{error}");
}
