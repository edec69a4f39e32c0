//! Turns of more than one step: a model breaks off in the middle of an answer, and another one goes on.

use crate::recovery::{expire_leases, until_journaled};
use crate::support::{Answer, Node, Script, Step, User, World, WorldOptions};
use serde_json::{Value, json};

pub const TOKEN: &str = "the-operators-own-token";

/// Somebody whose questions `one` answers, and `two` when it cannot.
pub async fn world(after_cut: &str) -> (World, User) {
    let settings = vec![("OPERATOR_TOKEN", TOKEN.to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    for id in ["one", "two"] {
        let model = json!({"id": id, "provider": "openai", "context_window": 8000,
            "max_output": 500, "idle_ms": 400});
        put(&world, "models", &model).await;
    }
    let route = json!({"name": "default", "models": ["one", "two"], "after_cut": after_cut});
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
    let garbage = Step::Raw(b"data: {\"choices\": 7\n\n".to_vec());
    for end in [Step::Reset, Step::Hang, Step::Raw(Vec::new())] {
        let (world, anna) = world("continue").await;
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
    // What no program can have meant is not gone on from: the next one would be no wiser.
    let (world, anna) = world("continue").await;
    world.provider.next(broken(garbage));
    let answer = anna.ask("Well?").await;
    assert_eq!((answer.text().as_str(), answer.end().as_str()), ("The answer begins ", "error"));
    assert_eq!(world.provider.calls(), 1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_can_end_there_instead() {
    let (world, anna) = world("end").await;
    world.provider.next(broken(Step::Reset));
    let answer = anna.ask("Well?").await;
    assert_eq!((answer.text().as_str(), answer.end().as_str()), ("The answer begins ", "error"));
    assert_eq!(answer.of("data-error")[0]["data"]["retryable"], true);
    assert_eq!(world.provider.calls(), 1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_word_nobody_notices() {
    let (world, anna) = world("continue").await;
    let usual = kinds(&anna.ask("Well?").await);
    world.provider.next(Script::error(401, "invalid_api_key"));
    world.provider.next(Script::text(&["Here."], 90, 2));
    let answer = anna.ask("And now?").await;
    assert_eq!(answer.text(), "Here.");
    assert_eq!(kinds(&answer), usual);
    let of_second = "SELECT model || ' ' || quantity AS t FROM usage_ledger WHERE turn_id = '{turn}' AND meter = 'output_tokens'";
    let of_second = of_second.replace("{turn}", &answer.turn);
    assert_eq!(world.database.texts(&of_second).await, ["two 2"]);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_it_costs_nothing() {
    let (world, anna) = world("continue").await;
    world.provider.always(Script::error(401, "invalid_api_key"));
    let answer = anna.ask("Well?").await;
    assert_eq!(answer.end(), "error");
    assert_eq!(billed(&world).await, Vec::<String>::new());
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_step_wants_a_quota_of_its_own() {
    let (world, anna) = world("continue").await;
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
    let (world, anna) = world("continue").await;
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
