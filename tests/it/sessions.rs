//! Being in: tokens that rotate, a tenant header that may only agree, and roles.

use crate::support::{User, World};
use reqwest::Method;
use serde_json::{Value, json};

/// Trades a refresh token; returns the status and what came.
async fn refresh(anna: &User, token: &str) -> (u16, Value) {
    anna.post("/v1/auth/refresh", json!({"refresh_token": token})).await
}

fn refresh_token(session: &Value) -> &str {
    session["refresh_token"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_used_twice_ends_the_login_and_no_other() {
    let world = World::start().await;
    let laptop = world.user("anna@acme.test").await;
    let phone = world.user("anna@acme.test").await;
    let (status, me) = laptop.get("/v1/me").await;
    assert_eq!((status, &me["user"]["email"]), (200, &json!("anna@acme.test")));

    let (status, second) = refresh(&laptop, &laptop.refresh_token).await;
    assert_eq!(status, 200);
    let renewed = User { token: second["access_token"].as_str().unwrap().into(), ..laptop.clone() };
    assert_eq!(renewed.get("/v1/me").await.0, 200);
    let (status, third) = refresh(&laptop, refresh_token(&second)).await;
    assert_eq!(status, 200, "each token gives the next");

    let (status, problem) = refresh(&laptop, &laptop.refresh_token).await;
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")), "somebody stole it");
    assert_eq!(refresh(&laptop, refresh_token(&third)).await.0, 401, "so the newest is dead, too");
    assert_eq!(refresh(&phone, &phone.refresh_token).await.0, 200, "the phone was not robbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_refreshes_at_once_one_wins_at_most() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let both = futures_util::future::join_all((0..4).map(|_| refresh(&anna, &anna.refresh_token)));
    let both = both.await;
    let won: Vec<&Value> = both.iter().filter(|(s, _)| *s == 200).map(|(_, body)| body).collect();
    assert_eq!(won.len(), 1, "{both:?}");
    assert_eq!(refresh(&anna, refresh_token(won[0])).await.0, 401, "two parties held it");
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_the_login() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (_, session) = refresh(&anna, &anna.refresh_token).await;
    let newest = json!({"refresh_token": refresh_token(&session)});
    assert_eq!(anna.post("/v1/auth/logout", newest.clone()).await.0, 204);
    assert_eq!(refresh(&anna, refresh_token(&session)).await.0, 401);
    assert_eq!(anna.post("/v1/auth/logout", newest).await.0, 204, "twice is no error");
    let nonsense = json!({"refresh_token": "nonsense"});
    assert_eq!(anna.post("/v1/auth/logout", nonsense.clone()).await.0, 204);
    assert_eq!(anna.post("/v1/auth/refresh", nonsense).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_refresh_token_is_dead() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.database.run("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'").await;
    assert_eq!(refresh(&anna, &anna.refresh_token).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_no_access_token_and_no_ticket() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let swapped = User { token: anna.refresh_token.clone(), ..anna.clone() };
    assert_eq!(swapped.get("/v1/me").await.0, 401);
    assert_eq!(refresh(&anna, &anna.token).await.0, 401);
    let (_, ticket) = anna.post("/v1/ws-tickets", json!({})).await;
    assert_eq!(refresh(&anna, ticket["ticket"].as_str().unwrap()).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_header_may_agree_with_the_token_and_nothing_else() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let ben = world.user("ben@globex.test").await;
    for own in [&anna.tenant, &anna.tenant_id] {
        let request = anna.request(Method::GET, "/v1/me").header("X-Tenant-ID", own);
        assert_eq!(request.send().await.unwrap().status(), 200, "{own}");
    }
    for other in [ben.tenant.as_str(), &ben.tenant_id, "no-such", &ben.id] {
        for path in ["/v1/me", "/v1/files", "/v1/conversations", "/v1/usage"] {
            let request = anna.request(Method::GET, path).header("X-Tenant-ID", other);
            let refused = request.send().await.unwrap();
            assert_eq!(refused.status(), 403, "{path} as {other}");
            let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
            assert_eq!(problem["code"], "tenant_mismatch");
        }
    }
    assert_eq!(anna.get("/v1/me").await.0, 200, "it may be left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn billing_reads_the_bill_and_neither_asks_nor_uploads() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    anna.ask("What is six times seven?").await;
    world.user("bill@acme.test").await;
    world.database.run("UPDATE users SET role = 'billing' WHERE email = 'bill@acme.test'").await;
    let bill = world.user("bill@acme.test").await;
    for path in ["/v1/chat/stream", "/v1/chat/send"] {
        let (status, problem) = bill.post(path, json!({"text": "Hello?"})).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{path}");
    }
    let (status, problem) = bill.upload("a.txt", b"Not mine to give.").await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    let refused = bill.socket().await.ask("Hello?").await;
    assert_eq!(refused["problem"]["code"], "forbidden", "{refused}");
    assert_eq!(world.provider.calls(), 1, "nobody was asked");
    let (status, usage) = bill.get("/v1/usage?scope=tenant").await;
    assert_eq!((status, &usage["period"]["totals"]["requests"]), (200, &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_was_removed_is_out() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.database.run("DELETE FROM users WHERE email = 'anna@acme.test'").await;
    assert_eq!(anna.get("/v1/me").await.0, 401);
    assert_eq!(refresh(&anna, &anna.refresh_token).await.0, 401);
}
