//! Two nodes: what a provider says of a key is heard by both, what one of them suffers is its own.

use super::{Fault, model, provider};
use crate::support::{Database, Provider, Redis, User, World, WorldOptions, within};
use docent::llm::router::load_models;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const TOKEN: &str = "the-operators-own-token";

async fn operate(world: &World, method: Method, path: &str, body: Value) -> Value {
    let url = format!("{}/v1/operator/{path}", world.base);
    let request = world.http.request(method, url).bearer_auth(TOKEN);
    let request = request.header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{path}: {}", response.status());
    serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default()
}

/// The breakers of a node that are not closed: model and code of the last error.
async fn open(world: &World) -> Vec<(String, String)> {
    let catalogue = operate(world, Method::GET, "models", Value::Null).await;
    let all = catalogue["breakers"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.filter(|one| one["state"] == "open")
        .map(|one| (text(&one["model"]), text(&one["last_error"]["code"])))
        .collect()
}

/// What a question is answered at this node by these models.
async fn ask(world: &World, who: &User, models: &[&str]) -> String {
    let route = json!({"name": "default", "models": models});
    operate(world, Method::PUT, "routes", route).await;
    who.ask("Well?").await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_of_a_key_is_heard_by_all_nodes() {
    let redis = Redis::start().await;
    let (database, well) = (Database::fresh().await, Provider::start().await);
    let faults = Fault::early();
    let fault = |name: &str| faults.iter().find(|fault| fault.name == name).unwrap();
    let (limited, reset) = (fault("429-seconds"), fault("reset"));
    let (busy, broken) = (Provider::start().await, Provider::start().await);
    busy.always(limited.script.clone().unwrap());
    broken.always(reset.script.clone().unwrap());
    let settings = vec![("OPERATOR_TOKEN", TOKEN.into()), ("REDIS_URL", redis.url.clone())];
    let options = WorldOptions { settings, ..WorldOptions::default() };
    let first = World::on(database.clone(), well.clone(), options.clone()).await;
    let second = World::on(database.clone(), well.clone(), options).await;
    let list = [
        provider("well", &well.url) + &model("well", "well", ""),
        provider("busy", &busy.url) + &model("busy", "busy", ""),
        provider("broken", &broken.url) + &model("broken", "broken", ""),
    ];
    load_models(&first.db(), &list.concat()).await.unwrap();
    let anna = first.user("anna@acme.test").await;

    for _ in 0..5 {
        ask(&first, &anna, &["broken", "well"]).await;
    }
    ask(&first, &anna, &["busy", "well"]).await;
    let known = |model: &str, code: &str| (model.to_owned(), code.to_owned());
    let limited = known("busy", "model_busy");
    assert_eq!(open(&first).await, [known("broken", "model_cut_off"), limited.clone()]);
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let heard = async {
        while open(&second).await.is_empty() {
            look.tick().await;
        }
    };
    within("the other node's word", heard).await;
    // What was told before that was told in order: nothing of the one that broke off.
    assert_eq!(open(&second).await, [limited]);
    ask(&second, &second.back(&anna), &["busy", "well"]).await;
    assert_eq!((busy.calls(), broken.calls()), (1, 5), "the second node did not have to ask");
}
