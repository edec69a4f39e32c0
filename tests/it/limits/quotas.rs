//! Limits of a month: refused with the numbers, shortened where something is left, and visible.

use super::{Plan, ledger, reserved};
use crate::support::{Script, User, World};
use reqwest::Method;
use serde_json::{Value, json};

/// The refusal of one more question.
async fn refusal(anna: &User) -> Value {
    let body = json!({"text": "One more?"}).to_string();
    let refused = anna.request(Method::POST, "/v1/chat/stream").body(body).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(!refused.headers().contains_key("retry-after"), "next month is too far to wait for");
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "quota_exceeded", "{problem}");
    assert!(problem.get("retry_after_ms").is_none());
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_is_refused_with_its_numbers() {
    let world = Plan::monthly(&[("user", "requests", 2), ("tenant", "requests", 3)]).world().await;
    let anna = world.user("anna@acme.test").await;
    for question in ["One?", "Two?"] {
        assert_eq!(anna.ask(question).await.end(), "finish");
    }
    let problem = refusal(&anna).await;
    let (_, shown) = anna.get("/v1/quota").await;
    let resets_at = &shown["period"]["end"];
    assert_eq!(
        problem["quota"],
        json!({"scope": "user", "period": "month", "meter": "requests", "limit": 2, "used": 2, "reserved": 0,
            "resets_at": resets_at})
    );
    assert!(problem["detail"].as_str().unwrap().contains("your monthly quota of 2 requests"));
    let frame = anna.socket().await.ask("Over a socket?").await;
    assert_eq!(frame["problem"]["quota"], problem["quota"]);

    let ben = world.user("ben@acme.test").await;
    assert_eq!(ben.ask("One?").await.end(), "finish");
    let problem = refusal(&ben).await;
    assert_eq!(problem["quota"]["scope"], "tenant");
    assert!(problem["detail"].as_str().unwrap().contains("your organisation's"), "{problem}");
    assert_eq!(world.provider.calls(), 3, "refusals ask nobody");
    let turns = "SELECT (SELECT count(*) FROM turns) * 100 + (SELECT count(*) FROM messages) AS n";
    assert_eq!(world.database.number(turns).await, 306, "and leave nothing behind");
    assert_eq!(reserved(&world.database).await, 0);
    world.database.check_books().await;
}

