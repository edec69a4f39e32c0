//! The list of conversations, and what becomes of one.

use crate::support::{Script, User, World};
use serde_json::{Value, json};

async fn titles(user: &User, query: &str) -> (Vec<String>, Value) {
    let (status, page) = user.get(&format!("/v1/conversations{query}")).await;
    assert_eq!(status, 200, "{page}");
    let title = |row: &Value| row["title"].as_str().unwrap().to_owned();
    (page["data"].as_array().unwrap().iter().map(title).collect(), page["next_cursor"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_called_after_its_first_question() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let first = anna.ask("How long is the notice period?\nI want to leave.").await;
    anna.ask_in(&first.conversation, "Another question.").await;
    anna.ask(&"wordy ".repeat(30)).await;
    let (titles, next) = titles(&anna, "").await;
    assert_eq!(titles[1], "How long is the notice period?");
    assert!(titles[0].ends_with("wordy…") && titles[0].chars().count() <= 61, "{titles:?}");
    assert_eq!((titles.len(), next), (2, json!(null)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_can_be_renamed_by_its_owner() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let ben = world.user("ben@acme.test").await;
    let path = format!("/v1/conversations/{}", anna.ask("Hello?").await.conversation);
    let (status, renamed) = anna.patch(&path, json!({"title": "  Lea\u{0}ving \n"})).await;
    assert_eq!((status, &renamed["title"]), (200, &json!("Leaving")));
    assert_eq!(anna.get(&path).await.1["title"], "Leaving");
    for title in ["", " \u{7} ", &"x".repeat(201)] {
        assert_eq!(anna.patch(&path, json!({"title": title})).await.0, 400, "{title:?}");
    }
    assert_eq!(ben.patch(&path, json!({"title": "Mine"})).await.0, 404);
    assert_eq!(ben.get(&path).await.0, 404);
    assert_eq!(ben.get(&format!("{path}/messages")).await.0, 404);
    assert_eq!(ben.delete(&path).await.0, 404);
    assert_eq!(anna.get(&path).await.1["title"], "Leaving");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_comes_in_pages_last_used_first() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let first = anna.ask("one").await.conversation;
    for question in ["two", "three", "four", "five"] {
        anna.ask(question).await;
    }
    anna.ask_in(&first, "again").await;
    let (mut seen, mut cursor) = titles(&anna, "?limit=2").await;
    let mut pages = 1;
    while let Some(next) = cursor.as_str() {
        let (more, after) = titles(&anna, &format!("?limit=2&cursor={next}")).await;
        seen.extend(more);
        (cursor, pages) = (after, pages + 1);
    }
    assert_eq!(
        (seen, pages),
        (["one", "five", "four", "three", "two"].map(String::from).into(), 3)
    );
    for wrong in ["x", "%00", "eA", "MTIzNA"] {
        assert_eq!(anna.get(&format!("/v1/conversations?cursor={wrong}")).await.0, 400, "{wrong}");
    }
    assert_eq!(titles(&world.user("ben@acme.test").await, "").await.0, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_conversation_is_gone_and_its_bill_is_not() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let answer = anna.ask("Hello?").await;
    let path = format!("/v1/conversations/{}", answer.conversation);
    assert_eq!(anna.delete(&path).await.0, 204);
    assert_eq!(anna.delete(&path).await.0, 404);
    assert_eq!(anna.get(&format!("{path}/messages")).await.0, 404);
    let again = json!({"conversation_id": answer.conversation, "text": "Still there?"});
    assert_eq!(anna.refused(again).await.0, 404);
    assert_eq!(anna.get("/v1/conversations").await.1["data"], json!([]));
    for table in ["turns", "messages", "turn_segments", "citations"] {
        assert_eq!(world.database.number(&format!("SELECT count(*) AS n FROM {table}")).await, 0);
    }
    let billed =
        format!("SELECT count(*) AS n FROM usage_ledger WHERE turn_id = '{}'", answer.turn);
    assert!(world.database.number(&billed).await >= 3);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_conversation_stops_its_answer_and_bills_it_first() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(50, 3));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    let mut seen = stream.until_text("w2").await;
    let path = format!("/v1/conversations/{}", stream.conversation());
    assert_eq!(anna.get(&path).await.1["running_turn_id"], stream.turn());
    assert_eq!(anna.delete(&path).await.0, 204);
    world.provider.until_closed().await;
    seen.extend(stream.rest().await);
    let parts: Vec<Value> = seen.iter().map(|event| event.part()["type"].clone()).collect();
    assert_eq!(parts[parts.len() - 2], "abort", "who watches is told: {parts:?}");
    assert_eq!(anna.get(&path).await.0, 404);
    let billed = format!(
        "SELECT count(*) AS n FROM usage_ledger
         WHERE turn_id = '{}' AND meter = 'output_tokens' AND provenance = 'estimated'",
        stream.turn()
    );
    assert_eq!(world.database.number(&billed).await, 1);
    world.database.check_books().await;
}
