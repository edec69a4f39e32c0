//! SIGTERM: nothing new, what runs may finish, what does not is cut, saved and billed.

use crate::recovery::left_behind;
use crate::support::{Gate, Node, Script, Step, World, WorldOptions};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_running_answer_finish() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::with(&database, &provider, &[("DRAIN_TIMEOUT", "60")]).await;
    let anna = node.user(&anna);
    assert_eq!(anna.get("/readyz").await.0, 200);
    provider.next(Script::held(8, 4));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    stream.until_text("w3").await;
    let asking = async {
        // Draining shows within moments; until then the node is as it was.
        while anna.get("/readyz").await.0 == 200 {}
        assert_eq!(anna.get("/readyz").await.0, 503);
        assert_eq!(anna.get("/healthz").await.0, 200, "it lives");
        let (status, problem) = anna.refused(json!({"text": "Me, too?"})).await;
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
        let running = anna.get(&format!("/v1/conversations/{}", stream.conversation())).await.1;
        assert_eq!(running["running_turn_id"], stream.turn(), "reading still works");
        provider.release();
        stream.rest().await
    };
    let ((code, log), events) = tokio::join!(node.terminate(), asking);
    assert_eq!(code, Some(0), "{log:#?}");
    let kinds: Vec<Value> = events.iter().map(|event| event.part()["type"].clone()).collect();
    assert_eq!(kinds[kinds.len() - 2..], [json!("finish"), Value::Null]);
    assert!(log.last().unwrap().contains("Shut down"), "{log:#?}");
    assert_eq!(provider.calls(), 1);
    database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_cuts_an_answer_that_takes_too_long() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::with(&database, &provider, &[("DRAIN_TIMEOUT", "1")]).await;
    provider.next(Script::steps(vec![Step::Text("Forty".into()), Step::Hang]));
    let mut stream = node.user(&anna).stream(json!({"text": "Well?"})).await;
    let (turn, conversation) = (stream.turn(), stream.conversation());
    let mut events = stream.until_text("Forty").await;
    let (code, log) = node.terminate().await;
    assert_eq!(code, Some(0), "{log:#?}");
    events.extend(stream.rest().await);
    let kinds: Vec<Value> = events.iter().map(|event| event.part()["type"].clone()).collect();
    let end = ["text-end", "data-usage", "data-error", "error"].map(Value::from);
    assert_eq!(kinds[kinds.len() - 5..kinds.len() - 1], end, "who watched is told");
    provider.until_closed().await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let anna = world.back(&anna);
    let answer = anna.attach(&turn, -1).await.answer().await;
    assert_eq!(answer.events, events, "and who comes back is told the same");
    assert_eq!(answer.usage()["provenance"], "estimated");
    let stored = &anna.messages(&conversation).await[1];
    assert_eq!((&stored["status"], &stored["text"]), (&json!("failed"), &json!("Forty")));
    let code = format!("SELECT error_code AS t FROM turns WHERE id = '{turn}'");
    assert_eq!(world.database.texts(&code).await, ["interrupted"]);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_gives_an_ingestion_back() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::start(&database, &provider).await;
    let gate = Gate::at(&database, "BEFORE UPDATE ON documents", "NEW.stage = 'chunking'").await;
    let (_, file) = node.user(&anna).upload("b.md", b"The gate opens at six.").await;
    gate.until_reached().await;
    let ((code, log), ()) = tokio::join!(node.terminate(), async {
        let given_back = "SELECT count(*) AS n FROM jobs WHERE state = 'queued' AND owner IS NULL";
        database.until(given_back).await;
        gate.open().await;
    });
    assert_eq!(code, Some(0), "{log:#?}");
    let attempts = "SELECT attempts::bigint AS n FROM jobs WHERE state = 'queued'";
    assert_eq!(database.number(attempts).await, 0, "it was no failure");
    let world = World::on(database, provider, WorldOptions::default()).await;
    let ready = world.back(&anna).ingested(file["id"].as_str().unwrap()).await;
    assert_eq!(ready["status"], "ready");
    world.database.check_books().await;
}
