//! What is left of the rate limits is said with every answer to whoever is logged in.

use super::Plan;
use crate::support::{Socket, User, World};
use docent::api;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::json;
use std::collections::BTreeMap;

/// A structured list of strings with parameters, by string: what a client of the draft reads.
fn list(headers: &HeaderMap, name: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let value = headers.get(name).map_or("", |value| value.to_str().unwrap());
    let item = |item: &str| {
        let (policy, parameters) = item.split_once(';').expect("an item has parameters");
        let policy = policy.strip_prefix('"').and_then(|policy| policy.strip_suffix('"'));
        let pairs = parameters.split(';').map(|pair| pair.split_once('=').expect("key=value"));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        (policy.expect("a string").to_owned(), pairs.collect())
    };
    value.split(", ").filter(|value| !value.is_empty()).map(item).collect()
}

/// What remains of a policy, and in how many seconds there is more.
fn left(headers: &HeaderMap, policy: &str) -> (u64, u64) {
    let items = list(headers, "ratelimit");
    let number = |key: &str| items[policy][key].parse().expect("a whole number");
    (number("r"), number("t"))
}

/// Both headers, complete.
fn are_told(headers: &HeaderMap, what: &str) {
    let (policies, limits) = (list(headers, "ratelimit-policy"), list(headers, "ratelimit"));
    assert_eq!(policies.len(), 4, "{what}: {headers:?}");
    assert!(policies.keys().eq(limits.keys()), "{what}: {headers:?}");
    for (policy, parameters) in &policies {
        assert_eq!(parameters["w"], "60", "{what}");
        let most: u64 = parameters["q"].parse().expect("a whole number");
        let (remaining, _) = left(headers, policy);
        assert!(remaining <= most, "{what}: {policy}");
        assert_eq!(parameters.contains_key("docent-unit"), policy.ends_with("-tokens"), "{what}");
    }
}

fn are_not_told(headers: &HeaderMap, what: &str) {
    let none = !headers.contains_key("ratelimit") && !headers.contains_key("ratelimit-policy");
    assert!(none, "{what}: {headers:?}");
}

async fn send(user: &User, method: &str, path: &str) -> Response {
    let method = method.to_uppercase().parse().unwrap();
    user.request(method, path).body("{}").send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_that_needs_a_login_tells_what_is_left() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut closed = 0;
    for (method, path) in api::table() {
        let open = api::PUBLIC.contains(&(method.as_str(), path.as_str()));
        let open = open || path.starts_with("/v1/operator/"); // no rates hold for the operator
        for id in [uuid::Uuid::now_v7().to_string(), "no-id".into()] {
            let asked = path.replace("{id}", &id).replace("{page}", "1");
            let what = format!("{method} {asked}");
            let answer = send(&anna, &method, &asked).await;
            if open {
                are_not_told(answer.headers(), &what);
            } else {
                closed += 1;
                are_told(answer.headers(), &what);
                assert_eq!(left(answer.headers(), "user-requests").1, 0, "{what} is not limited");
            }
        }
    }
    assert!(closed >= 40, "{closed}");
    let mismatch = anna.request(Method::GET, "/v1/me").header("X-Tenant-ID", "globex");
    let mismatch = mismatch.send().await.unwrap();
    assert_eq!(mismatch.status(), 403);
    are_told(mismatch.headers(), "a wrong tenant");
    let forged = User { token: "forged".into(), ..anna };
    let stranger = send(&forged, "get", "/v1/me").await;
    assert_eq!(stranger.status(), 401);
    are_not_told(stranger.headers(), "nobody known");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_counted_and_looking_is_not() {
    let world = Plan::rates(120, 2).world().await;
    let anna = world.user("anna@acme.test").await;
    let stream = anna.stream(json!({"text": "One?"})).await;
    let policy = "\"user-requests\";q=2;w=60, \"tenant-requests\";q=120;w=60, \
                  \"user-tokens\";q=10000000;w=60;docent-unit=tokens, \
                  \"tenant-tokens\";q=10000000;w=60;docent-unit=tokens";
    assert_eq!(stream.header("ratelimit-policy"), policy);
    let (remaining, more_in) = left(&stream.headers, "user-requests");
    assert_eq!(remaining, 1);
    assert!((1..=30).contains(&more_in), "one comes every 30 s: {more_in}");
    let (turn, conversation) = (stream.turn(), stream.conversation());
    stream.answer().await;
    let paths = [
        format!("/v1/turns/{turn}/stream"),
        format!("/v1/conversations/{conversation}/messages"),
        "/v1/quota".into(),
    ];
    for path in paths {
        let answer = send(&anna, "get", &path).await;
        assert_eq!(answer.status(), 200);
        are_told(answer.headers(), &path);
        assert_eq!(left(answer.headers(), "user-requests").0, 1, "{path} is free");
    }
    let body = json!({"text": "Two?"}).to_string();
    let sent = anna.request(Method::POST, "/v1/chat/send").body(body).send().await.unwrap();
    assert_eq!(left(sent.headers(), "user-requests").0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_them_too_and_costs_nothing() {
    let world = Plan::rates(10_000, 1).world().await;
    let anna = world.user("anna@acme.test").await;
    anna.ask("One?").await;
    for path in ["/v1/chat/stream", "/v1/chat/send"] {
        let body = json!({"text": "Two?"}).to_string();
        let refused = anna.request(Method::POST, path).body(body).send().await.unwrap();
        assert_eq!(refused.status(), 429);
        let headers = refused.headers();
        are_told(headers, path);
        let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
        let (remaining, more_in) = left(headers, "user-requests");
        assert_eq!(remaining, 0);
        assert!(more_in > 0 && wait >= more_in, "{path}: not before {more_in} s, but {wait}");
        assert!(left(headers, "tenant-requests").0 >= 9_999, "the tenant is not charged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_opened_with_a_ticket_is_told() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let offer = anna.offer().await;
    let known = Socket::handshake(&world.base, Some(&offer)).await;
    are_told(&known, "a ticket");
    are_not_told(&Socket::handshake(&world.base, None).await, "nobody known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_told_as_it_is_remembered() {
    let world = Plan::rates(10_000, 10).world().await;
    let anna = world.user("anna@acme.test").await;
    let told = async || {
        let answer = send(&anna, "get", "/v1/me").await;
        list(answer.headers(), "ratelimit-policy")["user-requests"]["q"].clone()
    };
    assert_eq!(told().await, "10");
    world.database.run("UPDATE plans SET user_requests_per_minute = 20 WHERE name = 'tiny'").await;
    assert_eq!(told().await, "10", "to tell it is not worth a query");
}
