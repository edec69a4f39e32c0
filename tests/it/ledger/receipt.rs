//! A receipt, and the proof that a customer can do at home.

use super::ALL_SEALED;
use crate::support::World;
use diesel_async::SimpleAsyncConnection;
use serde_json::Value;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The recipe of docs/ledger.md, as it stands there.
fn recipe() -> &'static str {
    let text = include_str!("../../../docs/ledger.md");
    text.split("```python\n").nth(1).unwrap().split("```").next().unwrap()
}

/// Runs the recipe on a receipt: whether it succeeded, and what it printed.
async fn check(receipt: &Value) -> (bool, String) {
    let mut python = Command::new("python3")
        .args(["-c", recipe()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(receipt.to_string().as_bytes()).await.unwrap();
    let output = python.wait_with_output().await.unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_can_be_checked_with_a_few_lines_of_python() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("a.md", b"# Counting\n\nOne counts from zero.").await;
    let turn = anna.ask("How does one count?").await.turn;
    world.database.until(ALL_SEALED).await;
    let (status, receipt) = anna.get(&format!("/v1/turns/{turn}/receipt")).await;
    assert_eq!((status, &receipt["state"]), (200, &Value::from("complete")), "{receipt}");
    let rows = receipt["data"].as_array().unwrap();
    let billed = "SELECT count(*) AS n FROM usage_ledger WHERE turn_id IS NOT NULL";
    assert_eq!(i64::try_from(rows.len()).unwrap(), world.database.number(billed).await);
    let input = rows.iter().find(|row| row["meter"] == "input_tokens").unwrap();
    assert!(input["price_version"].as_str().unwrap().starts_with("gpt-4o-mini@"), "{input}");
    assert!(input["cost_nano_usd"].as_i64().unwrap() > 0);
    // Each begins with the hash at which the one before ended.
    for pair in rows.windows(2) {
        assert_eq!(pair[0]["hash"], pair[1]["hash_before"], "{receipt}");
    }
    let (right, out) = check(&receipt).await;
    assert!(right && out.contains(&format!("{} rows", rows.len())), "{out}");

    for (field, value) in [
        ("quantity", Value::from(7)),
        ("model", Value::Null),
        ("occurred_at", Value::from("2020-01-01T00:00:00.000000Z")),
    ] {
        let mut forged = receipt.clone();
        forged["data"][0][field] = value;
        assert!(!check(&forged).await.0, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_for_the_asker_and_for_those_who_pay() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let ben = world.user("ben@acme.test").await;
    let eve = world.user("eve@globex.test").await;
    let answer = anna.ask("Hello?").await;
    let path = format!("/v1/turns/{}/receipt", answer.turn);
    assert_eq!(anna.get(&path).await.0, 200);
    assert_eq!(ben.get(&path).await.0, 404, "a colleague");
    assert_eq!(eve.get(&path).await.0, 404, "another tenant");
    world.database.run("UPDATE users SET role = 'billing' WHERE email = 'ben@acme.test'").await;
    world.database.run("UPDATE users SET role = 'owner' WHERE email = 'eve@globex.test'").await;
    let (ben, eve) = (world.user("ben@acme.test").await, world.user("eve@globex.test").await);
    assert_eq!(ben.get(&path).await.0, 200, "who pays");
    assert_eq!(eve.get(&path).await.0, 404, "another tenant's owner");

    // It outlives the conversation.
    let conversation = format!("/v1/conversations/{}", answer.conversation);
    assert_eq!(anna.delete(&conversation).await.0, 204);
    let (status, receipt) = anna.get(&path).await;
    assert_eq!((status, &receipt["state"]), (200, &Value::Null));
    assert!(!receipt["data"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sealed_yet_says_so() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut other = world.database.connect().await;
    // The sealer's own lock: nobody can seal.
    other.batch_execute("SELECT pg_advisory_lock(1685021537)").await.unwrap();
    let turn = anna.ask("Hello?").await.turn;
    let path = format!("/v1/turns/{turn}/receipt");
    let rows = anna.get(&path).await.1["data"].as_array().unwrap().clone();
    assert!(!rows.is_empty());
    for row in &rows {
        assert_eq!((&row["sealed"], &row["hash"]), (&Value::from(false), &Value::Null));
    }
    other.batch_execute("SELECT pg_advisory_unlock(1685021537)").await.unwrap();
    world.database.until(ALL_SEALED).await;
    let sealed = anna.get(&path).await.1["data"].as_array().unwrap().clone();
    assert_eq!(sealed.len(), rows.len());
    assert!(sealed.iter().all(|row| row["sealed"] == true && row["hash"].is_string()));
}