/// A cost limit, where an answer's token costs a thousand nano-dollars and a prompt's nothing.
async fn costly(limit: i64) -> World {
    let world = Plan::monthly(&[("user", "cost_nano_usd", limit)]).world().await;
    let price = "INSERT INTO tenant_prices (tenant_id, version, model, valid_from, input, output)
        SELECT tenant_id, model || '@2026-01-01/own', model, '2026-01-01', 0, 1000000000
        FROM tenants, (SELECT DISTINCT model FROM prices) p";
    world.user("anna@acme.test").await;
    world.database.run(price).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_as_long_as_what_is_left() {
    let world = costly(150_999).await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::text(&["Fifty."], 10, 50));
    world.provider.next(Script::text(&["Thirty."], 10, 30));
    for expected in [150, 100] {
        anna.ask("Go on?").await;
        let asked = world.provider.requests().pop().unwrap();
        let limit = asked.get("max_tokens").or(asked.get("max_completion_tokens"));
        assert_eq!(limit, Some(&json!(expected)), "{asked}");
    }
    world.provider.next(Script::text(&["Ten."], 10, 10));
    anna.ask("Go on?").await;
    let problem = refusal(&anna).await; // 60 are left: too few for an answer worth having
    assert_eq!(problem["quota"]["meter"], "cost_nano_usd");
    assert_eq!(problem["quota"]["used"], 90_000);
    assert!(problem["detail"].as_str().unwrap().contains("0.000150999 US dollars"), "{problem}");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_cannot_be_afforded_is_not_sent() {
    let world = Plan::monthly(&[("tenant", "tokens", 1000)]).world().await;
    let anna = world.user("anna@acme.test").await;
    let problem = refusal(&anna).await;
    assert_eq!(problem["quota"]["meter"], "tokens");
    assert_eq!((world.provider.calls(), ledger(&world.database).await.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_turn_holds_what_it_may_use_and_gives_back_the_rest() {
    let world = costly(5_000_000).await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(5, 2));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    stream.until_text("w1").await;
    let held = quota(&anna, "user", "cost_nano_usd").await;
    assert_eq!((&held["used"], &held["reserved"]), (&json!(0), &json!(1_024_004)));
    assert_eq!(quota(&anna, "tenant", "requests").await["reserved"], 1);
    world.provider.release();
    stream.rest().await;
    let after = quota(&anna, "user", "cost_nano_usd").await;
    assert_eq!((&after["used"], &after["reserved"]), (&json!(5000), &json!(0)));
    assert_eq!(after["limit"], 5_000_000);
    assert_eq!(quota(&anna, "tenant", "cost_nano_usd").await["limit"], Value::Null);
}

/// One meter of this month.
async fn quota(anna: &User, scope: &str, meter: &str) -> Value {
    let (status, quotas) = anna.get("/v1/quota").await;
    assert_eq!(status, 200);
    let rows = quotas["data"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["scope"] == scope && row["meter"] == meter && row["period"] == "month");
    row.unwrap_or_else(|| panic!("{scope} {meter} in {quotas}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_and_quota_say_what_the_ledger_says() {
    let world = World::start().await;
    let (anna, ben) = (world.user("anna@acme.test").await, world.user("ben@acme.test").await);
    anna.has_document("notice.md", b"# Notice\n\nNinety days.").await;
    world.provider.next(Script::text(&["Ninety."], 200, 3));
    anna.ask("How long is the notice?").await;
    world.provider.next(Script::text(&["Ninety, too."], 300, 4));
    ben.ask("How long is the notice?").await;
    world.user("eve@globex.test").await.ask("What did others use?").await;

    let (status, hers) = anna.get("/v1/usage").await;
    assert_eq!((status, &hers["scope"]), (200, &json!("user")));
    let totals = hers["period"]["totals"].as_object().unwrap();
    assert_eq!(
        (&totals["requests"], &totals["input_tokens"], &totals["output_tokens"], &totals["pages"]),
        (&json!(1), &json!(200), &json!(3), &json!(1))
    );
    assert_eq!(hers["period"]["cost_nano_usd"], 200 * 150 + 3 * 600);
    for of in [&hers["today"], &hers["last_7d"], &hers["daily"][0]] {
        assert_eq!(of["totals"], hers["period"]["totals"]);
    }

    world.database.run("UPDATE users SET role = 'owner' WHERE email = 'anna@acme.test'").await;
    let anna = world.user("anna@acme.test").await;
    let (_, whole) = anna.get("/v1/usage?scope=tenant").await;
    for (scope, view) in [("user", &hers), ("tenant", &whole)] {
        for (meter, total) in view["period"]["totals"].as_object().unwrap() {
            let of =
                if scope == "user" { format!("user_id = '{}'", anna.id) } else { "true".into() };
            let sum = format!(
                "SELECT sum(quantity)::bigint AS n FROM usage_ledger
                 WHERE tenant_id = '{}' AND meter = '{meter}' AND {of}",
                anna.tenant_id
            );
            assert_eq!(*total, world.database.number(&sum).await, "{scope} {meter}");
        }
    }
    assert_eq!(whole["period"]["totals"]["input_tokens"], 500);
    for (scope, requests, tokens) in [("user", 1, 203), ("tenant", 2, 507)] {
        assert_eq!(quota(&anna, scope, "requests").await["used"], requests, "{scope}");
        assert_eq!(quota(&anna, scope, "tokens").await["used"], tokens, "{scope}");
    }
    assert_eq!(quota(&anna, "tenant", "pages").await["used"], 1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_see_their_own_usage_only() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (status, problem) = anna.get("/v1/usage?scope=tenant").await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    assert_eq!(anna.get("/v1/usage?scope=user").await.0, 200);
    assert_eq!(anna.get("/v1/usage?scope=world").await.0, 400);
    for role in ["owner", "admin", "billing"] {
        let promote = format!("UPDATE users SET role = '{role}' WHERE email = 'anna@acme.test'");
        world.database.run(&promote).await;
        let (status, usage) = world.user("anna@acme.test").await.get("/v1/usage").await;
        assert_eq!((status, &usage["scope"]), (200, &json!("tenant")), "{role}");
    }
}
