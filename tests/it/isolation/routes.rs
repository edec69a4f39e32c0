//! Every route of the table, walked by nobody, by a stranger and by its owner.

use super::{Belongings, fingerprint, settled_in};
use crate::support::{Script, User, World};
use docent::api;
use reqwest::Method;
use serde_json::{Value, json};

/// A route with its placeholders filled: `id` for the thing, page 1.
fn filled(path: &str, id: &str) -> String {
    path.replace("{id}", id).replace("{approval}", id).replace("{page}", "1")
}

fn random() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn method(name: &str) -> Method {
    name.to_uppercase().parse().unwrap()
}

/// The status and the body, without what differs from one request to the next.
async fn outcome(request: reqwest::RequestBuilder, message: &str) -> (u16, Value) {
    let body = json!({"text": "Hello?", "title": "Mine", "message_id": message, "version": 1,
        "collection": null, "approved": false, "name": "a_tool", "description": "A tool.",
        "parameters": {"type": "object"}, "method": "GET", "url": "https://shop.test/",
        "stage": "input", "pattern": "nobody says this", "action": "block"});
    let body = body.to_string();
    // Some routes say it in a sentence to those who do not ask for problems.
    let request = request.header("accept", "application/problem+json");
    let response = request.body(body).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let mut body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if let Some(object) = body.as_object_mut() {
        object.remove("request_id");
    }
    (status, body)
}

impl Belongings {
    /// The id that a route is about.
    fn id_for(&self, path: &str) -> &str {
        match path.split('/').nth(2) {
            Some("files") => &self.file,
            Some("turns") => &self.turn,
            Some("conversations" | "chat") => &self.conversation,
            Some("api-keys") => &self.key,
            Some("models" | "assistants") => &self.assistant,
            Some("tools") => &self.tool,
            Some("filters") => &self.filter,
            _ => panic!("{path} has an id of a new kind: let somebody own one and walk it"),
        }
    }
}

