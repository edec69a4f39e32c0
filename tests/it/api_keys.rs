//! Keys for programs: they are their person on every route and transport, within their scopes.

use crate::support::{Database, Provider, Script, Socket, User, World, WorldOptions, within};
use docent::api;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SCOPES: [&str; 5] = ["chat", "files", "usage", "billing", "admin"];

async fn owner(world: &World) -> User {
    world.user("anna@acme.test").await;
    world.database.run("UPDATE users SET role = 'owner' WHERE email = 'anna@acme.test'").await;
    world.user("anna@acme.test").await
}

/// The keys that they see.
async fn listed(user: &User, query: &str) -> Vec<Value> {
    let (status, list) = user.get(&format!("/v1/api-keys{query}")).await;
    assert_eq!(status, 200, "{list}");
    list["data"].as_array().unwrap().clone()
}

/// Asks until the program is not known any more.
async fn until_unknown(program: &User) {
    within("a revoked key to be noticed", async { while program.get("/v1/me").await.0 == 200 {} })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_its_person_on_every_transport_and_on_the_bill() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (program, made) = anna.key(json!({"name": "bot", "scopes": ["chat", "files"]})).await;
    assert!(
        program.token.starts_with("dk_") && program.token.ends_with(made["hint"].as_str().unwrap())
    );
    assert_eq!(program.get("/v1/me").await.1["user"]["email"], "anna@acme.test");
    program.has_document("a.txt", b"The notice period is ninety days.").await;
    let answer = program.ask("How long is the notice period?").await;
    assert_eq!((answer.end().as_str(), answer.citations().len()), ("finish", 1));
    assert_eq!(program.attach(&answer.turn, -1).await.answer().await.text(), answer.text());
    assert_eq!(anna.messages(&answer.conversation).await.len(), 2, "it is hers");

    let mut with_ticket = program.socket().await;
    assert_eq!(with_ticket.ask("Once more?").await["type"], "accepted");
    with_ticket.turn().await;
    let mut with_message = Socket::open(&world.base, Some("docent.v1"), &[]).await.unwrap();
    with_message.send(json!({"type": "auth", "token": program.token})).await;
    assert_eq!(with_message.next().await["type"], "ready");
    assert_eq!(with_message.ask("And again?").await["type"], "accepted");
    with_message.turn().await;

    let (_, usage) = anna.get("/v1/usage").await;
    assert_eq!(usage["today"]["totals"]["requests"], 3, "{usage}");
    assert!(listed(&anna, "").await[0]["last_used_at"].is_string());
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_is_open_to_one_scope_and_a_refusal_names_it() {
    let world = World::start().await;
    let anna = owner(&world).await;
    let mut open: Vec<BTreeSet<String>> = Vec::new();
    let mut routes = api::table();
    routes.retain(|(name, path)| !api::PUBLIC.contains(&(name.as_str(), path.as_str())));
    routes.retain(|(_, path)| !path.starts_with("/v1/operator/"));
    for scope in SCOPES {
        let (program, _) = anna.key(json!({"name": scope, "scopes": [scope]})).await;
        // A key that was just seen is known at once; before that a bad body may be told first.
        assert_eq!(program.get("/v1/me").await.0, 200);
        let mut may = BTreeSet::new();
        for (name, path) in &routes {
            let id = uuid::Uuid::now_v7().to_string();
            let asked = path.replace("{id}", &id).replace("{page}", "1");
            let method: Method = name.to_uppercase().parse().unwrap();
            let request =
                program.request(method, &asked).header("accept", "application/problem+json");
            let response = request.body("{}").send().await.unwrap();
            let status = response.status().as_u16();
            let body: Value =
                serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
            let code =
                if body["error"].is_object() { &body["error"]["code"] } else { &body["code"] };
            if code == "scope_missing" {
                assert_eq!(status, 403);
                assert!(SCOPES.iter().any(|word| body.to_string().contains(&format!("`{word}`"))));
                assert!(!body.to_string().contains(&format!("scope `{scope}`")), "{body}");
            } else {
                may.insert(format!("{name} {path}"));
            }
        }
        open.push(may);
    }
    let any: BTreeSet<_> = ["get /v1/me", "post /v1/api-keys/{id}/rotate"].map(String::from).into();
    for (i, may) in open.iter().enumerate() {
        assert!(any.is_subset(may) && may.len() > any.len(), "{}", SCOPES[i]);
        for others in &open[i + 1..] {
            assert_eq!(may.intersection(others).collect::<BTreeSet<_>>(), any.iter().collect());
        }
    }
    assert_eq!(open.iter().flatten().collect::<BTreeSet<_>>().len(), routes.len());
    for (place, route) in [
        (0, "post /v1/chat/stream"),
        (0, "post /v1/ws-tickets"),
        (1, "delete /v1/files/{id}"),
        (2, "get /v1/turns/{id}/receipt"),
        (3, "get /v1/billing/ledger"),
        (4, "get /v1/api-keys"),
    ] {
        assert!(open[place].contains(route), "{route} is for {}", SCOPES[place]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_not_do_more_than_its_scopes_or_its_person() {
    let world = World::start().await;
    let anna = owner(&world).await;
    let ben = world.user("ben@acme.test").await;
    let file = ben.has_document("ben.txt", b"Ben wrote this.").await;
    let file = format!("/v1/files/{}", file["id"].as_str().unwrap());

    let wanted = json!({"name": "x", "scopes": ["chat", "billing"]});
    let (status, problem) = ben.post("/v1/api-keys", wanted).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "a member: {problem}");

    // The owner's role alone does not help a key.
    let (files, _) = anna.key(json!({"name": "files", "scopes": ["files"]})).await;
    assert_eq!(files.delete(&file).await.0, 403, "what others uploaded needs admin");
    let (usage, _) = anna.key(json!({"name": "usage", "scopes": ["usage"]})).await;
    assert_eq!(usage.get("/v1/usage").await.0, 200);
    assert_eq!(usage.get("/v1/usage?scope=tenant").await.0, 403, "all of it needs billing");
    let (all, _) = anna.key(json!({"name": "all", "scopes": SCOPES})).await;
    assert_eq!(all.get("/v1/usage?scope=tenant").await.0, 200);
    let (status, problem) =
        all.post("/v1/api-keys", json!({"name": "y", "scopes": ["chat"]})).await;
    assert_eq!(
        (status, &problem["code"]),
        (403, &json!("forbidden")),
        "keys make no keys: {problem}"
    );
    assert_eq!(all.delete(&file).await.0, 204);

    let mut socket = Socket::open(&world.base, Some("docent.v1"), &[]).await.unwrap();
    socket.send(json!({"type": "auth", "token": usage.token})).await;
    assert_eq!(socket.next().await["close"], 4403);

    // Who is a member now has a member's keys, whatever they were made with.
    world.database.run("UPDATE users SET role = 'member' WHERE email = 'anna@acme.test'").await;
    within("the role to be read anew", async {
        while all.get("/v1/billing/periods").await.0 == 200 {}
    })
    .await;
    assert_eq!(all.get("/v1/usage?scope=tenant").await.0, 403);
    assert_eq!(all.get("/v1/api-keys?scope=tenant").await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_has_two_secrets_for_a_while_and_a_revoked_one_none() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (old, made) = anna.key(json!({"name": "bot", "scopes": ["chat"]})).await;
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    assert_eq!(old.get("/v1/me").await.0, 200);
    // A program changes its own secret over.
    let (status, fresh) = old.post(&format!("{path}/rotate"), json!({"grace_seconds": 60})).await;
    assert_eq!((status, &fresh["id"]), (200, &made["id"]), "{fresh}");
    let new = User { token: fresh["key"].as_str().unwrap().into(), ..anna.clone() };
    assert_eq!([old.get("/v1/me").await.0, new.get("/v1/me").await.0], [200, 200]);
    // Without grace, the second last stops at once.
    let (status, last) = anna.post(&format!("{path}/rotate"), json!({"grace_seconds": 0})).await;
    assert_eq!(status, 200);
    let last = User { token: last["key"].as_str().unwrap().into(), ..anna.clone() };
    let answers =
        [old.get("/v1/me").await.0, new.get("/v1/me").await.0, last.get("/v1/me").await.0];
    assert_eq!(answers, [401, 401, 200]);

    let (other, _) = anna.key(json!({"name": "other", "scopes": ["chat"]})).await;
    assert_eq!(
        other.post(&format!("{path}/rotate"), json!({})).await.0,
        403,
        "not for another key"
    );
    let mut socket = last.socket().await;
    assert_eq!(anna.delete(&path).await.0, 204);
    assert_eq!(last.get("/v1/me").await.0, 401);
    socket.send(json!({"type": "send", "text": "Still there?"})).await;
    assert_eq!(socket.next().await["close"], 4401);
    assert_eq!(anna.delete(&path).await.0, 404);

    let log = "SELECT action || ' ' || actor AS t FROM audit_log ORDER BY created_at";
    let (who, key) = (format!("user:{}", anna.id), made["id"].as_str().unwrap());
    let expected = [
        format!("api_key.created {who}"),
        format!("api_key.rotated api_key:{key}"),
        format!("api_key.rotated {who}"),
        format!("api_key.created {who}"),
        format!("api_key.revoked {who}"),
    ];
    assert_eq!(world.database.texts(log).await, expected);
    let everything = world.database.texts("SELECT x::text AS t FROM audit_log x").await.join("\n")
        + &world.database.texts("SELECT x::text AS t FROM api_keys x").await.join("\n");
    for secret in [&old.token, &new.token, &last.token, &other.token] {
        assert!(!everything.contains(secret.as_str()), "only hashes are kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_notices_within_seconds_that_a_key_was_revoked() {
    let (database, provider) = (Database::fresh().await, Provider::start().await);
    let here = World::on(database.clone(), provider.clone(), WorldOptions::default()).await;
    let there = World::on(database, provider, WorldOptions::default()).await;
    let anna = here.user("anna@acme.test").await;
    let (program, made) = anna.key(json!({"name": "bot", "scopes": ["chat"]})).await;
    let program = there.back(&program);
    assert_eq!(program.get("/v1/me").await.0, 200);
    let mut socket = program.socket().await;
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    assert_eq!(anna.delete(&path).await.0, 204);
    until_unknown(&program).await;
    socket.send(json!({"type": "send", "text": "Still there?"})).await;
    assert_eq!(socket.next().await["close"], 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_time_is_over_or_that_was_mistyped_is_nobody() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let soon = json!({"name": "bot", "scopes": ["chat"], "expires_at": "2099-01-01T00:00:00Z"});
    let (program, _) = anna.key(soon).await;
    world.database.run("UPDATE api_keys SET expires_at = now() - interval '1 second'").await;
    let (status, problem) = program.get("/v1/me").await;
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
    assert_eq!(listed(&anna, "").await[0]["last_used_at"], Value::Null, "it was not used");
    for (body, why) in [
        (json!({"name": "x", "scopes": ["chat"], "expires_at": "2020-01-01T00:00:00Z"}), "over"),
        (json!({"name": " ", "scopes": ["chat"]}), "`name`"),
        (json!({"name": "x", "scopes": []}), "`scopes`"),
        (json!({"name": "x", "scopes": ["everything"]}), "everything"),
    ] {
        let (status, problem) = anna.post("/v1/api-keys", body).await;
        assert!(status == 400 && problem["detail"].as_str().unwrap().contains(why), "{problem}");
    }
    let (program, _) = anna.key(json!({"name": "bot", "scopes": ["chat"]})).await;
    let mistyped = User { token: program.token.replace("dk_A", "dk_B"), ..program.clone() };
    assert_eq!([mistyped.get("/v1/me").await.0, program.get("/v1/me").await.0], [401, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_and_revokes_the_keys_of_others_but_never_has_them() {
    let world = World::start().await;
    let anna = owner(&world).await;
    let (ben, eve) = (world.user("ben@acme.test").await, world.user("eve@globex.test").await);
    let (program, made) = ben.key(json!({"name": "ben's", "scopes": ["chat"]})).await;
    assert_eq!(listed(&anna, "").await, Vec::<Value>::new());
    let all = listed(&anna, "?scope=tenant").await;
    assert_eq!((&all[0]["email"], &all[0]["key"]), (&json!("ben@acme.test"), &Value::Null));
    assert_eq!(ben.get("/v1/api-keys?scope=tenant").await.0, 403);
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    assert_eq!(anna.post(&format!("{path}/rotate"), json!({})).await.0, 403);
    assert_eq!(eve.delete(&path).await.0, 404);
    assert_eq!(program.get("/v1/me").await.0, 200);
    assert_eq!(anna.delete(&path).await.0, 204);
    assert_eq!(program.get("/v1/me").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_a_rate_of_its_own() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (slow, _) =
        anna.key(json!({"name": "slow", "scopes": ["chat"], "requests_per_minute": 1})).await;
    world.provider.next(Script::text(&["One."], 10, 1));
    assert_eq!(slow.ask("One?").await.end(), "finish");
    let request = slow.request(Method::POST, "/v1/chat/send").body(r#"{"text": "Two?"}"#);
    let refused = request.send().await.unwrap();
    let told = refused.headers()["ratelimit-policy"].to_str().unwrap().to_owned();
    assert!(told.starts_with("\"key-requests\";q=1;w=60, \"user-requests\""), "{told}");
    let (status, body) = (refused.status(), refused.text().await.unwrap());
    assert!(status == 429 && body.contains("key requests"), "{body}");
    let (fast, _) = anna.key(json!({"name": "fast", "scopes": ["chat"]})).await;
    assert_eq!(fast.ask("Two?").await.end(), "finish");
    assert_eq!(anna.ask("Three?").await.end(), "finish");
}
