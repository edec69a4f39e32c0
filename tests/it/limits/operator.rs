//! What the operator does to a tenant: limits of its own, more of something, another plan, corrections;
//! each is recorded, and holds from the next turn on.

use super::Plan;
use crate::support::{Script, User, World, WorldOptions};
use reqwest::Method;
use serde_json::{Value, json};

const TOKEN: &str = "the-operators-own-token";

async fn world() -> World {
    let settings = vec![("OPERATOR_TOKEN", TOKEN.to_owned())];
    let options = WorldOptions { plan: "tiny", settings, ..WorldOptions::default() };
    Plan::monthly(&[("user", "requests", 1)]).world_with(options).await
}

/// As the operator; the answer is not a refusal of the token.
async fn operate(world: &World, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/v1/operator/tenants/{path}", world.base);
    let request = world.http.request(method, url).bearer_auth(TOKEN);
    let request = request.header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn asks(user: &User) -> u16 {
    user.post("/v1/chat/send", json!({"text": "May I?"})).await.0
}

fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_from_the_next_turn_on() {
    let world = world().await;
    let (anna, ben) = (world.user("anna@acme.test").await, world.user("ben@acme.test").await);
    assert_eq!((asks(&anna).await, asks(&anna).await), (200, 429));

    // One more for this month, once however often it is sent.
    let more = json!({"id": id(), "user_id": anna.id, "period": "month", "meter": "requests",
        "amount": 1, "reason": "a slip of ours"});
    let first = operate(&world, Method::POST, "acme/top-ups", more.clone()).await;
    let again = operate(&world, Method::POST, "acme/top-ups", more).await;
    assert_eq!((first.0, again.0, &again.1["changed"]), (201, 200, &json!(false)));
    assert_eq!((asks(&anna).await, asks(&anna).await), (200, 429));

    // Limits of her own: three, then none, then the plan's again.
    let limit = |limit: Value, clear: bool| json!({"user_id": anna.id, "period": "month", "meter": "requests", "limit": limit, "clear": clear});
    operate(&world, Method::PUT, "acme/limits", limit(json!(2), false)).await;
    assert_eq!((asks(&anna).await, asks(&anna).await), (200, 429), "two, and one on top");
    operate(&world, Method::PUT, "acme/limits", limit(Value::Null, false)).await;
    assert_eq!(asks(&anna).await, 200);
    operate(&world, Method::PUT, "acme/limits", limit(Value::Null, true)).await;
    assert_eq!(asks(&anna).await, 429);

    // The tenant on another plan, which has no limits.
    assert_eq!((asks(&ben).await, asks(&ben).await), (200, 429));
    let (status, _) = operate(&world, Method::PATCH, "acme", json!({"plan": "enterprise"})).await;
    assert_eq!((status, asks(&ben).await, asks(&anna).await), (201, 200, 200));

    // The plan itself, by SQL.
    operate(&world, Method::PATCH, "acme", json!({"plan": "tiny"})).await;
    assert_eq!(asks(&ben).await, 429);
    world.database.run("UPDATE plan_quotas SET hard = false").await;
    assert_eq!(asks(&ben).await, 200, "a soft limit admits");
    let (_, quota) = ben.get("/v1/quota").await;
    let row = &quota["data"][0];
    assert_eq!((&row["meter"], &row["hard"]), (&json!("requests"), &json!(false)));
    assert!(row["used"].as_i64() > row["limit"].as_i64(), "{row}");

    let (_, audit) = operate(&world, Method::GET, "acme/audit", Value::Null).await;
    let actions: Vec<&str> =
        audit["data"].as_array().unwrap().iter().map(|a| a["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["tenant", "tenant", "limit", "limit", "limit", "top-up"]);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_are_rows_of_their_own() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::text(&["Forty-two."], 1000, 10));
    let answer = anna.ask("What is it?").await;
    let cost = answer.usage()["cost_nano_usd"].as_i64().unwrap();
    let billed = "SELECT coalesce(sum(cost_nano_usd), 0)::bigint AS n FROM usage_ledger";
    assert_eq!(world.database.number(billed).await, cost);

    let refund =
        json!({"id": id(), "kind": "refund", "turn_id": answer.turn, "reason": "wrong answer"});
    let (status, made) = operate(&world, Method::POST, "acme/corrections", refund.clone()).await;
    assert_eq!((status, &made["changed"]), (201, &json!(true)), "{made}");
    assert_eq!(world.database.number(billed).await, 0);
    let again =
        json!({"id": id(), "kind": "refund", "turn_id": answer.turn, "reason": "once more"});
    for twice in [refund, again] {
        let (status, made) = operate(&world, Method::POST, "acme/corrections", twice).await;
        assert_eq!((status, &made["entries"]), (200, &json!(0)), "a turn is refunded once");
    }
    assert_eq!(asks(&anna).await, 200, "what is given back can be used again");

    let credit = json!({"id": id(), "kind": "credit", "cost_nano_usd": 500, "reason": "sorry"});
    assert_eq!(operate(&world, Method::POST, "acme/corrections", credit).await.0, 201);
    let kinds = "SELECT kind || ' ' || meter || ' ' || cost_nano_usd AS t FROM usage_ledger
        WHERE kind = 'credit'";
    assert_eq!(world.database.texts(kinds).await, ["credit correction -500"]);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_explained_and_strangers_stay_out() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    let turn = id();
    for (path, body, code) in [
        (
            "acme/corrections",
            json!({"id": id(), "kind": "credit", "cost_nano_usd": -5, "reason": "x"}),
            400,
        ),
        (
            "acme/corrections",
            json!({"id": id(), "kind": "refund", "turn_id": turn, "reason": "x"}),
            404,
        ),
        (
            "acme/corrections",
            json!({"id": id(), "kind": "credit", "cost_nano_usd": 5, "reason": " "}),
            400,
        ),
        (
            "nobody/corrections",
            json!({"id": id(), "kind": "credit", "cost_nano_usd": 5, "reason": "x"}),
            404,
        ),
        (
            "acme/top-ups",
            json!({"id": id(), "period": "month", "meter": "miles", "amount": 5, "reason": "x"}),
            400,
        ),
        (
            "acme/top-ups",
            json!({"id": uuid::Uuid::nil(), "period": "day", "meter": "tokens", "amount": 5, "reason": "x"}),
            400,
        ),
    ] {
        let (status, problem) = operate(&world, Method::POST, path, body.clone()).await;
        assert_eq!(status, code, "{path} {body}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    }
    let (status, problem) =
        operate(&world, Method::PATCH, "acme", json!({"time_zone": "Mars/Olympus"})).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_request")));
    world.database.run("UPDATE users SET role = 'owner'").await;
    let owner = world.user("anna@acme.test").await;
    let own = format!("/v1/operator/tenants/{}/audit", anna.tenant);
    assert_eq!(owner.get(&own).await.0, 401, "an owner is not the operator");
    assert_eq!(world.database.number("SELECT count(*) AS n FROM audit_log").await, 0);
}