/// The routes with an id, the destructive ones last.
fn routes_with_ids() -> Vec<(String, String)> {
    let mut routes: Vec<_> =
        api::table().into_iter().filter(|(_, path)| path.contains('{')).collect();
    // Nobody who logs in gets there.
    routes.retain(|(_, path)| !path.starts_with("/v1/operator/"));
    routes.sort_by_key(|(method, path)| (method == "delete", path.clone()));
    assert!(routes.len() >= 12, "{routes:?}");
    routes
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_every_route_but_the_public_ones_says_401() {
    let world = World::start().await;
    let mut closed = 0;
    for (name, path) in api::table() {
        let url = format!("{}{}", world.base, filled(&path, &random()));
        let nobody = || world.http.request(method(&name), &url);
        let (status, problem) = outcome(nobody(), &random()).await;
        if api::PUBLIC.contains(&(name.as_str(), path.as_str())) {
            assert!(status < 500 && status != 404, "{name} {path} is public: {status}");
            continue;
        }
        closed += 1;
        // The API of OpenAI's clients has words of its own.
        let theirs = problem["error"]["code"] == "invalid_api_key";
        assert!(theirs || problem["code"] == "unauthenticated", "{name} {path}: {problem}");
        assert_eq!(status, 401, "{name} {path}");
        for token in ["", "nonsense", "eyJhbGciOiJub25lIn0.e30."] {
            let (status, _) = outcome(nobody().bearer_auth(token), &random()).await;
            assert_eq!(status, 401, "{name} {path} with {token}");
        }
    }
    assert!(closed >= 20, "{closed}");
    for (name, path) in api::PUBLIC {
        let there = api::table().iter().any(|(n, p)| (n.as_str(), p.as_str()) == (*name, *path));
        assert!(there, "{name} {path} is a route");
    }
}

/// Walks with ids that exist and with ids that do not; the answers must be the same 404.
async fn walks_in_vain(who: &User, things: &Belongings, routes: &[(String, String)]) {
    for (name, path) in routes {
        let asked = filled(path, things.id_for(path));
        let foreign = outcome(who.request(method(name), &asked), &things.message).await;
        let invented =
            outcome(who.request(method(name), &filled(path, &random())), &random()).await;
        // A chat is begun by who names it: in one that is not there, nothing runs.
        let nothing = if path == "/api/chat/{id}/stream" { 204 } else { 404 };
        assert_eq!(foreign.0, nothing, "{name} {path}: {}", foreign.1);
        assert_eq!(foreign, invented, "{name} {path}: the two can be told apart");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_ids_are_not_there() {
    let world = World::start().await;
    let (anna, hers) = settled_in(&world, "anna@acme.test", "rosebud").await;
    let (owner, _) = settled_in(&world, "eve@globex.test", "xanadu").await;
    let eve = world.user("mia@globex.test").await;
    let routes = routes_with_ids();
    let before = fingerprint(&world.database).await;
    walks_in_vain(&eve, &hers, &routes).await;
    walks_in_vain(&owner, &hers, &routes).await;
    assert_eq!(before, fingerprint(&world.database).await, "nothing was changed");

    for (name, path) in &routes {
        let asked = filled(path, hers.id_for(path));
        let (status, body) = outcome(anna.request(method(name), &asked), &hers.message).await;
        assert!((200..300).contains(&status), "{name} {path} is anna's own: {status} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_colleagues_conversations_are_not_there_either() {
    let world = World::start().await;
    let (_, hers) = settled_in(&world, "anna@acme.test", "rosebud").await;
    world.user("ben@acme.test").await;
    world.database.run("UPDATE users SET role = 'owner' WHERE email = 'ben@acme.test'").await;
    let ben = world.user("ben@acme.test").await;
    let mut routes = routes_with_ids();
    // Those are everybody's or every owner's, these are for those who pay or look after models, and an owner sees all keys.
    let shared =
        ["/v1/files", "/v1/api-keys", "/v1/models", "/v1/assistants", "/v1/tools", "/v1/filters"];
    let seen = |path: &str| shared.iter().any(|beginning| path.starts_with(beginning));
    let of_turns = |path: &str| path.ends_with("/receipt") || path.ends_with("/attempts");
    routes.retain(|(_, path)| !seen(path) && !of_turns(path));
    assert!(routes.len() >= 7);
    let before = fingerprint(&world.database).await;
    walks_in_vain(&ben, &hers, &routes).await;
    assert_eq!(before, fingerprint(&world.database).await, "nothing was changed");
    assert_eq!(ben.get(&format!("/v1/files/{}", hers.file)).await.0, 200);
    let (_, list) = ben.get("/v1/conversations").await;
    assert_eq!(list["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_turn_is_hidden_from_strangers_and_goes_on() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let strangers = [world.user("eve@globex.test").await, world.user("ben@acme.test").await];
    world.provider.next(Script::held(6, 3));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    stream.until_text("w2").await;
    let (turn, conversation) = (stream.turn(), stream.conversation());
    for stranger in &strangers {
        assert_eq!(stranger.post(&format!("/v1/turns/{turn}/stop"), json!({})).await.0, 404);
        assert_eq!(stranger.attach(&turn, -1).await.status, 404);
        let path = format!("/v1/conversations/{conversation}");
        assert_eq!(stranger.delete(&path).await.0, 404);
        // Not "a turn is running there": that would say that it is there.
        for id in [&conversation, &random()] {
            let asked = json!({"text": "Me too!", "conversation_id": id});
            let (status, problem) = stranger.post("/v1/chat/send", asked).await;
            assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
        }
    }
    world.provider.release();
    stream.rest().await;
    let answer = anna.attach(&turn, -1).await.answer().await;
    assert_eq!((answer.text().as_str(), answer.end().as_str()), ("w0 w1 w2 w3 w4 w5 ", "finish"));
    assert_eq!(world.provider.calls(), 1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_assistant_cannot_be_asked() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let eve = world.user("eve@globex.test").await;
    let (_, assistants) = anna.get("/v1/assistants").await;
    let hers = assistants["data"][0]["id"].as_str().unwrap();
    let asked = json!({"text": "Hello?", "assistant": hers});
    assert_eq!(eve.post("/v1/chat/send", asked.clone()).await.0, 404);
    assert_eq!(anna.post("/v1/chat/send", asked).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_belongs_to_its_user() {
    let world = World::start().await;
    let (anna, eve) = (world.user("anna@acme.test").await, world.user("eve@globex.test").await);
    let ben = world.user("ben@acme.test").await;
    let mut turns = Vec::new();
    for user in [&anna, &ben, &eve, &anna] {
        let request = user.request(Method::POST, "/v1/chat/send").header("Idempotency-Key", "k");
        let (status, answer) = outcome(request, &random()).await;
        assert_eq!(status, 200, "{answer}");
        turns.push(answer["turn_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(turns[0], turns[3], "a repeat is the same turn");
    assert!(turns[0] != turns[1] && turns[0] != turns[2] && turns[1] != turns[2]);
}
