//! Assistants: written as drafts, tried, published, taken back, and limited to some documents.

use crate::support::{User, World, WorldOptions};
use reqwest::Method;
use serde_json::{Value, json};

/// Somebody who may edit assistants.
pub async fn owner(world: &World, email: &str) -> User {
    world.user(email).await;
    let promote = format!("UPDATE users SET role = 'owner' WHERE email = '{email}'");
    world.database.run(&promote).await;
    world.user(email).await
}

/// A draft of hers, by id.
async fn drafts(owner: &User, slug: &str, fields: Value) -> String {
    let mut body = json!({"slug": slug, "name": "Pirate", "instructions": "Talk like a pirate."});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let (status, made) = owner.post("/v1/assistants", body).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

async fn publishes(owner: &User, id: &str, note: &str) -> Value {
    let (status, now) =
        owner.post(&format!("/v1/assistants/{id}/publish"), json!({"note": note})).await;
    assert_eq!(status, 200, "{now}");
    now
}

/// The names in the list that everybody sees.
async fn offered(user: &User) -> Vec<String> {
    let (_, list) = user.get("/v1/assistants").await;
    let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
    list["data"].as_array().unwrap().iter().map(name).collect()
}

/// What the model was told last, as its system message and its temperature.
fn told(world: &World) -> (String, Value) {
    let request = world.provider.requests().pop().unwrap();
    let system = request["messages"][0]["content"].as_str().unwrap().to_owned();
    (system, request["temperature"].clone())
}

fn asking(assistant: &str, text: &str) -> Value {
    json!({"assistant": assistant, "text": text})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_tried_and_nobody_else_sees_it_before_it_is_published() {
    let world = World::start().await;
    let (olga, ben) = (owner(&world, "olga@acme.test").await, world.user("ben@acme.test").await);
    let fields = json!({"temperature": 0.7, "language": "de", "greeting": "Ahoy!"});
    let id = drafts(&olga, "pirate", fields).await;
    assert_eq!(offered(&ben).await, ["Assistant"]);
    for body in [
        asking("pirate", "?"),
        asking(&id, "?"),
        json!({"assistant": id, "text": "?", "draft": true}),
    ] {
        assert_eq!(ben.refused(body).await.0, 404);
    }
    assert_eq!(
        olga.refused(asking("pirate", "?")).await.0,
        404,
        "not even she asks it by its name"
    );

    let path = format!("/v1/assistants/{id}/try");
    let request = olga.request(Method::POST, &path).body(json!({"text": "Who goes?"}).to_string());
    let answer = crate::support::Stream::new(request.send().await.unwrap()).answer().await;
    assert_eq!(answer.end(), "finish");
    let (system, temperature) = told(&world);
    assert!(system.starts_with("Talk like a pirate."), "{system}");
    assert!(system.contains("Answer in the language \"de\""), "{system}");
    assert_eq!(temperature, 0.7);
    assert_eq!(olga.get("/v1/conversations").await.1["data"], json!([]), "it is in no list");
    let tried = olga.get(&format!("/v1/conversations/{}", answer.conversation)).await.1;
    assert_eq!((&tried["trial"], &tried["assistant_name"]), (&json!(true), &json!("Pirate")));

    let edit = json!({"instructions": "Talk like a poet.", "temperature": null, "name": "Poet"});
    assert_eq!(olga.patch(&format!("/v1/assistants/{id}"), edit).await.0, 200);
    olga.ask_in(&answer.conversation, "And now?").await;
    let (system, temperature) = told(&world);
    assert!(system.starts_with("Talk like a poet."), "what is tried is always the draft: {system}");
    assert_eq!(temperature, Value::Null);

    publishes(&olga, &id, "Better").await;
    assert_eq!(offered(&ben).await, ["Assistant", "Poet"]);
    let answer = ben.stream(asking("pirate", "Who goes?")).await.answer().await;
    assert!(told(&world).0.starts_with("Talk like a poet."));
    let conversation = ben.get(&format!("/v1/conversations/{}", answer.conversation)).await.1;
    assert_eq!(conversation["assistant_name"], "Poet");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_no_longer_edit_may_no_longer_try() {
    let world = World::start().await;
    let olga = owner(&world, "olga@acme.test").await;
    let id = drafts(&olga, "pirate", json!({})).await;
    let first =
        olga.stream(json!({"assistant": id, "draft": true, "text": "?"})).await.answer().await;
    world.database.run("UPDATE users SET role = 'member'").await;
    let olga = world.user("olga@acme.test").await;
    let again = json!({"conversation_id": first.conversation, "text": "And now?"});
    assert_eq!(olga.refused(again).await.0, 404);
    assert_eq!(world.provider.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_kept_and_an_old_one_comes_back_as_a_new_one() {
    let world = World::start().await;
    let olga = owner(&world, "olga@acme.test").await;
    let id = drafts(&olga, "pirate", json!({})).await;
    let path = format!("/v1/assistants/{id}");
    let first = publishes(&olga, &id, "Ahoy").await;
    assert_eq!((&first["version"], &first["changed"]), (&json!(1), &json!(false)));
    assert_eq!(publishes(&olga, &id, "Twice").await, first, "there was nothing to publish");
    olga.patch(&path, json!({"instructions": "Talk like a judge."})).await;
    let (_, edited) = olga.get(&path).await;
    assert_eq!((&edited["version"], &edited["changed"]), (&json!(1), &json!(true)));
    olga.stream(asking("pirate", "?")).await.answer().await;
    assert!(told(&world).0.starts_with("Talk like a pirate."), "the draft is not asked");
    publishes(&olga, &id, "Order!").await;

    let (status, back) =
        olga.post(&format!("{path}/rollback"), json!({"version": 1, "note": "Oh no"})).await;
    assert_eq!(status, 200, "{back}");
    assert_eq!((&back["version"], &back["changed"]), (&json!(3), &json!(false)));
    olga.stream(asking("pirate", "?")).await.answer().await;
    assert!(told(&world).0.starts_with("Talk like a pirate."));
    let missing = olga.post(&format!("{path}/rollback"), json!({"version": 9})).await;
    assert_eq!(missing.0, 404);

    olga.patch(&path, json!({"instructions": "Talk like a child."})).await;
    let (_, back) = olga.post(&format!("{path}/rollback"), json!({"version": 2})).await;
    assert_eq!(back["draft"]["instructions"], "Talk like a child.", "unpublished work is not lost");
    let (_, page) = olga.get(&format!("{path}/versions?limit=3")).await;
    let line = |row: &Value| format!("{} {} {}", row["version"], row["note"], row["email"]);
    let lines: Vec<String> = page["data"].as_array().unwrap().iter().map(line).collect();
    let by = "\"olga@acme.test\"";
    assert_eq!(
        lines,
        [format!("4 \"\" {by}"), format!("3 \"Oh no\" {by}"), format!("2 \"Order!\" {by}")]
    );
    assert_eq!(page["data"][1]["body"]["instructions"], "Talk like a pirate.");
    let next = format!("{path}/versions?cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(olga.get(&next).await.1["data"][0]["note"], "Ahoy");
    let done = "SELECT string_agg(action, ' ' ORDER BY id) AS t FROM audit_log";
    let expected = "assistant-created assistant-published assistant-edited assistant-published \
        assistant-rolled-back assistant-edited assistant-rolled-back";
    assert_eq!(world.database.texts(done).await, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_edit_at_once_the_later_is_told() {
    let world = World::start().await;
    let olga = owner(&world, "olga@acme.test").await;
    let id = drafts(&olga, "pirate", json!({})).await;
    let path = format!("/v1/assistants/{id}");
    let read = olga.request(Method::GET, &path).send().await.unwrap();
    let seen = read.headers()["etag"].to_str().unwrap().to_owned();
    let edits = async |name: &str, tag: &str| {
        let request = olga.request(Method::PATCH, &path).header("if-match", tag);
        let response = request.body(json!({"name": name}).to_string()).send().await.unwrap();
        let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (status, mine) = edits("Mine", &seen).await;
    assert_eq!((status, &mine["draft"]["name"]), (200, &json!("Mine")));
    let (status, problem) = edits("Yours", &seen).await;
    assert_eq!((status, &problem["code"]), (412, &json!("stale")));
    assert_eq!(problem["revision"], mine["revision"]);
    for verb in ["publish", "rollback"] {
        let request = olga.request(Method::POST, &format!("{path}/{verb}"));
        let request = request.header("if-match", &seen).body(json!({"version": 1}).to_string());
        assert_eq!(request.send().await.unwrap().status(), 412, "{verb}");
    }
    assert_eq!(edits("Yours", "*").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_assistant_is_said_with_its_field() {
    let world = World::start().await;
    let olga = owner(&world, "olga@acme.test").await;
    let id = drafts(&olga, "pirate", json!({})).await;
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(7)),
        ("slug", json!("No Slug")),
        ("slug", json!(null)),
        ("temperature", json!(2.5)),
        ("temperature", json!("hot")),
        ("language", json!("German, please")),
        ("model", json!("gpt 4")),
        ("collections", json!(["", "a"])),
        ("tools", json!(["rm -rf"])),
        ("instructions", json!("x".repeat(16_001))),
    ] {
        let (status, problem) =
            olga.patch(&format!("/v1/assistants/{id}"), json!({field: value})).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("`{field}`")), "{problem}");
    }
    let taken = json!({"slug": "default", "name": "Another"});
    let (status, problem) = olga.post("/v1/assistants", taken).await;
    assert_eq!(
        (status, &problem["code"], &problem["field"]),
        (409, &json!("conflict"), &json!("slug"))
    );
    let (_, same) = olga.get(&format!("/v1/assistants/{id}")).await;
    assert_eq!((&same["revision"], &same["draft"]["name"]), (&json!(1), &json!("Pirate")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_answer_is_not_published() {
    let settings = vec![("OPERATOR_TOKEN", "the-operators-own-token".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let olga = owner(&world, "olga@acme.test").await;
    let operate = async |path: &str, body: Value| {
        let put = world.http.put(format!("{}/v1/operator/{path}", world.base));
        let put = put.bearer_auth("the-operators-own-token");
        let put = put.header("content-type", "application/json").body(body.to_string());
        assert!(put.send().await.unwrap().status().is_success(), "{path}");
    };
    let id = drafts(&olga, "pirate", json!({"model": "one"})).await;
    let path = format!("/v1/assistants/{id}");
    let publish = format!("{path}/publish");
    let refused = async |why: &str| {
        let (status, problem) = olga.post(&publish, json!({})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("model_not_allowed")), "{why}");
        assert_eq!(problem["field"], "model", "{problem}");
    };
    let model = |id: &str| json!({"id": id, "provider": "openai", "context_window": 8000, "max_output": 500});
    operate("models", model("two")).await;
    refused("nobody knows it").await;
    operate("models", model("one")).await;
    operate("tenants/acme/models", json!({"models": ["two"]})).await;
    refused("it is not for this tenant").await;
    assert_eq!(olga.get(&path).await.1["version"], Value::Null, "it was not published");
    operate("routes", json!({"name": "quick", "models": ["one", "two"]})).await;
    for model in [json!("two"), json!("quick"), Value::Null] {
        assert_eq!(olga.patch(&path, json!({"model": model})).await.0, 200);
        assert_eq!(olga.post(&publish, json!({})).await.0, 200, "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_read_what_is_published_and_nothing_more() {
    let world = World::start().await;
    let (olga, ben) = (owner(&world, "olga@acme.test").await, world.user("ben@acme.test").await);
    let id = drafts(&olga, "pirate", json!({})).await;
    let path = format!("/v1/assistants/{id}");
    assert_eq!(ben.get("/v1/assistants?drafts=true").await.0, 403);
    for path in [path.clone(), format!("{path}/versions")] {
        assert_eq!(ben.get(&path).await.0, 403, "{path}");
    }
    for verb in ["publish", "rollback", "try"] {
        let body = json!({"version": 1, "text": "?"});
        assert_eq!(ben.post(&format!("{path}/{verb}"), body).await.0, 403, "{verb}");
    }
    assert_eq!(ben.patch(&path, json!({"name": "Mine"})).await.0, 403);
    assert_eq!(ben.delete(&path).await.0, 403);
    assert_eq!(ben.post("/v1/assistants", json!({"slug": "b", "name": "B"})).await.0, 403);
    let (_, list) = ben.get("/v1/assistants").await;
    assert!(!list.to_string().contains("instructions"), "{list}");
    let (_, list) = olga.get("/v1/assistants?drafts=true").await;
    assert_eq!(list["data"][1]["draft"]["instructions"], "Talk like a pirate.");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_asked_is_archived_and_its_conversations_go_on() {
    let world = World::start().await;
    let (olga, ben) = (owner(&world, "olga@acme.test").await, world.user("ben@acme.test").await);
    let (used, unused) =
        (drafts(&olga, "used", json!({})).await, drafts(&olga, "unused", json!({})).await);
    for id in [&used, &unused] {
        publishes(&olga, id, "").await;
    }
    let answer = ben.stream(asking("used", "Who goes?")).await.answer().await;
    for id in [&used, &unused] {
        assert_eq!(olga.delete(&format!("/v1/assistants/{id}")).await.0, 204);
    }
    assert_eq!(offered(&ben).await, ["Assistant"]);
    assert_eq!(ben.refused(asking("used", "Who goes?")).await.0, 404);
    assert_eq!(ben.ask_in(&answer.conversation, "Still there?").await.end(), "finish");
    assert!(told(&world).0.starts_with("Talk like a pirate."));
    assert_eq!(olga.get(&format!("/v1/assistants/{unused}")).await.0, 404, "nobody ever asked it");
    let (_, archived) = olga.get(&format!("/v1/assistants/{used}")).await;
    assert!(archived["archived_at"].is_string(), "{archived}");
    assert_eq!(
        olga.delete(&format!("/v1/assistants/{used}")).await.0,
        204,
        "again: nothing happens"
    );

    let (_, list) = ben.get("/v1/assistants").await;
    let last = format!("/v1/assistants/{}", list["data"][0]["id"].as_str().unwrap());
    let (status, problem) = olga.delete(&last).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "somebody has to answer");
    let back = publishes(&olga, &used, "We need it").await;
    assert_eq!((&back["archived_at"], &back["version"]), (&Value::Null, &json!(2)));
    assert_eq!(olga.delete(&last).await.0, 204);
    assert_eq!(ben.ask("Who goes?").await.end(), "finish", "the next one is the default");
    assert!(told(&world).0.starts_with("Talk like a pirate."));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_answers_from_its_collections_only() {
    let world = World::start().await;
    let (olga, ben) = (owner(&world, "olga@acme.test").await, world.user("ben@acme.test").await);
    let law = ben.has_document("law.md", b"The notice period is ninety days.").await;
    let path = format!("/v1/files/{}", law["id"].as_str().unwrap());
    let (status, filed) = ben.patch(&path, json!({"collection": " Law "})).await;
    assert_eq!((status, &filed["collection"]), (200, &json!("Law")));
    olga.has_document("tales.md", b"The notice period of a pirate is nine days.").await;
    let form = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"sea.md\"\r\n\r\n\
        A notice period at sea is a week.\r\n--b\r\n\
        content-disposition: form-data; name=\"collection\"\r\n\r\nSea\r\n--b--\r\n";
    let request = ben.request(Method::POST, "/v1/files").body(form);
    let request = request.header("content-type", "multipart/form-data; boundary=b");
    let sea: Value =
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(sea["collection"], "Sea");
    ben.ingested(sea["id"].as_str().unwrap()).await;
    let (_, list) = ben.get("/v1/collections").await;
    assert_eq!(list["data"], json!([{"name": "Law", "files": 1}, {"name": "Sea", "files": 1}]));

    let finds = async |collections: Value| {
        let slug = format!("a{}", uuid::Uuid::now_v7().simple());
        let id = drafts(&olga, &slug, json!({"collections": collections})).await;
        publishes(&olga, &id, "").await;
        let answer = ben.stream(asking(&id, "How long is the notice period?")).await.answer().await;
        let name = |one: &Value| one["file_name"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = answer.citations().iter().map(name).collect();
        names.sort();
        names
    };
    assert_eq!(finds(json!(["Law"])).await, ["law.md"]);
    assert_eq!(finds(json!(["Sea", "Law"])).await, ["law.md", "sea.md"]);
    assert_eq!(finds(json!(["Nothing"])).await, Vec::<String>::new());
    assert_eq!(finds(json!([])).await, ["law.md", "sea.md", "tales.md"], "none named: all");

    let eve = world.user("eve@acme.test").await;
    assert_eq!(eve.patch(&path, json!({"collection": "Mine"})).await.0, 403, "it is ben's");
    let (status, problem) = ben.patch(&path, json!({"collection": ""})).await;
    assert_eq!((status, &problem["field"]), (400, &json!("collection")));
    assert_eq!(olga.patch(&path, json!({"collection": null})).await.1["collection"], Value::Null);
    assert_eq!(finds(json!(["Law"])).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_client_asks_a_specialist_with_the_whole_conversation() {
    let world = World::start().await;
    let (olga, ben) = (owner(&world, "olga@acme.test").await, world.user("ben@acme.test").await);
    olga.has_document("law.md", b"The notice period is ninety days.").await;
    let id = drafts(&olga, "pirate", json!({"temperature": 0.5})).await;
    let body = json!({"specialist_id": "pirate", "message": "And the notice period at sea?",
        "conversation_history": [{"role": "user", "content": "Ahoy!"},
                                 {"role": "assistant", "content": "Arr."}]});
    assert_eq!(ben.post("/chat/send", body.clone()).await.0, 404, "it is not published");
    publishes(&olga, &id, "").await;
    let (status, answer) = ben.post("/chat/send", body.clone()).await;
    assert_eq!((status, &answer["content"]), (200, &json!("Forty-two. [1]")), "{answer}");
    assert_eq!(
        (&answer["specialist_id"], &answer["specialist_name"]),
        (&json!("pirate"), &json!("Pirate"))
    );
    assert_eq!((&answer["provider"], &answer["model"]), (&json!("openai"), &json!("gpt-4o-mini")));
    assert_eq!((&answer["input_tokens"], &answer["output_tokens"]), (&json!(120), &json!(7)));
    assert_eq!(answer["estimated_cost_usd"], json!(0.000_022_2), "{answer}");
    assert!(answer["latency_ms"].is_u64());
    let request = world.provider.requests().pop().unwrap();
    let said = |n: usize| request["messages"][n]["content"].as_str().unwrap().to_owned();
    assert!(said(0).contains("Talk like a pirate."), "{}", said(0));
    assert!(said(1).contains("ninety days"), "{}", said(1));
    assert_eq!([said(2), said(3), said(4)], ["Ahoy!", "Arr.", "And the notice period at sea?"]);
    assert_eq!(request["temperature"], 0.5);

    let stream = ben.request(Method::POST, "/chat/stream").body(body.to_string()).send().await;
    let mut stream = crate::support::Stream::new(stream.unwrap());
    let mut events = stream.rest().await;
    let last = events.pop().unwrap();
    assert_eq!(last.event.as_deref(), Some("done"));
    let delta =
        |event: &crate::support::Event| event.part()["content"].as_str().unwrap().to_owned();
    assert_eq!(events.iter().map(delta).collect::<String>(), "Forty-two. [1]");
    assert_eq!(last.part()["content"], "Forty-two. [1]");
    assert_eq!(ben.get("/v1/conversations").await.1["data"], json!([]), "nothing of it is stored");

    for (field, value) in [
        ("message", json!(" ")),
        ("conversation_history", json!(vec![json!({"role": "user", "content": "x"}); 201])),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        let (status, problem) = ben.post("/chat/send", wrong).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
    }
    world.provider.always(crate::support::Script::error(401, "invalid_api_key"));
    assert_eq!(ben.post("/chat/send", body).await.0, 502);
    world.database.check_books().await;
}
