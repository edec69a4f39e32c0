//! Programs written for OpenAI's API, with OpenAI's own clients.

use crate::support::{Client, Script, Step, User, World, WorldOptions};
use serde_json::{Value, json};

const MODEL: &str = "hashed-ngram-384";

async fn program(world: &World) -> (User, User) {
    let anna = world.user("anna@acme.test").await;
    let (program, _) = anna.key(json!({"name": "bot", "scopes": ["chat"]})).await;
    (anna, program)
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_find_the_tenants_assistants_and_what_embeds() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    let stranger = world.user("eve@globex.test").await;
    world
        .database
        .run(
            "UPDATE assistants SET slug = 'hers' WHERE tenant_id <>
        (SELECT tenant_id FROM tenants WHERE slug = 'acme')",
        )
        .await;
    for client in Client::BOTH {
        let said = client.plays(&program, "models", "").await;
        assert_eq!(
            said["ids"],
            json!(["default", "fast", "smart", "gpt-4o-mini", MODEL]),
            "{client:?}"
        );
        assert_eq!(said["one"], "model");
        let none = &said["none"];
        assert_eq!(
            (&none["class"], &none["code"]),
            (&json!("NotFoundError"), &json!("model_not_found"))
        );
        assert_eq!(
            client.plays(&stranger, "models", "").await["ids"][0],
            "hers",
            "a login will do"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_embed_texts_and_the_tokens_are_billed() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    let mut tokens = 0;
    for client in Client::BOTH {
        let said = client.plays(&program, "embeddings", MODEL).await;
        for what in ["same", "one", "near"] {
            assert_eq!(said[what], true, "{client:?}, {what}: {said}");
        }
        assert_eq!(said["length"], 384);
        let (three, one) =
            (said["tokens"][0].as_i64().unwrap(), said["tokens"][1].as_i64().unwrap());
        assert!(three > one && one > 0, "{said}");
        tokens += 2 * three + one;
        assert!(said["headers"]["x-request-id"].is_string());
        assert_eq!(said["headers"]["x-ratelimit-limit-requests"], "600");
        assert!(said["headers"]["x-ratelimit-reset-tokens"].is_string());
        for (what, param) in
            [("of_tokens", "input"), ("too_many", "input"), ("dimensions", "dimensions")]
        {
            let error = &said[what];
            assert_eq!(error["class"], "BadRequestError", "{client:?}, {what}: {error}");
            assert_eq!(
                (&error["type"], &error["param"]),
                (&json!("invalid_request_error"), &json!(param))
            );
            assert!(error["request_id"].is_string());
        }
        assert_eq!(said["model"]["code"], "model_not_found");
    }
    let (_, usage) = anna.get("/v1/usage").await;
    assert_eq!(usage["today"]["totals"]["embedding_tokens"], tokens, "{usage}");
    assert_eq!(usage["today"]["totals"]["requests"], Value::Null, "no questions were asked");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_raise_the_right_errors_when_they_are_refused() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    let nobody = User { token: format!("{}x", program.token), ..program.clone() };
    let (files, _) = anna.key(json!({"name": "files", "scopes": ["files"]})).await;
    let (slow, _) =
        anna.key(json!({"name": "slow", "scopes": ["chat"], "requests_per_minute": 1})).await;
    for client in Client::BOTH {
        let said = client.plays(&nobody, "refused", MODEL).await;
        for call in ["models", "embeddings"] {
            assert_eq!(said[call]["class"], "AuthenticationError", "{client:?}: {said}");
            assert_eq!(said[call]["code"], "invalid_api_key");
        }
        let said = client.plays(&files, "refused", MODEL).await;
        assert_eq!(said["embeddings"]["class"], "PermissionDeniedError", "{client:?}: {said}");
        assert_eq!(said["embeddings"]["code"], "scope_missing");
        assert!(said["embeddings"]["message"].as_str().unwrap().contains("`chat`"));
        drop(client.plays(&slow, "refused", MODEL).await); // it may once
        let said = client.plays(&slow, "refused", MODEL).await;
        assert_eq!(said["embeddings"]["class"], "RateLimitError", "{client:?}: {said}");
        assert_eq!(said["embeddings"]["code"], "rate_limit_exceeded");
        assert!(said["embeddings"]["retry_after"].is_string());
        assert_eq!(said["models"], Value::Null, "to look is not limited");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedding_that_cannot_be_paid_for_is_not_made() {
    let options = WorldOptions { provider: false, ..WorldOptions::default() };
    let world = World::with(options).await;
    let (anna, program) = program(&world).await;
    world
        .database
        .run(&format!(
            "INSERT INTO tenant_prices (tenant_id, version, model, valid_from, input)
               VALUES ('{0}', '{MODEL}@2026-01-01/own', '{MODEL}', '2026-01-01', 1000000000000);
             INSERT INTO quota_overrides (tenant_id, scope, scope_id, period, meter, max_amount)
               VALUES ('{0}', 'user', '{1}', 'day', 'cost_nano_usd', 9000000)",
            anna.tenant_id, anna.id
        ))
        .await;
    let ask = |text: &str| program.post("/v1/embeddings", json!({"model": MODEL, "input": text}));
    let (status, answer) = ask("One two three.").await;
    assert_eq!(status, 200, "{answer}");
    let (status, refused) = ask("One two three four five six seven eight nine ten.").await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (429, &json!("insufficient_quota")),
        "{refused}"
    );
    let said = Client::Python.plays(&program, "refused", MODEL).await;
    assert_eq!(said["embeddings"], Value::Null, "a little is left");
    let billed =
        "SELECT sum(quantity)::bigint AS n FROM usage_ledger WHERE meter = 'embedding_tokens'";
    let tokens = answer["usage"]["total_tokens"].as_i64().unwrap();
    assert_eq!(world.database.number(billed).await, tokens + 1, "what was refused is not billed");
    world.database.check_books().await;
}

/// A call of the tool `add`, in two pieces.
fn call() -> Script {
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        Step::Raw(format!("data: {chunk}\n\n").into_bytes())
    };
    let begin = json!({"index": 0, "id": "call_1", "type": "function",
        "function": {"name": "add", "arguments": "{\"a\""}});
    let rest = json!({"index": 0, "function": {"arguments": ":1}"}});
    Script::steps(vec![
        chunk(json!({"tool_calls": [begin]}), Value::Null),
        chunk(json!({"tool_calls": [rest]}), Value::Null),
        chunk(json!({}), json!("tool_calls")),
        Step::Usage(10, 4),
        Step::Done,
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_chat_whole_and_streamed() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    for client in Client::BOTH {
        for _ in 0..2 {
            world.provider.next(Script::text(&["Forty", "-two", "."], 20, 3));
        }
        let said = client.plays(&program, "chat", "").await;
        let whole = json!(["Forty-two.", "stop", 20, 3, "gpt-4o-mini"]);
        let stream = json!({"text": "Forty-two.", "calls": [], "finish": "stop", "total": 23, "citations": 0});
        assert_eq!((&said["whole"], &said["stream"]), (&whole, &stream), "{client:?}");
    }
    let asked = &world.provider.requests()[0];
    let messages = json!([{"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the answer?"}]);
    assert_eq!(asked["messages"], messages, "nothing of ours is put before it: {asked}");
    assert_eq!((&asked["temperature"], &asked["max_tokens"]), (&json!(0.5), &json!(50)), "{asked}");
    assert_eq!(asked["stop"], json!(["END"]));
    let (_, conversations) = anna.get("/v1/conversations").await;
    assert_eq!(conversations["data"], json!([]), "nothing is kept");
    let (_, usage) = anna.get("/v1/usage").await;
    assert_eq!(usage["today"]["totals"]["requests"], 4);
    assert_eq!(usage["today"]["totals"]["output_tokens"], 12);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_call_their_own_tools_and_get_json_of_a_schema() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    for client in Client::BOTH {
        world.provider.next(call());
        world.provider.next(call());
        world.provider.next(Script::text(&["Three."], 20, 2));
        let said = client.plays(&program, "tools", "").await;
        assert_eq!(said["call"], json!(["add", "{\"a\":1}", "tool_calls", null]), "{client:?}");
        assert_eq!(said["stream"]["calls"][0]["arguments"], "{\"a\":1}", "{said}");
        assert_eq!(
            (&said["stream"]["finish"], &said["last"]),
            (&json!("tool_calls"), &json!("Three."))
        );
        let requests = world.provider.requests();
        let [first, .., last] = requests.as_slice() else { panic!("three were asked") };
        assert_eq!(first["tools"][0]["function"]["name"], "add", "{first}");
        assert_eq!(first["tool_choice"], "required");
        assert!(first["messages"].to_string().contains("data:image/png;base64,iVBORw0KGgo="));
        let result = &last["messages"][2];
        assert_eq!((&result["role"], &result["content"]), (&json!("tool"), &json!("3")), "{last}");
        assert_eq!(result["tool_call_id"], last["messages"][1]["tool_calls"][0]["id"]);

        world.provider.next(Script::text(&["{\"name\":", "\"Wien\"}"], 20, 4));
        assert_eq!(client.plays(&program, "schema", "").await["name"], "Wien");
        let asked = world.provider.requests().pop().unwrap();
        assert_eq!(asked["response_format"]["json_schema"]["name"], "City", "{asked}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_ask_an_assistant_that_reads_documents() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    anna.has_document("a.txt", b"The notice period is ninety days.").await;
    let conversation = anna.ask("How long is the notice period?").await.conversation;
    for (client, messages) in Client::BOTH.into_iter().zip([4, 6]) {
        let said = client.plays(&program, "assistant", &conversation).await;
        assert_eq!((&said["whole"], &said["stream"]), (&json!(1), &json!(1)), "{client:?}: {said}");
        assert_eq!(said["goes_on"], "Forty-two. [1]");
        assert_eq!(anna.messages(&conversation).await.len(), messages, "it is stored");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_hear_what_is_wrong_before_and_in_the_middle() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    for client in Client::BOTH {
        world.provider.next(Script::error(400, "bad"));
        world.provider.next(Script::steps(vec![Step::Text("Half".into()), Step::Reset]));
        world.provider.always(Script::error(400, "bad"));
        let said = client.plays(&program, "wrong", "").await;
        assert_eq!(said["n"]["param"], "n", "{client:?}: {said}");
        assert_eq!(said["remote"]["param"], "messages");
        assert_eq!(
            (&said["whole"]["class"], &said["whole"]["status"]),
            (&json!("InternalServerError"), &json!(502))
        );
        assert!(said["stream"].as_str().is_some_and(|why| !why.is_empty()), "{said}");
    }
    world.database.check_books().await;
}
