//! Taking files in: what is taken, what is refused, and that the same bytes are one document.

use crate::hostile_pdf;
use crate::support::{Script, User, World};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

const TEXT: &[u8] = b"The canteen closes at nine in the evening.";

/// Sends any body to the upload route; returns the status and the problem.
async fn sends(user: &User, content_type: &str, body: &[u8]) -> (u16, Value) {
    let request = user.request(Method::POST, "/v1/files").header("content-type", content_type);
    let response = request.body(body.to_vec()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn ids(user: &User, query: &str) -> (Vec<String>, Value) {
    let (status, page) = user.get(&format!("/v1/files{query}")).await;
    assert_eq!(status, 200, "{page}");
    let id = |file: &Value| file["id"].as_str().unwrap().to_owned();
    (page["data"].as_array().unwrap().iter().map(id).collect(), page["next_cursor"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_one_document_of_a_tenant() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (status, first) = anna.upload("a.txt", TEXT).await;
    assert_eq!(status, 202);
    anna.ingested(first["id"].as_str().unwrap()).await;
    let (status, again) = world.user("ben@acme.test").await.upload("b.txt", TEXT).await;
    assert_eq!((status, &again["id"]), (200, &first["id"]), "known by its bytes, not its name");
    assert_eq!((&again["name"], &again["status"]), (&json!("a.txt"), &json!("ready")));
    let (status, other) = world.user("zoe@other.test").await.upload("a.txt", TEXT).await;
    assert_eq!(status, 202, "another tenant knows nothing of it");
    assert_ne!(other["id"], first["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_uploads_of_the_same_bytes_at_once_are_one_document() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let sent = join_all((0..10).map(|_| anna.upload("a.txt", TEXT))).await;
    let new = sent.iter().filter(|(status, _)| *status == 202).count();
    assert_eq!(new, 1, "{sent:?}");
    assert!(
        sent.iter()
            .all(|(status, file)| [200, 202].contains(status) && file["id"] == sent[0].1["id"])
    );
    anna.ingested(sent[0].1["id"].as_str().unwrap()).await;
    assert_eq!(ids(&anna, "").await.0.len(), 1);
    for (table, count) in [("documents", 1), ("jobs", 1), ("chunks", 1), ("embeddings", 1)] {
        let rows = world.database.number(&format!("SELECT count(*) AS n FROM {table}")).await;
        assert_eq!(rows, count, "{table}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_document_is_tried_again_when_it_is_sent_again() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    // It fails for a reason that has gone by the next time: the month's pages are used up.
    let none = "INSERT INTO plan_quotas VALUES ('enterprise', 'tenant', 'month', 'pages', 0)";
    world.database.run(none).await;
    let (_, file) = anna.upload("a.txt", TEXT).await;
    let id = file["id"].as_str().unwrap();
    let failed = anna.ingested(id).await;
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("quota_exceeded"))
    );
    assert!(failed["error"]["message"].as_str().unwrap().contains("quota of 0 pages"), "{failed}");
    world.database.check_books().await;
    world.database.run("DELETE FROM plan_quotas WHERE plan = 'enterprise'").await;
    let (status, again) = anna.upload("a.txt", TEXT).await;
    assert_eq!((status, again["id"].as_str()), (200, Some(id)));
    let ready = anna.ingested(id).await;
    assert_eq!((&ready["status"], &ready["error"]), (&json!("ready"), &Value::Null));
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_by_its_bytes() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for (bytes, what) in [
        (&b"PK\x03\x04....word/document.xml"[..], "a Word document"),
        (b"PK\x03\x04\x14\0\0\0", "a ZIP archive"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (b"MZ\x90\0\x03\0\0\0\x04", "a Windows program"),
        (b"\x7fELF\x02\x01\x01", "a program"),
    ] {
        let (status, problem) = anna.upload("honest.txt", bytes).await;
        assert_eq!((status, &problem["code"]), (415, &json!("unsupported_media")), "{what}");
        assert!(problem["detail"].as_str().unwrap().contains(what), "{problem}");
    }
    let (status, problem) = anna.upload("a.txt", b"").await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")));
    assert_eq!(ids(&anna, "").await.0.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_five_mebibytes_and_no_more() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut bytes = vec![b'x'; (25 << 20) + 1];
    let (status, problem) = anna.upload("big.txt", &bytes).await;
    assert_eq!((status, &problem["code"]), (413, &json!("too_large")));
    bytes.pop();
    let (status, file) = anna.upload("big.txt", &bytes).await;
    assert_eq!((status, file["bytes"].as_u64()), (202, Some(25 << 20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_has_a_file() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let form = "multipart/form-data; boundary=b";
    let field = |name: &str| {
        format!(
            "--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"a.txt\"\r\n\r\nx\r\n"
        )
    };
    let other = format!("{}--b--\r\n", field("image"));
    let endless = format!("{}{}--b--\r\n", field("image").repeat(30), field("file"));
    let cut = field("file");
    for (what, content_type, body) in [
        ("JSON", "application/json", "{}"),
        ("no boundary", "multipart/form-data", other.as_str()),
        ("another field", form, &other),
        ("no field", form, "--b--\r\n"),
        ("nothing", form, ""),
        ("thirty fields before it", form, &endless),
        ("cut off", form, cut.trim_end()),
    ] {
        let (status, problem) = sends(&anna, content_type, body.as_bytes()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")), "{what}");
    }
    let late = format!("{}{}--b--\r\n", field("note"), field("file"));
    assert_eq!(sends(&anna, form, late.as_bytes()).await.0, 202, "other fields are skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_a_name_and_no_path() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for (n, (given, kept)) in [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\anna\\Übersicht.txt", "Übersicht.txt"),
        ("say \"hi\".txt", "say \"hi\".txt"),
        ("a\u{202e}fdp.exe", "afdp.exe"),
        ("  ", "untitled"),
        ("قائمة.txt", "قائمة.txt"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("Text number {n}.");
        let (status, file) = anna.upload(given, text.as_bytes()).await;
        assert_eq!((status, file["name"].as_str()), (202, Some(kept)), "{given:?}");
        let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
        let content = anna.request(Method::GET, &path).send().await.unwrap();
        let disposition = content.headers()["content-disposition"].as_bytes();
        assert!(disposition.starts_with(b"attachment"), "{given:?}");
        assert_eq!(content.bytes().await.unwrap(), text.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_comes_in_pages_newest_first() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut uploaded = Vec::new();
    for n in 0..5 {
        let (_, file) = anna.upload("a.txt", format!("Text {n}.").as_bytes()).await;
        uploaded.insert(0, file["id"].as_str().unwrap().to_owned());
    }
    let (mut seen, mut cursor) = ids(&anna, "?limit=2").await;
    while let Some(next) = cursor.as_str() {
        let (more, after) = ids(&anna, &format!("?limit=2&cursor={next}")).await;
        seen.extend(more);
        cursor = after;
    }
    assert_eq!(seen, uploaded);
    assert_eq!(ids(&world.user("ben@acme.test").await, "").await.0, uploaded, "shared by a tenant");
    assert_eq!(ids(&world.user("zoe@other.test").await, "").await.0, Vec::<String>::new());
    for wrong in ["?cursor=x", "?cursor=%00", "?limit=many"] {
        assert_eq!(anna.get(&format!("/v1/files{wrong}")).await.0, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_file_fails_alone() {
    let world = World::start().await;
    let (anna, ben) = (world.user("anna@acme.test").await, world.user("ben@acme.test").await);
    world.provider.next(Script::held(6, 3));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    stream.until_text("w2").await;
    let mut hostile = Vec::new();
    for (name, bytes) in [
        ("self.pdf", hostile_pdf::self_calling_form()),
        ("loop.pdf", hostile_pdf::page_tree_loop()),
        ("locked.pdf", hostile_pdf::encrypted()),
        ("scan.pdf", hostile_pdf::scanned_only()),
        ("cut.pdf", hostile_pdf::truncated()),
    ] {
        let (status, file) = anna.upload(name, &bytes).await;
        assert_eq!(status, 202, "{name}: {file}");
        hostile.push(file["id"].as_str().unwrap().to_owned());
    }
    let honest =
        ben.has_document("good.pdf", &hostile_pdf::simple_pdf(&["The gate opens at six."])).await;
    assert_eq!(honest["pages"], 1);
    world.provider.release();
    let events = stream.rest().await;
    assert_eq!(events[events.len() - 2].part()["type"], "finish");
    for id in hostile {
        let file = anna.ingested(&id).await;
        if file["status"] == "ready" {
            // What a reader can still make out of a broken file is not held against it.
            assert!(
                ["loop.pdf", "cut.pdf", "self.pdf"].contains(&file["name"].as_str().unwrap()),
                "{file}"
            );
            continue;
        }
        let message = file["error"]["message"].as_str().unwrap();
        assert!(message.ends_with('.') && message.len() > 30, "a sentence that helps: {file}");
        assert_eq!(anna.get(&format!("/v1/files/{id}/pages/1")).await.0, 404);
    }
    assert_eq!(anna.ask("When does the gate open?").await.citations()[0]["file_name"], "good.pdf");
    world.database.check_books().await;
}
