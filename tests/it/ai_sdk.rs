//! Pages made with Vercel's AI SDK, with its last three majors and the oldest version that docent speaks to: `useChat`
//! without React, and the component of the documentation with it.

use crate::support::{Client, Script, Step, Stream, User, World, WorldOptions};
use reqwest::Method;
use serde_json::{Value, json};

const SDKS: [&str; 4] = ["ai5_0", "ai5", "ai6", "ai7"];

async fn plays(user: &User, scenario: &str, sdk: &str) -> Value {
    let script = include_str!("../clients/ai.mjs");
    Client::Node.runs(script, &[scenario, sdk], user).await
}

/// Somebody's program.
async fn program(world: &World) -> (User, User) {
    let anna = world.user("anna@acme.test").await;
    let (program, _) = anna.key(json!({"name": "page", "scopes": ["chat"]})).await;
    (anna, program)
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_sdk_clients_chat_and_the_history_is_ours() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    anna.has_document("a.txt", b"The notice period is ninety days.").await;
    for (n, sdk) in SDKS.into_iter().enumerate() {
        world.provider.next(Script::text(&["Three ", "months. [1]"], 120, 7));
        let said = plays(&program, "chat", sdk).await;
        let texts = json!([
            "How long is the notice period?",
            "Three months. [1]",
            "And in days?",
            "Forty-two. [1]"
        ]);
        assert_eq!((&said["texts"], &said["status"]), (&texts, &json!("ready")), "{sdk}: {said}");
        assert_eq!(
            said["kinds"],
            json!(["source-document", "data-citation", "text", "data-usage"])
        );
        assert_eq!((&said["done"], &said["cited"]), (&json!(true), &json!("a.txt")), "{sdk}");
        assert_eq!(said["billed"], 7);
        let (_, list) = anna.get("/v1/conversations").await;
        assert_eq!(list["data"].as_array().unwrap().len(), n + 1, "both questions are in one");
        let messages = anna.messages(list["data"][0]["id"].as_str().unwrap()).await;
        assert_eq!(messages.len(), 4);
        assert_eq!(messages[1]["id"], said["id"], "the client knows the answer by our id");
    }
    let asked = world.provider.requests().pop().unwrap();
    let before = &asked["messages"].as_array().unwrap()[2..4];
    assert_eq!(before[1], json!({"role": "assistant", "content": "Three months. [1]"}), "{asked}");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_sdk_clients_ask_again_and_ask_otherwise() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    for sdk in SDKS {
        for text in ["One.", "Two.", "Two again.", "One again.", "Edited."] {
            world.provider.next(Script::text(&[text], 20, 2));
        }
        let said = plays(&program, "regenerate", sdk).await;
        assert_eq!(said["again"], true, "{sdk}");
        assert_eq!(said["cut"]["texts"], json!(["First?", "One again."]), "{sdk}: {said}");
        assert_eq!(said["texts"], json!(["Second, edited?", "Edited."]), "{sdk}: {said}");
        let (_, list) = anna.get("/v1/conversations").await;
        let id = list["data"][0]["id"].as_str().unwrap();
        let (_, all) = anna.get(&format!("/v1/conversations/{id}/messages?all=true")).await;
        let all = all["data"].as_array().unwrap();
        let asked: Vec<&Value> =
            all.iter().filter(|m| m["role"] == "user").map(|m| &m["text"]).collect();
        assert_eq!(asked, ["First?", "Second?", "Second, edited?"]);
        let firsts: Vec<&Value> =
            all.iter().filter(|m| m["parent_id"] == Value::Null).map(|m| &m["text"]).collect();
        assert_eq!(firsts, ["First?", "Second, edited?"], "it stands beside the first one");
        assert_eq!(all.iter().filter(|m| m["role"] == "assistant").count(), 5);
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_sdk_clients_come_back_to_an_answer_that_is_being_written() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    for sdk in SDKS {
        world.provider.next(Script::held(6, 3));
        world.provider.next(Script::held(2, 1));
        let lets_go = async {
            world.provider.until_waiting(2).await;
            world.provider.release();
            world.provider.release();
        };
        let (said, ()) = tokio::join!(plays(&program, "resume", sdk), lets_go);
        let whole = json!(["Count.", "w0 w1 w2 w3 w4 w5 "]);
        assert_eq!(said["broken"]["texts"][1], "w0 w1 w2 ", "{sdk}: {said}");
        assert_eq!((&said["texts"], &said["status"]), (&whole, &json!("ready")), "{sdk}: {said}");
        assert_eq!(said["reloaded"]["texts"], json!([whole[1]]), "{sdk}: {said}");
        assert_eq!(said["reloaded"]["status"], "ready");
    }
    assert_eq!(world.provider.calls(), 2 * SDKS.len());
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_sdk_clients_stop_an_answer() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    for sdk in SDKS {
        world.provider.next(Script::held(50, 3));
        let said = plays(&program, "stop", sdk).await;
        world.provider.until_closed().await;
        assert_eq!(said["texts"], json!(["Count.", "w0 w1 w2 "]), "{sdk}: {said}");
        assert_eq!(said["statuses"], json!([404, 202, 200]), "{sdk}");
        assert_eq!((&said["status"], &said["last"]), (&json!("ready"), &json!("data-usage")));
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_sdk_clients_show_what_is_wrong_in_a_sentence() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    for sdk in SDKS {
        world.provider.next(Script::steps(vec![Step::Text("Half".into()), Step::Reset]));
        world.provider.always(Script::error(400, "bad"));
        let said = plays(&program, "wrong", sdk).await;
        let failing = &said["failing"];
        assert_eq!((&failing["texts"][1], &failing["status"]), (&json!("Half"), &json!("error")));
        for (what, words) in [
            (&failing["error"], "The answer was cut off."),
            (&said["name"], "1 to 200 printable"),
            (&said["stranger"], "not valid"),
            (&said["nobody"], "There is no such assistant."),
            (&said["file"], "upload them as documents."),
        ] {
            let what = what.as_str().unwrap();
            assert!(what.contains(words) && !what.contains('{'), "{sdk}: {what}");
        }
    }
    let url = format!("{}/api/chat", world.base);
    let asked = world.http.post(url).header("accept", "application/problem+json").send();
    let refused = asked.await.unwrap();
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_sdk_clients_see_thoughts_and_calls() {
    let settings = vec![("OPENAI_API_KEY", "sk-x".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let (_, program) = program(&world).await;
    for sdk in SDKS {
        world.provider.next(Script::calls("Hm.", &[("c1", "add", r#"{"a":1}"#)], 20, 4));
        let said = plays(&program, "tools", sdk).await;
        assert_eq!(said["status"], "ready", "{sdk}: {said}");
        assert_eq!(said["tool"], json!(["input-available", {"a": 1}, true]), "{sdk}: {said}");
        assert_eq!(said["thought"], "Hm.", "{sdk}: {said}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_sdk_clients_read_a_turn_of_two_steps() {
    let settings = vec![("OPERATOR_TOKEN", "the-operators-own-token".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let (_, program) = program(&world).await;
    let model = |id: &str| json!({"id": id, "provider": "openai", "context_window": 8000, "max_output": 500});
    let route = json!({"name": "default", "models": ["one", "two"], "after_cut": "continue"});
    for (what, body) in [("models", model("one")), ("models", model("two")), ("routes", route)] {
        let put = world.http.put(format!("{}/v1/operator/{what}", world.base));
        let put = put.bearer_auth("the-operators-own-token");
        let put = put.header("content-type", "application/json").body(body.to_string());
        assert!(put.send().await.unwrap().status().is_success());
    }
    for sdk in SDKS {
        world.provider.next(Script::steps(vec![Step::Text("It begins ".into()), Step::Reset]));
        world.provider.next(Script::text(&["and goes on."], 200, 4));
        let said = plays(&program, "steps", sdk).await;
        assert_eq!(said["texts"][1], "It begins and goes on.", "{sdk}: {said}");
        assert_eq!(
            said["kinds"],
            json!(["text", "step-start", "data-notice", "text", "data-usage"])
        );
        assert_eq!(said["status"], "ready");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_react_component_of_the_documentation_resumes_and_stops() {
    let world = World::start().await;
    let (_, program) = program(&world).await;
    let document = include_str!("../../docs/ai-sdk.md");
    let (_, example) = document.split_once("```jsx\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    world.provider.next(Script::held(6, 3));
    world.provider.next(Script::held(50, 3));
    let lets_go = async {
        world.provider.until_waiting(2).await;
        world.provider.release(); // the one that was asked first
    };
    let (script, arguments) = (include_str!("../clients/react.mjs"), [example]);
    let (said, ()) = tokio::join!(Client::Node.runs(script, &arguments, &program), lets_go);
    world.provider.until_closed().await;
    assert_eq!(said, json!({"reloaded": "w0 w1 w2 w3 w4 w5 ", "stopped": "w0 w1 w2 "}));
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_asked_twice_with_a_key_is_one_turn() {
    let world = World::start().await;
    let (anna, program) = program(&world).await;
    let asks = async |text: &str| {
        let parts = json!([{"type": "text", "text": text}]);
        let messages = json!([{"id": "m1", "role": "user", "parts": parts}]);
        let body = json!({"id": "my-chat", "messages": messages, "trigger": "submit-message"});
        let request = program.request(Method::POST, "/api/chat").header("idempotency-key", "k1");
        let request = request.header("accept", "application/problem+json").body(body.to_string());
        Stream::new(request.send().await.unwrap())
    };
    let first = asks("Hello?").await.answer().await;
    assert_eq!(asks("Hello?").await.answer().await.events, first.events, "the same, once more");
    let mut other = asks("Hello, you?").await;
    assert_eq!((other.status, other.next().await), (422, None), "another question");
    assert_eq!(world.provider.calls(), 1);
    assert_eq!(anna.messages(&first.conversation).await.len(), 2);
    world.database.check_books().await;
}
