//! Turns of more than one step: a model breaks off in the middle of an answer, and another one goes on.

use crate::recovery::{expire_leases, until_journaled};
use crate::support::{Answer, Node, Script, Step, User, World, WorldOptions};
use serde_json::{Value, json};

pub const TOKEN: &str = "the-operators-own-token";

/// Somebody whose questions `one` answers, and `two` when it cannot.
pub async fn world() -> (World, User) {
    let settings = vec![("OPERATOR_TOKEN", TOKEN.to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    for id in ["one", "two"] {
        let model = json!({"id": id, "provider": "openai", "context_window": 8000,
            "max_output": 500, "idle_ms": 400});
        put(&world, "models", &model).await;
    }
    let route = json!({"name": "default", "models": ["one", "two"]});
    put(&world, "routes", &route).await;
    (world, anna)
}

pub async fn put(world: &World, what: &str, body: &Value) {
    let request = world.http.put(format!("{}/v1/operator/{what}", world.base));
    let request = request.bearer_auth(TOKEN).header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    assert!(response.status().is_success(), "{what}: {}", response.text().await.unwrap());
}

/// Some words, and then this.
fn broken(end: Step) -> Script {
    Script::steps(vec![Step::Text("The answer ".into()), Step::Text("begins ".into()), end])
}

/// What was billed: step, model, meter, quantity, provenance.
async fn billed(world: &World) -> Vec<String> {
    let rows = "SELECT step || ' ' || coalesce(model, '-') || ' ' || meter || ' ' || quantity || ' ' || provenance AS t
                FROM usage_ledger WHERE meter <> 'embedding_tokens' ORDER BY step, meter";
    world.database.texts(rows).await
}

fn kinds(answer: &Answer) -> Vec<String> {
    let mut kinds: Vec<String> =
        answer.parts().iter().map(|part| part["type"].as_str().unwrap().to_owned()).collect();
    kinds.dedup();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_goes_on_where_one_broke_off() {
    for end in [Step::Reset, Step::Hang, Step::Raw(Vec::new())] {
        let (world, anna) = world().await;
        world.provider.next(broken(end));
        world.provider.next(Script::text(&["and goes on."], 200, 4));
        let answer = anna.ask("Well?").await;
        assert_eq!(
            (answer.text().as_str(), answer.end().as_str()),
            ("The answer begins and goes on.", "finish")
        );
        let kinds = kinds(&answer);
        let at = kinds.iter().position(|kind| kind == "finish-step").unwrap();
        let between = ["text-end", "finish-step", "start-step", "data-notice", "text-start"];
        assert_eq!(kinds[at - 1..at + 4], between, "{kinds:?}");
        assert_eq!(answer.of("data-notice")[0]["data"]["code"], "model_changed");
        let second = world.provider.requests()[1].clone();
        let messages = second["messages"].as_array().unwrap();
        assert_eq!(second["model"], "two");
        let [.., written, go_on] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!(
            (&written["role"], &written["content"]),
            (&json!("assistant"), &json!("The answer begins "))
        );
        assert_eq!(go_on["role"], "user");
        let rows = billed(&world).await;
        assert_eq!(rows[0].split(' ').take(3).collect::<Vec<_>>(), ["0", "one", "input_tokens"]);
        assert!(rows[0].ends_with("estimated"), "{rows:?}");
        assert_eq!(rows[1..3], ["0 one output_tokens 4 estimated", "0 one requests 1 exact"]);
        assert_eq!(rows[3..], ["1 two input_tokens 200 exact", "1 two output_tokens 4 exact"]);
        let stored = &anna.messages(&answer.conversation).await[1];
        assert_eq!(stored["text"], "The answer begins and goes on.");
        world.database.check_books().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_step_wants_a_quota_of_its_own() {
    let (world, anna) = world().await;
    // Enough for one step and a part of the next one's prompt.
    world
        .database
        .run("INSERT INTO plan_quotas VALUES ('enterprise', 'user', 'month', 'tokens', 4000)")
        .await;
    world.provider.next(broken(Step::Reset));
    let answer = anna.ask("Well?").await;
    assert_eq!((answer.text().as_str(), answer.end().as_str()), ("The answer begins ", "error"));
    assert_eq!(world.provider.calls(), 1, "nobody was asked who could not be paid");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_the_second_step_leaves_a_bill_for_both() {
    let (world, anna) = world().await;
    let (database, provider) = (world.database.clone(), world.provider.clone());
    world.stop().await;
    let node = Node::start(&database, &provider).await;
    provider.next(broken(Step::Reset));
    provider.next(Script::held(40, 20));
    let mut stream = node.user(&anna).stream(json!({"text": "Well?"})).await;
    stream.until_text("w19").await;
    until_journaled(&database, &stream, "w19").await;
    node.kill().await;
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let answer = world.back(&anna).attach(&stream.turn(), -1).await.answer().await;
    assert_eq!(answer.end(), "error");
    assert!(answer.text().starts_with("The answer begins w0 "), "{}", answer.text());
    let rows = billed(&world).await;
    let models: Vec<&str> =
        rows.iter().filter(|row| row.contains("_tokens")).map(|row| &row[..5]).collect();
    assert_eq!(models, ["0 one", "0 one", "1 two", "1 two"], "{rows:?}");
    world.database.check_books().await;
}
