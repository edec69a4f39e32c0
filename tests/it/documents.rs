//! A document's life: read, cited, deleted, and nobody else's.

use crate::hostile_pdf::simple_pdf;
use crate::support::{Event, Gate, Script, Stream, User, World};
use reqwest::Method;
use serde_json::{Value, json};

const PAGES: [&str; 3] = [
    "Badges are issued on Mondays. Bring a passport to the badge office.",
    "The parking garage costs five euros a day. Bicycles park for free.",
    "Every laptop must be encrypted. Lost laptops are reported within one hour.",
];

/// One is held by the gate, and at least one more by what that one holds.
const SOMEBODY_WAITS_BEHIND_THE_GATE: &str = "
    SELECT count(*) - 1 AS n FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()";

fn path_of(file: &Value) -> String {
    format!("/v1/files/{}", file["id"].as_str().unwrap())
}

async fn page(user: &User, file: &Value, page: u32) -> String {
    let (status, page) = user.get(&format!("{}/pages/{page}", path_of(file))).await;
    assert_eq!((status, &page["name"]), (200, &file["name"]), "{page}");
    page["text"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_is_read_and_kept_as_it_came() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let html = b"<html><head><title>T</title><script>evil()</script></head><body><h1>Canteen</h1>\
                 <p>Soup costs <b>three</b> euros.</p></body></html>";
    let markdown = b"# Canteen\n\nBread costs **one** euro.\n";
    for (name, bytes, media_type, says) in [
        ("a.pdf", simple_pdf(&PAGES), "application/pdf", "Badges are issued on Mondays."),
        ("a.md", markdown.to_vec(), "text/markdown", "Bread costs"),
        ("a.txt", b"Water costs nothing.".to_vec(), "text/plain", "Water costs nothing."),
        ("lying.pdf", html.to_vec(), "text/html", "Soup costs three euros."),
    ] {
        let file = anna.has_document(name, &bytes).await;
        assert_eq!(
            (file["name"].as_str(), file["media_type"].as_str()),
            (Some(name), Some(media_type))
        );
        assert_eq!((file["progress"].as_f64(), &file["stage"]), (Some(1.0), &json!("done")));
        assert_eq!(file["bytes"], bytes.len());
        assert!(file["chunks"].as_i64() >= Some(1), "{file}");
        let text = page(&anna, &file, 1).await;
        assert!(text.contains(says) && !text.contains("evil"), "{name}: {text}");
        let past = file["pages"].as_i64().unwrap() + 1;
        for none in [0, past] {
            assert_eq!(
                anna.get(&format!("{}/pages/{none}", path_of(&file))).await.0,
                404,
                "{name}"
            );
        }
        let content = format!("{}/content", path_of(&file));
        let content = anna.request(Method::GET, &content).send().await.unwrap();
        assert!(content.headers()["content-type"].to_str().unwrap().starts_with(media_type));
        // A page that was uploaded must not run as one of ours.
        assert_eq!(content.headers()["content-security-policy"], "default-src 'none'; sandbox");
        assert_eq!(content.bytes().await.unwrap(), bytes, "{name}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingestion_can_be_watched() {
    const STAGES: [&str; 6] = ["queued", "extracting", "chunking", "embedding", "indexing", "done"];
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (status, file) = anna.upload("a.pdf", &simple_pdf(&PAGES)).await;
    assert_eq!(
        (status, &file["status"], &file["stage"]),
        (202, &json!("queued"), &json!("queued"))
    );
    let events = format!("{}/events", path_of(&file));
    let mut events = Stream::new(anna.request(Method::GET, &events).send().await.unwrap());
    assert_eq!(events.header("content-type"), "text/event-stream");
    let seen = events.rest().await;
    let (last, before) = seen.split_last().unwrap();
    assert_eq!(last.event.as_deref(), Some("done"));
    assert!(before.iter().all(|event| event.event.as_deref() == Some("progress")));
    let stage = |event: &Event| {
        STAGES.iter().position(|stage| event.part()["stage"] == *stage).expect("a known stage")
    };
    let progress = |event: &Event| event.part()["progress"].as_f64().unwrap();
    assert!(seen.is_sorted_by_key(stage), "{seen:#?}");
    assert!(seen.is_sorted_by(|a, b| progress(a) <= progress(b)), "{seen:#?}");
    assert_eq!((&last.part()["status"], &last.part()["pages"]), (&json!("ready"), &json!(3)));
    let again = anna.ingested(file["id"].as_str().unwrap()).await;
    assert_eq!(again, last.part(), "who comes late hears the end");
    assert_eq!(anna.get(&path_of(&file)).await.1, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_question_cites_the_page_that_answers_it() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let file = anna.has_document("house rules.pdf", &simple_pdf(&PAGES)).await;
    for (number, question, fact) in [
        (1, "On which day of the week are badges issued?", "Mondays"),
        (2, "What does a day in the parking garage cost?", "five euros"),
        (3, "How soon must a lost laptop be reported?", "within one hour"),
    ] {
        let best = anna.ask(question).await.citations()[0].clone();
        assert_eq!(
            (&best["page"], &best["page_end"]),
            (&json!(number), &json!(number)),
            "{question}"
        );
        assert_eq!((&best["document_id"], &best["file_name"]), (&file["id"], &file["name"]));
        let snippet = best["snippet"].as_str().unwrap();
        assert!(snippet.contains(fact), "{question}: {snippet}");
        let text = page(&anna, &file, number).await;
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&text).contains(snippet), "the snippet stands on that page: {text}");
        assert!(best["score"].as_f64().is_some_and(|score| score > 0.0 && score <= 1.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_document_is_quoted_nowhere() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let file = anna.has_document("a.md", b"The vault code is swordfish.").await;
    let question = "What is the vault code?";
    let answer = anna.ask(question).await;
    assert!(answer.citations()[0]["snippet"].as_str().unwrap().contains("swordfish"));
    let path = path_of(&file);
    assert_eq!(anna.delete(&path).await.0, 204);
    for gone in ["", "/content", "/events", "/pages/1"] {
        assert_eq!(anna.get(&format!("{path}{gone}")).await.0, 404, "{gone}");
    }
    assert_eq!(anna.delete(&path).await.0, 404);
    assert_eq!(anna.get("/v1/files").await.1["data"], json!([]));
    for (table, column) in [
        ("document_blobs", "convert_from(data, 'utf8')"),
        ("document_pages", "content"),
        ("chunks", "content"),
        ("embeddings", "'swordfish'"),
        ("citations", "snippet"),
        ("turn_segments", "parts"),
    ] {
        let sql = format!("SELECT count(*) AS n FROM {table} WHERE {column} LIKE '%swordfish%'");
        assert_eq!(world.database.number(&sql).await, 0, "{table}");
    }
    // The answer stays, for its conversation and for who comes back to the stream.
    let stored = &anna.messages(&answer.conversation).await[1];
    assert_eq!((&stored["text"], &stored["citations"]), (&json!(answer.text()), &json!([])));
    let replay = anna.attach(&answer.turn, -1).await.answer().await;
    assert_eq!((replay.text(), replay.end()), (answer.text(), answer.end()));
    assert!(replay.citations().is_empty());
    assert!(anna.ask(question).await.citations().is_empty(), "search does not find it");
    // The same bytes are a new document.
    assert_ne!(anna.has_document("a.md", b"The vault code is swordfish.").await["id"], file["id"]);
    assert_eq!(anna.ask(question).await.citations().len(), 1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_can_go_while_an_answer_quotes_it() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let file = anna.has_document("a.md", b"The vault code is swordfish.").await;
    world.provider.next(Script::held(4, 2));
    let mut stream = anna.stream(json!({"text": "What is the vault code?"})).await;
    let (turn, conversation) = (stream.turn(), stream.conversation());
    stream.until_text("w1").await;
    assert_eq!(anna.delete(&path_of(&file)).await.0, 204);
    world.provider.release();
    let events = stream.rest().await;
    assert_eq!(events[events.len() - 2].part()["type"], "finish");
    let stored = &anna.messages(&conversation).await[1];
    assert_eq!((&stored["status"], &stored["citations"]), (&json!("complete"), &json!([])));
    let quoted = format!(
        "SELECT count(*) AS n FROM turn_segments
         WHERE turn_id = '{turn}' AND parts LIKE '%swordfish%'"
    );
    assert_eq!(world.database.number(&quoted).await, 0, "nor does the log of that answer quote it");
    let replay = anna.attach(&turn, -1).await.answer().await;
    assert_eq!((replay.text().as_str(), replay.end().as_str()), ("w0 w1 w2 w3 ", "finish"));
    assert!(replay.citations().is_empty());
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_can_go_in_the_moment_in_which_an_answer_is_saved() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let file = anna.has_document("a.md", b"The vault code is swordfish.").await;
    let saving = "NEW.parts LIKE '%\"finish\"%'";
    let gate = Gate::at(&world.database, "BEFORE INSERT ON turn_segments", saving).await;
    let mut stream = anna.stream(json!({"text": "What is the vault code?"})).await;
    gate.until_reached().await;
    let path = path_of(&file);
    let (deleted, ()) = tokio::join!(anna.delete(&path), async {
        world.database.until(SOMEBODY_WAITS_BEHIND_THE_GATE).await;
        gate.open().await;
    });
    assert_eq!(deleted.0, 204);
    stream.rest().await;
    for (table, column) in [("turn_segments", "parts"), ("citations", "snippet")] {
        let sql = format!("SELECT count(*) AS n FROM {table} WHERE {column} LIKE '%swordfish%'");
        assert_eq!(world.database.number(&sql).await, 0, "{table}");
    }
    let stored = &anna.messages(&stream.conversation()).await[1];
    assert_eq!((&stored["status"], &stored["citations"]), (&json!("complete"), &json!([])));
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_can_go_while_it_is_read() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let gate = Gate::at(&world.database, "BEFORE INSERT ON document_pages", "true").await;
    let (_, file) = anna.upload("a.md", b"The vault code is swordfish.").await;
    gate.until_reached().await;
    let path = path_of(&file);
    let (deleted, ()) = tokio::join!(anna.delete(&path), async {
        world.database.until(SOMEBODY_WAITS_BEHIND_THE_GATE).await;
        gate.open().await;
    });
    assert_eq!(deleted.0, 204);
    assert_eq!(anna.get(&path).await.0, 404);
    anna.has_document("b.md", b"The next one is read as ever.").await;
    let id = file["id"].as_str().unwrap();
    for table in ["document_pages", "chunks", "embeddings", "jobs", "usage_ledger"] {
        let sql = format!("SELECT count(*) AS n FROM {table} WHERE document_id = '{id}'");
        let left = world.database.number(&sql).await;
        let expected = if table == "usage_ledger" { 4 } else { 0 }; // pages, tokens, bytes, and bytes given back
        assert_eq!(left, expected, "{table}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_uploaded_a_document_may_delete_it_and_so_may_an_admin() {
    let world = World::start().await;
    let (anna, ben) = (world.user("anna@acme.test").await, world.user("ben@acme.test").await);
    let file = anna.has_document("a.md", b"Anna wrote this.").await;
    let (status, problem) = ben.delete(&path_of(&file)).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    assert_eq!(ben.get(&path_of(&file)).await.0, 200, "reading is for everybody in the tenant");
    world.database.run("UPDATE users SET role = 'admin' WHERE email = 'ben@acme.test'").await;
    let ben = world.user("ben@acme.test").await;
    assert_eq!(ben.delete(&path_of(&file)).await.0, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_others_documents() {
    let world = World::start().await;
    let (anna, zoe) = (world.user("anna@acme.test").await, world.user("zoe@other.test").await);
    let annas = anna.has_document("code.md", b"The vault code is swordfish.").await;
    let zoes = zoe.has_document("code.md", b"The vault code is marlin.").await;
    for (user, own, word) in [(&anna, &annas, "swordfish"), (&zoe, &zoes, "marlin")] {
        let citations = user.ask("What is the vault code?").await.citations();
        assert_eq!(citations.len(), 1);
        assert_eq!(citations[0]["document_id"], own["id"]);
        assert!(citations[0]["snippet"].as_str().unwrap().contains(word));
        let request = world.provider.requests().pop().unwrap().to_string();
        let foreign = if word == "marlin" { "swordfish" } else { "marlin" };
        assert!(request.contains(word) && !request.contains(foreign), "{request}");
    }
    for path in ["", "/content", "/events", "/pages/1"] {
        assert_eq!(zoe.get(&format!("{}{path}", path_of(&annas))).await.0, 404, "{path}");
    }
    assert_eq!(zoe.delete(&path_of(&annas)).await.0, 404);
    assert_eq!(anna.get(&path_of(&annas)).await.0, 200);
}
