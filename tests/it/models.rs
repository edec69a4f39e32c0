//! Models are data: what the operator writes down is what assistants may name, under whose key, and what is
//! left when something of it is missing.

use crate::support::{World, WorldOptions};
use docent::config::{Layers, Settings};
use docent::llm::router::{Catalogue, LIST, Router, load_models};
use docent::llm::{ChatEvent, ChatMessage, ChatRequest, Role};
use docent::net::{ClientOptions, Clients};
use docent::runtime::Tasks;
use docent::store::{Db, DbOptions};
use docent::types::{Secret, TenantId};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const TOKEN: &str = "the-operators-own-token";
const SECRET: &str = "a secret for tests that is long enough";

async fn world() -> World {
    let settings = vec![("OPERATOR_TOKEN", TOKEN.to_owned())];
    World::with(WorldOptions { settings, ..WorldOptions::default() }).await
}

/// As the operator; `path` follows `/v1/operator/`.
async fn operate(world: &World, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/v1/operator/{path}", world.base);
    let request = world.http.request(method, url).bearer_auth(TOKEN);
    let request = request.header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

async fn put(world: &World, path: &str, body: Value) {
    let (status, problem) = operate(world, Method::PUT, path, body).await;
    assert!([201, 204].contains(&status), "{path}: {status} {problem}");
}

fn model(id: &str) -> Value {
    json!({"id": id, "provider": "openai", "context_window": 8000, "max_output": 1000})
}

/// What a name stands for at acme: the models in order, or the problem.
async fn stands_for(world: &World, tenant: &str, name: &str) -> Result<Vec<String>, (u16, String)> {
    let path = format!("tenants/{tenant}/resolve?name={name}");
    let (status, answer) = operate(world, Method::GET, &path, Value::Null).await;
    if status != 200 {
        return Err((status, answer["code"].as_str().unwrap().to_owned()));
    }
    let models = answer["models"].as_array().unwrap().iter();
    Ok(models.map(|model| model["model"].as_str().unwrap().to_owned()).collect())
}

fn are(models: &[&str]) -> Result<Vec<String>, (u16, String)> {
    Ok(models.iter().map(|model| (*model).to_owned()).collect())
}

fn problem(status: u16, code: &str) -> Result<Vec<String>, (u16, String)> {
    Err((status, code.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_catalogue_the_settings_say_who_answers() {
    let world = world().await;
    world.user("anna@acme.test").await;
    for name in ["default", "fast", "smart"] {
        assert_eq!(stands_for(&world, "acme", name).await, are(&["gpt-4o-mini"]), "{name}");
    }
    let passed_on = stands_for(&world, "acme", "llama3.2").await;
    assert_eq!(passed_on, are(&["llama3.2"]), "the provider will know it or not");

    load_models(&world.db(), LIST).await.unwrap();
    load_models(&world.db(), LIST).await.unwrap();
    // What was read a moment ago is remembered for seconds; a change over HTTP is seen at once.
    put(&world, "models", model("extra")).await;
    assert_eq!(stands_for(&world, "acme", "llama3.2").await, problem(404, "model_unknown"));
    assert_eq!(stands_for(&world, "acme", "default").await, are(&["gpt-4o-mini"]));
    let fast = stands_for(&world, "acme", "fast").await;
    assert_eq!(fast, are(&["gpt-4o-mini"]), "those without a key are left out");
    let unpriced = "SELECT id AS t FROM models WHERE id <> 'extra' AND id NOT IN (SELECT model FROM prices)
                    UNION ALL SELECT model FROM embedding_models WHERE model NOT IN (SELECT model FROM prices)";
    assert_eq!(world.database.texts(unpriced).await, Vec::<String>::new(), "all have a price");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_that_names_no_model_is_shown_with_what_answers() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    let shown = async || anna.get("/v1/assistants").await.1["data"][0]["model"].clone();
    assert_eq!(shown().await, "gpt-4o-mini");
    put(&world, "models", model("a")).await;
    put(&world, "tenants/acme/routes", json!({"name": "default", "models": ["a"]})).await;
    assert_eq!(shown().await, "default");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_the_demo_is_all_there_is() {
    let settings = vec![("OPERATOR_TOKEN", TOKEN.to_owned())];
    let options = WorldOptions { provider: false, settings, ..WorldOptions::default() };
    let world = World::with(options).await;
    world.user("anna@acme.test").await;
    for name in ["default", "fast", "smart"] {
        assert_eq!(stands_for(&world, "acme", name).await, are(&["demo"]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_the_servers_or_a_tenants_own() {
    let world = world().await;
    world.user("anna@acme.test").await;
    world.user("eve@globex.test").await;
    for id in ["a", "b", "c"] {
        put(&world, "models", model(id)).await;
    }
    put(&world, "routes", json!({"name": "default", "models": ["b", "a"]})).await;
    assert_eq!(stands_for(&world, "acme", "smart").await, are(&["b", "a"]), "an alias of default");
    put(&world, "tenants/acme/routes", json!({"name": "default", "models": ["c"]})).await;
    assert_eq!(stands_for(&world, "acme", "default").await, are(&["c"]));
    assert_eq!(stands_for(&world, "globex", "default").await, are(&["b", "a"]));

    let mut off = model("b");
    off["enabled"] = json!(false);
    put(&world, "models", off).await;
    assert_eq!(stands_for(&world, "globex", "default").await, are(&["a"]));
    assert_eq!(stands_for(&world, "globex", "b").await, problem(404, "model_unknown"));
    // What is left out of a description stays: it is still off.
    put(&world, "models", model("b")).await;
    assert_eq!(stands_for(&world, "globex", "default").await, are(&["a"]));

    let path = "tenants/acme/routes/default";
    assert_eq!(operate(&world, Method::DELETE, path, Value::Null).await.0, 201);
    assert_eq!(operate(&world, Method::DELETE, path, Value::Null).await.0, 404);
    assert_eq!(stands_for(&world, "acme", "default").await, are(&["a"]));
    assert_eq!(operate(&world, Method::DELETE, "routes/default", Value::Null).await.0, 204);
    assert_eq!(stands_for(&world, "acme", "default").await, are(&["gpt-4o-mini"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_allows_models_and_a_tenants_own_list_holds_instead() {
    let world = world().await;
    world.user("anna@acme.test").await;
    for id in ["a", "b"] {
        put(&world, "models", model(id)).await;
    }
    put(&world, "routes", json!({"name": "both", "models": ["a", "b"]})).await;
    put(&world, "plans/enterprise/models", json!({"models": ["b"]})).await;
    assert_eq!(stands_for(&world, "acme", "both").await, are(&["b"]));
    assert_eq!(stands_for(&world, "acme", "a").await, problem(422, "model_not_allowed"));
    assert_eq!(stands_for(&world, "acme", "default").await, problem(422, "model_not_allowed"));
    put(&world, "tenants/acme/models", json!({"models": ["a"]})).await;
    assert_eq!(stands_for(&world, "acme", "both").await, are(&["a"]));
    let (_, shown) = operate(&world, Method::GET, "tenants/acme/models", Value::Null).await;
    assert_eq!((&shown["allowed"], &shown["names"]), (&json!(["a"]), &json!(["both", "a"])));
    put(&world, "tenants/acme/models", json!({"models": null})).await;
    put(&world, "plans/enterprise/models", json!({"models": null})).await;
    assert_eq!(stands_for(&world, "acme", "both").await, are(&["a", "b"]));
}

/// A catalogue on the world's database whose `openai` is at this address.
fn catalogue(world: &World, url: &str, secret: &str) -> Catalogue {
    catalogue_on(world.db(), url, secret)
}

fn catalogue_on(db: Db, url: &str, secret: &str) -> Catalogue {
    let layers = BTreeMap::from([("OPENAI_BASE_URL".to_owned(), url.to_owned())]);
    let settings = Settings::load(Layers::new(layers), true).unwrap();
    let clients = Clients::new(ClientOptions::default()).unwrap();
    Catalogue::new(db, clients, settings.models, &Secret::new(secret))
}

/// A provider that answers with the key it was sent.
struct Echo {
    url: String,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                echo(listener.accept().await.unwrap().0).await;
            }
        });
        Self { url, _tasks: tasks }
    }
}

async fn echo(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).await.unwrap();
    }
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let length = header("content-length").unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    let key = header("authorization").unwrap_or_default();
    let message = json!({"content": format!("key: {key}")});
    let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]}).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let reply = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(reply.as_bytes()).await.unwrap();
}

/// Asks `a` for a tenant: what it says, or the code of the failure.
async fn says(catalogue: &Catalogue, tenant: &str) -> Result<String, String> {
    let tenant: TenantId = tenant.parse().unwrap();
    let route = catalogue.resolve(tenant, Some("a")).await.unwrap();
    let request = ChatRequest::new("", vec![ChatMessage::new(Role::User, "Well?")], 10);
    let mut begun = match Router::default().begin(&route, 0, request).await {
        Ok(begun) => begun,
        Err(exhausted) => return Err(exhausted.error.code().to_owned()),
    };
    match begun.events.next().await {
        Some(Ok(ChatEvent::Text(text))) => Ok(text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_key_is_sealed_used_for_it_alone_and_never_shown() {
    const KEY: &str = "sk-acme-canary-7391";
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    let eve = world.user("eve@globex.test").await;
    put(&world, "models", model("a")).await;
    let body = json!({"provider": "openai", "key": KEY});
    let (status, answer) =
        operate(&world, Method::PUT, "tenants/acme/provider-keys", body.clone()).await;
    assert_eq!((status, &answer["last_four"]), (201, &json!("7391")));
    let mut said = vec![answer];
    for path in ["tenants/acme/models", "tenants/acme/audit", "models", "log"] {
        said.push(operate(&world, Method::GET, path, Value::Null).await.1);
    }
    assert!(!json!(said).to_string().contains("canary"), "{said:?}");
    assert_eq!(said[1]["keys"][0]["last_four"], "7391");
    // As a backup has it: no stretch of the key is in the row.
    let row = "SELECT encode(sealed, 'escape') || provider_keys::text AS t FROM provider_keys";
    let row = world.database.texts(row).await.remove(0);
    assert!(
        KEY.as_bytes().windows(5).all(|part| !row.contains(std::str::from_utf8(part).unwrap()))
    );

    let echo = Echo::start().await;
    let ours = catalogue(&world, &echo.url, SECRET);
    assert_eq!(says(&ours, &anna.tenant_id).await, Ok(format!("key: Bearer {KEY}")));
    assert_eq!(says(&ours, &eve.tenant_id).await, Ok("key: ".to_owned()));
    // Put into another tenant's row it opens nothing, and the server's key does not step in.
    let moved = format!(
        "INSERT INTO provider_keys (tenant_id, provider, sealed, last_four)
         SELECT '{}', provider, sealed, last_four FROM provider_keys",
        eve.tenant_id
    );
    world.database.run(&moved).await;
    ours.changed();
    let misconfigured = Err("model_misconfigured".to_owned());
    assert_eq!(says(&ours, &eve.tenant_id).await, misconfigured);
    let elsewhere = catalogue(&world, &echo.url, "another secret that is long enough");
    assert_eq!(says(&elsewhere, &anna.tenant_id).await, misconfigured);

    let report = elsewhere.breakers();
    let of_acme = report.iter().find(|one| one.tenant == Some(anna.tenant_id.parse().unwrap()));
    let of_acme = of_acme.unwrap();
    assert_eq!(
        (of_acme.model.as_str(), of_acme.state),
        ("a", "open"),
        "somebody has to do something"
    );
    assert_eq!(of_acme.last.as_ref().unwrap().0, "model_misconfigured");

    let path = "tenants/acme/provider-keys/openai";
    assert_eq!(operate(&world, Method::DELETE, path, Value::Null).await.0, 201);
    ours.changed();
    assert_eq!(says(&ours, &anna.tenant_id).await, Ok("key: ".to_owned()));
    let actions = "SELECT action AS t FROM audit_log ORDER BY created_at";
    assert_eq!(world.database.texts(actions).await, ["provider key", "provider key removed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_does_to_all_is_noted_and_nonsense_is_explained() {
    let world = world().await;
    world.user("anna@acme.test").await;
    put(&world, "models", model("a")).await;
    put(&world, "routes", json!({"name": "one", "models": ["a"], "after_cut": "end"})).await;
    for (path, body) in [
        ("models", json!({"id": "x", "provider": "nobody", "context_window": 1, "max_output": 1})),
        (
            "models",
            json!({"id": "x y", "provider": "openai", "context_window": 1, "max_output": 1}),
        ),
        ("models", json!({"id": "x", "provider": "openai", "context_window": 0, "max_output": 1})),
        ("routes", json!({"name": "two", "models": ["nobody"]})),
        ("routes", json!({"name": "two", "models": []})),
        ("routes", json!({"name": "Two", "models": ["a"]})),
        ("routes", json!({"name": "two", "models": ["a"], "weights": [0]})),
        ("plans/enterprise/models", json!({"models": ["nobody"]})),
        ("tenants/acme/routes", json!({"name": "two", "models": ["nobody"]})),
        ("tenants/acme/provider-keys", json!({"provider": "nobody", "key": "sk-12345678"})),
        ("tenants/acme/provider-keys", json!({"provider": "openai", "key": "short"})),
        ("tenants/acme/provider-keys", json!({"provider": "openai", "key": "sk-with a-space"})),
    ] {
        let (status, problem) = operate(&world, Method::PUT, path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}: {problem}");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.ends_with('.')),
            "{problem}"
        );
    }
    for path in ["plans/nobody/models", "tenants/nobody/models"] {
        let allow = json!({"models": ["a"]});
        assert_eq!(operate(&world, Method::PUT, path, allow).await.0, 404, "{path}");
    }
    let (_, log) = operate(&world, Method::GET, "log", Value::Null).await;
    let entry =
        |n: usize| (log["data"][n]["action"].clone(), log["data"][n]["detail"]["name"].clone());
    assert_eq!(
        (entry(0), log["data"].as_array().unwrap().len()),
        ((json!("route"), json!("one")), 2)
    );
    let (_, catalogue) = operate(&world, Method::GET, "models", Value::Null).await;
    assert_eq!(catalogue["models"][0]["id"], "a");
    assert_eq!(catalogue["routes"][0]["after_cut"], "end");
    let providers: Vec<&str> = catalogue["providers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|provider| provider["name"].as_str().unwrap())
        .collect();
    assert_eq!(providers, ["anthropic", "demo", "gemini", "openai"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_the_last_connection_needs_no_other_one_to_find_a_model() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    let tenant: TenantId = anna.tenant_id.parse().unwrap();
    let acquire = std::time::Duration::from_secs(30);
    let options = DbOptions { url: world.database.url.clone(), max_connections: 1, acquire };
    let db = Db::open(&options, &Tasks::current());
    let catalogue = catalogue_on(db.clone(), &world.provider.url, SECRET);
    let mut tx = db.tenant(tenant).await.unwrap();
    let route = catalogue.resolve_in(&mut tx, tenant, Some("fast")).await.unwrap();
    assert_eq!(route.candidates[0].id, "gpt-4o-mini");
}
