//! `kill -9` in the middle of an answer, and what another node makes of it.

use crate::support::{
    Database, Gate, Node, Provider, Script, Step, Stream, User, World, WorldOptions,
};
use docent::store::segments::{self, Run};
use docent::types::NodeId;
use serde_json::{Value, json};

/// A person with a session, and the database and provider of a world that has ended: nobody but
/// the nodes of the test works there.
pub async fn left_behind() -> (Database, Provider, User) {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("a.md", b"# Counting\n\nOne counts from zero, and aloud.").await;
    let (database, provider) = (world.database.clone(), world.provider.clone());
    world.stop().await;
    (database, provider, anna)
}

/// Says that nobody holds anything: the node that did is dead, and the lease would tell so in 10 s.
pub async fn expire_leases(database: &Database) {
    database
        .run(
            "UPDATE nodes SET lease_until = '-infinity';
             UPDATE jobs SET lease_until = '-infinity' WHERE state = 'running'",
        )
        .await;
}

/// Waits until this text of the turn is written down.
pub async fn until_journaled(database: &Database, stream: &Stream, text: &str) {
    let turn = stream.turn();
    let sql = format!(
        "SELECT count(*) AS n FROM turn_segments WHERE turn_id = '{turn}' AND parts LIKE '%{text}%'"
    );
    database.until(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_shortens_no_log() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(4, 2));
    let mut stream = anna.stream(json!({"text": "How does one count?"})).await;
    stream.until_text("w1").await;
    let (tenant, turn) = (anna.tenant_id.parse().unwrap(), stream.turn().parse().unwrap());
    let owner = world.database.texts("SELECT owner::text AS t FROM turns").await.remove(0);
    let write = async |owner: NodeId, parts: &str| {
        let run = Run { turn, first_offset: 1000, parts: parts.into() };
        let tx = world.db().tenant(tenant).await.unwrap();
        segments::append(&tx, tenant, owner, &[&run]).await.unwrap();
        tx.commit().await.unwrap();
        let kept = "SELECT parts AS t FROM turn_segments WHERE first_offset = 1000";
        world.database.texts(kept).await.concat()
    };
    assert_eq!(write(NodeId::new(), "a node that was taken for dead").await, "");
    let owner = owner.parse().unwrap();
    assert_eq!(write(owner, "one").await, "one");
    assert_eq!(write(owner, "one two").await, "one two");
    assert_eq!(write(owner, "one").await, "one two", "given up, written again, and then it came");
    world.database.run("DELETE FROM turn_segments WHERE first_offset = 1000").await;
    world.provider.release();
    stream.answer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_cut_by_kill_9_is_closed_saved_and_billed() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::start(&database, &provider).await;
    provider.next(Script::held(40, 20));
    let mut stream = node.user(&anna).stream(json!({"text": "How does one count?"})).await;
    let (turn, conversation) = (stream.turn(), stream.conversation());
    let seen = stream.until_text("w19").await;
    until_journaled(&database, &stream, "w19").await;
    node.kill().await;
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let anna = world.back(&anna);
    let answer = anna.attach(&turn, -1).await.answer().await;
    answer.begins_with(&seen); // what was seen stays
    let parts = answer.parts();
    let kinds: Vec<Value> =
        parts[parts.len() - 4..].iter().map(|part| part["type"].clone()).collect();
    assert_eq!(kinds, ["text-end", "data-usage", "data-error", "error"]);
    let interrupted = json!({"code": "interrupted", "retryable": true});
    assert_eq!(answer.of("data-error")[0]["data"], interrupted);
    let said: String = (0..20).map(|n| format!("w{n} ")).collect();
    assert_eq!(answer.text(), said);
    let usage = answer.usage();
    assert_eq!(usage["provenance"], "estimated");
    let output = usage["output_tokens"].as_i64().unwrap();
    assert!((20..=60).contains(&output), "about what was said: {output}");
    assert!(usage["input_tokens"].as_i64().unwrap() > 50, "the prompt, as it was sent: {usage}");
    let messages = anna.messages(&conversation).await;
    assert_eq!(messages.len(), 2);
    assert_eq!((&messages[1]["status"], &messages[1]["text"]), (&json!("failed"), &json!(said)));
    assert_eq!(messages[1]["citations"], json!(answer.citations()));
    assert_eq!(messages[1]["usage"], usage);
    assert_eq!(messages[1]["id"], answer.of("start")[0]["messageId"]);
    world.database.check_books().await;
    assert_eq!(anna.ask_in(&conversation, "And aloud?").await.end(), "finish");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_had_not_begun_costs_nothing() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::start(&database, &provider).await;
    provider.next(Script::steps(vec![Step::Wait]));
    let stream = node.user(&anna).stream(json!({"text": "How does one count?"})).await;
    let turn = stream.turn();
    provider.until_waiting(1).await;
    node.kill().await;
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let anna = world.back(&anna);
    let answer = anna.attach(&turn, -1).await.answer().await;
    assert_eq!((answer.end().as_str(), answer.text().as_str()), ("error", ""));
    assert_eq!(answer.usage(), Value::Null);
    let billed = format!("SELECT count(*) AS n FROM usage_ledger WHERE turn_id = '{turn}'");
    assert_eq!(world.database.number(&billed).await, 0);
    let reserved = "SELECT coalesce(sum(reserved), 0)::bigint AS n FROM billing.quotas_v1";
    assert_eq!(world.database.number(reserved).await, 0);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_on_another_node_is_told_the_end() {
    let (database, provider, anna) = left_behind().await;
    let world = World::on(database.clone(), provider.clone(), WorldOptions::default()).await;
    let node = Node::start(&database, &provider).await;
    provider.next(Script::held(40, 20));
    let mut stream = node.user(&anna).stream(json!({"text": "Count."})).await;
    stream.until_text("w19").await;
    let mut elsewhere = world.back(&anna).attach(&stream.turn(), -1).await;
    elsewhere.until_text("w19").await;
    let mut socket = world.back(&anna).socket().await;
    node.kill().await;
    expire_leases(&database).await;
    let (event, frame) = socket.event().await;
    assert_eq!((event.as_str(), &frame["state"]), ("turn_ended", &json!("failed")));
    assert_eq!(frame["turn_id"], stream.turn());
    let rest = elsewhere.rest().await;
    let kinds: Vec<Value> = rest.iter().map(|event| event.part()["type"].clone()).collect();
    let end = ["text-end", "data-usage", "data-error", "error"].map(Value::from);
    assert_eq!(kinds[..4], end);
    assert_eq!(kinds[4..], [Value::Null]);
    database.check_books().await;
}

/// Where an ingestion can be killed: a stage's beginning, or its writing halfway.
type Place = (&'static str, &'static str);

/// A text of about seventy chunks, no two documents the same.
fn long_text(n: usize) -> String {
    let line = |i: usize| {
        let (a, b) = (i * 7919 + n, i * 104_729 + n);
        format!(
            "Rule {i} of handbook {n}: locker {a} opens with key {b}, and with no other key.\n\n"
        )
    };
    (0..800).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingestion_survives_kill_9_at_every_stage() {
    ingestions_survive(&[
        ("BEFORE UPDATE ON documents", "NEW.stage = 'extracting'"),
        ("BEFORE UPDATE ON documents", "NEW.stage = 'chunking'"),
        ("BEFORE UPDATE ON documents", "NEW.stage = 'embedding' AND NEW.progress > 0.4"),
        ("BEFORE UPDATE ON documents", "NEW.stage = 'indexing'"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingestion_survives_kill_9_while_it_writes() {
    ingestions_survive(&[
        ("BEFORE INSERT ON document_pages", "true"),
        ("AFTER INSERT ON chunks", "NEW.seq = 40"),
        ("AFTER INSERT ON embeddings", "true"),
        ("AFTER INSERT ON usage_ledger", "NEW.document_id IS NOT NULL"),
    ])
    .await;
}

/// Kills a node at each place, lets another one finish, and compares with documents that nobody
/// disturbed.
async fn ingestions_survive(places: &[Place]) {
    let (database, provider, anna) = left_behind().await;
    let mut ids = Vec::new();
    for (n, (event, condition)) in places.iter().enumerate() {
        let node = Node::start(&database, &provider).await;
        let gate = Gate::at(&database, event, condition).await;
        let text = long_text(n);
        let (status, file) = node.user(&anna).upload(&format!("{n}.txt"), text.as_bytes()).await;
        assert_eq!(status, 202, "{file}");
        gate.until_reached().await;
        node.kill().await;
        gate.open().await;
        ids.push(file["id"].as_str().unwrap().to_owned());
    }
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let anna = world.back(&anna);
    let clean = world.user("zoe@clean.test").await;
    for (n, id) in ids.iter().enumerate() {
        let file = anna.ingested(id).await;
        assert_eq!(file["status"], "ready", "killed at {:?}: {file}", places[n]);
        let twin = clean.has_document(&format!("{n}.txt"), long_text(n).as_bytes()).await;
        assert_eq!((&file["pages"], &file["chunks"]), (&twin["pages"], &twin["chunks"]));
        assert!(file["chunks"].as_i64().unwrap() > 65, "more than one batch is embedded: {file}");
        let twin = twin["id"].as_str().unwrap();
        for what in [
            "SELECT seq || ' ' || page || ' ' || tokens || ' ' || content AS t FROM chunks",
            "SELECT page || ' ' || content AS t FROM document_pages",
            "SELECT embedding::text AS t FROM embeddings",
            "SELECT meter || ' ' || quantity || ' ' || provenance AS t FROM usage_ledger",
        ] {
            let rows = async |id: &str| {
                world.database.texts(&format!("{what} WHERE document_id = '{id}' ORDER BY 1")).await
            };
            let rows_of_twin = rows(twin).await;
            assert!(!rows_of_twin.is_empty());
            assert!(rows(id).await == rows_of_twin, "killed at {:?}: {what}", places[n]);
        }
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_kills_every_node_is_given_up() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::start(&database, &provider).await;
    let gate = Gate::at(&database, "BEFORE UPDATE ON documents", "NEW.stage = 'chunking'").await;
    let (_, file) = node.user(&anna).upload("deadly.txt", b"Boo.").await;
    gate.until_reached().await;
    node.kill().await;
    gate.open().await;
    // It was not the first one.
    database.run("UPDATE jobs SET attempts = max_attempts WHERE state = 'running'").await;
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let anna = world.back(&anna);
    let given_up = anna.ingested(file["id"].as_str().unwrap()).await;
    assert_eq!(
        (&given_up["status"], &given_up["error"]["code"]),
        (&json!("failed"), &json!("gave_up"))
    );
    assert_eq!(anna.has_document("deadly.txt", b"Boo.").await["id"], file["id"], "sent again");
}

/// What one process leaves to the next is right: no turn runs, nothing is held, and so many turns were
/// billed.
async fn is_settled(database: Database, provider: Provider, billed: i64, place: &Place) {
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let none_runs = "SELECT (count(*) = 0)::int::bigint AS n FROM turns WHERE state = 'running'";
    world.database.until(none_runs).await;
    let rows = "SELECT count(*) AS n FROM usage_ledger WHERE meter = 'output_tokens'";
    assert_eq!(world.database.number(rows).await, billed, "{place:?}");
    let held = "SELECT coalesce(sum(reserved), 0)::bigint AS n FROM billing.quotas_v1";
    assert_eq!(world.database.number(held).await, 0, "{place:?}");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_while_it_admits_a_turn_has_admitted_nothing() {
    for place in [
        ("BEFORE INSERT ON turns", "true"),
        ("AFTER UPDATE ON quota_counters", "NEW.requests_reserved > OLD.requests_reserved"),
        ("AFTER INSERT ON reservations", "true"),
    ] {
        let (database, provider, anna) = left_behind().await;
        let node = Node::start(&database, &provider).await;
        let gate = Gate::at(&database, place.0, place.1).await;
        let user = node.user(&anna);
        let request = user.request(reqwest::Method::POST, "/v1/chat/send");
        let asking = request.body(json!({"text": "Count."}).to_string()).send();
        let (answer, ()) = tokio::join!(asking, async {
            gate.until_reached().await;
            node.kill().await;
        });
        gate.open().await;
        assert!(answer.is_err(), "{place:?}: nobody was told");
        is_settled(database, provider, 0, &place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_while_it_settles_a_turn_has_billed_it_once() {
    for place in [
        ("BEFORE INSERT ON messages", "NEW.role = 'assistant'"),
        ("BEFORE UPDATE ON reservations", "NEW.state = 'settled'"),
        ("AFTER INSERT ON usage_ledger", "NEW.meter = 'output_tokens'"),
        ("AFTER UPDATE ON quota_counters", "NEW.requests_reserved < OLD.requests_reserved"),
        ("BEFORE INSERT ON ledger_batches", "true"),
    ] {
        let (database, provider, anna) = left_behind().await;
        let node = Node::start(&database, &provider).await;
        let gate = Gate::at(&database, place.0, place.1).await;
        provider.next(Script::held(40, 20));
        let mut stream = node.user(&anna).stream(json!({"text": "Count."})).await;
        stream.until_text("w19").await;
        until_journaled(&database, &stream, "w19").await;
        provider.release();
        gate.until_reached().await;
        node.kill().await;
        gate.open().await;
        is_settled(database, provider, 1, &place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_the_last_release_left_is_billed_as_it_was_quoted() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::start(&database, &provider).await;
    provider.next(Script::held(40, 20));
    let mut stream = node.user(&anna).stream(json!({"text": "Count."})).await;
    stream.until_text("w19").await;
    until_journaled(&database, &stream, "w19").await;
    node.kill().await;
    // As nodes wrote it before turns had steps.
    database
        .run(
            "UPDATE turns SET steps = '[]', prompt_tokens = 120;
             UPDATE reservations SET quoted = '{}'",
        )
        .await;
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let answer = world.back(&anna).attach(&stream.turn(), -1).await.answer().await;
    assert_eq!(answer.usage()["input_tokens"], 120);
    let cost = "SELECT count(*) AS n FROM usage_ledger WHERE meter = 'output_tokens' AND cost_nano_usd > 0";
    assert_eq!(world.database.number(cost).await, 1);
    world.database.check_books().await;
}
