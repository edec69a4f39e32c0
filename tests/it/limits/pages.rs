//! Pages a month: a document that would exceed them is not half taken in.

use super::{Plan, ledger};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_document_over_the_limit_fails_whole_and_can_come_again() {
    let world = Plan::monthly(&[("tenant", "pages", 1)]).world().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("first.txt", b"The kitchen closes at nine.").await;
    let second = b"The cellar is locked at ten.";
    let (status, file) = anna.upload("second.txt", second).await;
    assert_eq!(status, 202);
    let id = file["id"].as_str().unwrap();
    let failed = anna.ingested(id).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("quota_exceeded"))
    );
    let why = failed["error"]["message"].as_str().unwrap();
    assert!(why.contains("pages") || why.contains("quota"), "{why}");

    let answer = anna.ask("When is the cellar locked?").await;
    assert!(answer.citations().iter().all(|citation| citation["file_name"] == "first.txt"));
    let traces = "SELECT (SELECT count(*) FROM chunks WHERE content LIKE '%cellar%')
                       + (SELECT count(*) FROM document_pages WHERE content LIKE '%cellar%') AS n";
    assert_eq!(world.database.number(traces).await, 0);
    let pages = ledger(&world.database).await.into_iter().filter(|line| line.starts_with("pages"));
    assert_eq!(pages.collect::<Vec<_>>(), ["pages 1 exact"]);
    world.database.check_books().await;

    world.database.run("UPDATE plan_quotas SET max_amount = 2 WHERE meter = 'pages'").await;
    let (status, again) = anna.upload("second.txt", second).await;
    assert_eq!((status, &again["id"]), (200, &file["id"]), "the same bytes are the same document");
    assert_eq!(anna.ingested(id).await["status"], "ready");
    let answer = anna.ask("When is the cellar locked?").await;
    assert_eq!(answer.citations()[0]["file_name"], "second.txt");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_document_is_billed_once_and_deleting_it_refunds_nothing() {
    let world = Plan::monthly(&[("tenant", "pages", 5)]).world().await;
    let (anna, ben) = (world.user("anna@acme.test").await, world.user("ben@acme.test").await);
    let file = anna.has_document("notice.md", b"# Notice\n\nNinety days.").await;
    let (status, known) = ben.upload("copy.md", b"# Notice\n\nNinety days.").await;
    assert_eq!((status, &known["id"]), (200, &file["id"]));
    let pages = |usage: Value| usage["period"]["totals"]["pages"].clone();
    assert_eq!(pages(anna.get("/v1/usage").await.1), 1);
    assert_eq!(pages(ben.get("/v1/usage").await.1), Value::Null, "ben brought nothing new");
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(anna.delete(&path).await.0, 204);
    assert_eq!(pages(anna.get("/v1/usage").await.1), 1);
    world.database.check_books().await;
}
