//! The description of the API describes the API.

use crate::support::World;
use docent::api;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use tokio::process::Command;

/// Routes that need no description: the page, and the description itself.
const UNDESCRIBED: &[&str] =
    &["/", "/static/{file:.*}", "/favicon.ico", "/openapi.json", "/asyncapi.json"];

async fn problem(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_described_route_is_there() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for (method, path) in api::table() {
        let method: Method = method.to_uppercase().parse().unwrap();
        let id = uuid::Uuid::now_v7().to_string();
        let asked = path.replace("{id}", &id).replace("{approval}", &id).replace("{page}", "1");
        let asked = asked.replace("{tenant}", "acme");
        let response = anna.request(method.clone(), &asked).body("{}").send().await.unwrap();
        let (status, body) = problem(response).await;
        let detail = body["detail"].as_str().unwrap_or_default();
        let nothing = detail.contains("nothing at this address") || status == 405;
        assert!(!nothing && status < 500, "{method} {path}: {status} {body}");
    }
    let (status, body) = anna.get("/v1/no-such-thing").await;
    assert_eq!((status, &body["code"]), (404, &"not_found".into()));
    assert!(body["detail"].as_str().unwrap().contains("nothing at this address"), "{body}");
}

/// `method path` of each handler's attribute in the source.
fn handlers(folder: &std::path::Path, found: &mut BTreeSet<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            handlers(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for method in ["get", "post", "put", "patch", "delete"] {
            for after in text.split(&format!("\n#[{method}(\"")).skip(1) {
                found.insert((method.to_owned(), after.split('"').next().unwrap().to_owned()));
            }
        }
    }
}

#[test]
fn every_handler_is_described() {
    let mut found = BTreeSet::new();
    handlers(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/api")), &mut found);
    found.retain(|(_, path)| !UNDESCRIBED.contains(&path.as_str()));
    assert_eq!(found, api::table().into_iter().collect::<BTreeSet<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_and_the_command_describe_the_same() {
    let world = World::start().await;
    let url = format!("{}/openapi.json", world.base);
    let (status, served) = problem(world.http.get(url).send().await.unwrap()).await;
    assert_eq!((status, &served["openapi"].as_str().unwrap()[..2]), (200, "3."));
    let printed = Command::new(env!("CARGO_BIN_EXE_docent")).arg("openapi").output().await.unwrap();
    assert!(printed.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), served);
    let docs = world.http.get(format!("{}/docs/", world.base)).send().await.unwrap();
    assert_eq!(docs.status(), 200);
}

#[test]
fn whatever_needs_a_login_says_so() {
    let document = serde_json::to_value(api::document()).unwrap();
    for (method, path) in api::table() {
        let route = &document["paths"][&path][&method];
        let open = api::PUBLIC.contains(&(method.as_str(), path.as_str()));
        assert_eq!(route["security"].is_null(), open, "{method} {path}");
        let summary = route["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty(), "{method} {path} says what it does");
    }
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_is_told_the_right_ones() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let id = uuid::Uuid::now_v7();
    for (method, path, allow) in [
        (Method::PUT, "/v1/files".to_owned(), vec!["GET", "POST"]),
        (Method::POST, format!("/v1/conversations/{id}"), vec!["DELETE", "GET", "PATCH"]),
        (Method::GET, "/v1/chat/send".to_owned(), vec!["POST"]),
    ] {
        let response = anna.request(method, &path).send().await.unwrap();
        let header = response.headers()["allow"].to_str().unwrap().to_owned();
        let mut allowed: Vec<&str> = header.split(", ").collect();
        allowed.sort_unstable();
        assert_eq!(allowed, allow, "{path}");
        let (status, body) = problem(response).await;
        assert_eq!((status, &body["code"]), (405, &"method_not_allowed".into()));
    }
}
