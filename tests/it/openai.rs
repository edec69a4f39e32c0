//! Programs written for OpenAI's API, with OpenAI's own clients.

use crate::support::provider_vectors;
use crate::support::{Client, Script, Step, Stream, User, World, WorldOptions};
use crate::tools::clerk;
use reqwest::Method;
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
        assert_eq!(said["embeddings"]["left"], "0");
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
        let asked = world.provider.requests().pop().unwrap();
        assert_eq!(
            (&asked["temperature"], &asked["top_p"]),
            (&json!(0.25), &json!(0.5)),
            "{asked}"
        );
        assert_eq!((&asked["max_tokens"], &asked["stop"]), (&json!(40), &json!(["END"])));
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
        let unknown = (&said["unknown"]["class"], &said["unknown"]["code"]);
        assert_eq!(unknown, (&json!("NotFoundError"), &json!("model_not_found")), "{said}");
        assert_eq!(
            (&said["whole"]["class"], &said["whole"]["status"]),
            (&json!("InternalServerError"), &json!(502))
        );
        assert!(said["stream"].as_str().is_some_and(|why| !why.is_empty()), "{said}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_clients_get_the_answer_of_an_assistant_that_uses_its_own_tools() {
    let world = World::start().await;
    let olga = clerk(&world, &["calculator", "refund"]).await;
    let refund = json!({"name": "refund", "description": "Pays back.", "method": "POST",
        "parameters": {"type": "object"}, "url": "https://shop.test/refunds"});
    assert_eq!(olga.post("/v1/tools", refund).await.0, 201);
    let (program, _) = olga.key(json!({"name": "bot", "scopes": ["chat"]})).await;
    let calculates = || {
        let calls = [("c1", "calculator", r#"{"expression": "6 * 7"}"#)];
        world.provider.next(Script::calls("Hm.", &calls, 100, 10));
        world.provider.next(Script::text(&["It is ", "42."], 120, 5));
    };
    for client in Client::BOTH {
        calculates();
        calculates();
        world.provider.next(call());
        let said = client.plays(&program, "clerk", "").await;
        let stream = json!({"text": "It is 42.", "calls": [], "finish": "stop", "total": 235, "citations": 0});
        assert_eq!(said["whole"], json!(["It is 42.", "stop", null]), "{client:?}: {said}");
        assert_eq!((&said["stream"], &said["own"]), (&stream, &json!("add")), "{client:?}");
    }
    let requests = world.provider.requests();
    let offered = |n: usize| requests[n]["tools"].as_array().unwrap().clone();
    assert_eq!(offered(0).len(), 1, "nobody could approve the other one: {}", requests[0]);
    assert_eq!(offered(0)[0]["function"]["name"], "calculator");
    let told = requests[1]["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(told["content"], r#"{"result":42.0}"#);
    assert_eq!(offered(4).len(), 1, "who brings tools along has those: {}", requests[4]);
    assert_eq!(offered(4)[0]["function"]["name"], "add");

    let older = json!({"specialist_id": "clerk", "message": "What is six times seven?"});
    calculates();
    assert_eq!(olga.post("/chat/send", older.clone()).await.1["content"], "It is 42.");
    calculates();
    let streamed = olga.request(Method::POST, "/chat/stream").body(older.to_string()).send().await;
    let events = Stream::new(streamed.unwrap()).rest().await;
    assert_eq!(events.last().unwrap().part()["content"], "It is 42.");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_one_call_at_a_time_hears_of_one() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    let calls = [("c1", "add", r#"{"a":1}"#), ("c2", "add", r#"{"a":2}"#)];
    let add = json!({"type": "function", "function": {"name": "add"}});
    for (parallel, told) in [(true, 2), (false, 1)] {
        world.provider.next(Script::calls("Hm.", &calls, 10, 4));
        let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Add."}],
            "tools": [add], "parallel_tool_calls": parallel});
        let (_, said) = program.post("/v1/chat/completions", body).await;
        let message = &said["choices"][0]["message"];
        assert_eq!(message["tool_calls"].as_array().unwrap().len(), told, "{said}");
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"a":1}"#);
        assert_eq!(said["choices"][0]["finish_reason"], "tool_calls");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helpers_of_openai_clients_work() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    for client in Client::BOTH {
        if matches!(client, Client::Node) {
            world.provider.next(call());
            world.provider.next(Script::text(&["Three."], 20, 2));
        }
        world.provider.next(Script::text(&["{\"name\":", "\"Wien\"}"], 20, 4));
        let said = client.plays(&program, "helpers", "").await;
        let tool = if matches!(client, Client::Node) { json!("Three.") } else { Value::Null };
        assert_eq!(
            (&said["tool"], &said["streamed"]),
            (&tool, &json!("Wien")),
            "{client:?}: {said}"
        );
        assert_eq!(said["raw"], "Forty-two. [1]");
        assert_eq!(said["at_once"], json!(["Forty-two. [1]", "Forty-two. [1]"]));
        assert!(said["turn"].as_str().unwrap().len() == 36, "{said}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_goes_on_when_an_openai_client_hangs_up() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    for client in Client::BOTH {
        world.provider.next(Script::held(6, 3));
        let said = client.plays(&program, "leaves", "").await;
        assert_eq!(said["word"], "w0", "{client:?}: {said}");
        world.provider.release();
        let answer = anna.attach(said["turn"].as_str().unwrap(), -1).await.answer().await;
        assert_eq!(answer.text(), "w0 w1 w2 w3 w4 w5 ");
        assert_eq!(answer.end(), "finish");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_only_its_provider_knows_to_be_nobodys_is_not_found() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    world.provider.next(Script::error(404, "model_not_found"));
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let body = json!({"model": "gpt-4o-mini", "messages": messages});
    let (status, said) = program.post("/v1/chat/completions", body).await;
    assert_eq!((status, &said["error"]["code"]), (404, &json!("model_not_found")), "{said}");
    let unknown = json!({"model": "gpt-9", "messages": messages});
    let (status, same) = program.post("/v1/chat/completions", unknown).await;
    assert_eq!((status, &same["error"]), (404, &said["error"]));
    let (status, problem) = anna.refused(json!({"assistant": "gpt-9", "text": "Hi"})).await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("not_found")),
        "only assistants answer here"
    );
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_shortened_by_models_that_can() {
    let settings = vec![("EMBEDDING_MODEL", "text-embedding-3-small".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let (_, program) = program(&world).await;
    let model = "text-embedding-3-small";
    for (dimensions, length) in [(json!(256), 256), (json!(1536), 1536), (Value::Null, 1536)] {
        let body = json!({"model": model, "input": "Bread needs yeast.", "dimensions": dimensions});
        let (status, said) = program.post("/v1/embeddings", body).await;
        assert_eq!(status, 200, "{said}");
        let vector: Vec<f64> =
            serde_json::from_value(said["data"][0]["embedding"].clone()).unwrap();
        assert_eq!(vector, provider_vectors::vector(model, "Bread needs yeast.", length));
    }
    for dimensions in [0, 1537] {
        let body = json!({"model": model, "input": "Bread needs yeast.", "dimensions": dimensions});
        let (status, said) = program.post("/v1/embeddings", body).await;
        assert_eq!((status, &said["error"]["param"]), (400, &json!("dimensions")), "{said}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_listed_origin_may_use_openais_client() {
    let origin = "https://app.example.test";
    let settings = vec![("ALLOWED_ORIGINS", origin.to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let (_, program) = program(&world).await;
    let asks = async |from: &str| {
        let url = format!("{}/v1/chat/completions", world.base);
        let may = world.http.request(Method::OPTIONS, url).header("origin", from);
        let may = may.header("access-control-request-method", "POST");
        let may = may
            .header("access-control-request-headers", "authorization,content-type,x-stainless-os");
        may.send().await.unwrap()
    };
    let may = asks(origin).await;
    assert_eq!(
        (may.status().as_u16(), &may.headers()["access-control-allow-origin"]),
        (200, &origin.parse().unwrap())
    );
    let headers = may.headers()["access-control-allow-headers"].to_str().unwrap().to_owned();
    assert!(headers.contains("x-stainless-os") && headers.contains("authorization"), "{headers}");
    assert!(asks("https://evil.test").await.headers().get("access-control-allow-origin").is_none());
    let body = json!({"model": "gpt-9", "messages": [{"role": "user", "content": "Hi"}]});
    let request = program.request(Method::POST, "/v1/chat/completions").header("origin", origin);
    let refused = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(refused.status(), 404);
    assert_eq!(refused.headers()["access-control-allow-origin"], origin, "it reads why, too");
    let exposed = refused.headers()["access-control-expose-headers"].to_str().unwrap();
    for name in ["x-request-id", "x-should-retry", "retry-after", "x-ratelimit-remaining-tokens"] {
        assert!(exposed.contains(name), "{name}: {exposed}");
    }
}
