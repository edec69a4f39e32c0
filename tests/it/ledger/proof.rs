//! A whole server's books: what people used, sealed while they used it, checked at the end.

use super::{ALL_SEALED, verify};
use crate::support::{Script, World, WorldOptions};
use docent::metering::{Correction, correct, verify_on};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_books_of_a_server_are_right_and_stay_right() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let eve = world.user("eve@globex.test").await;
    anna.has_document("a.md", b"# Counting\n\nOne counts from zero.").await;
    for user in [&anna, &eve, &anna] {
        let answer = user.ask("How does one count?").await;
        assert_eq!(answer.end(), "finish");
        // What is given back are rows, too.
        let tenant = user.tenant_id.parse().unwrap();
        let mut tx = world.db().tenant(tenant).await.unwrap();
        let refund = Correction::Refund { turn: answer.turn.parse().unwrap() };
        for correction in [refund, Correction::Credit { nano_usd: 5 }] {
            let given = correct(&mut tx, tenant, None, uuid::Uuid::now_v7(), correction);
            assert!(given.await.unwrap() > 0);
        }
        tx.commit().await.unwrap();
    }
    world.database.until(ALL_SEALED).await;
    let (code, out) = verify(&world.database, &[]).await;
    assert_eq!(code, Some(0), "{out}");
    let rows = world.database.number("SELECT count(*) AS n FROM usage_ledger").await;
    assert_eq!(out.trim(), format!("{rows} rows of 2 tenants verified"));

    // The summary by day is the ledger, added up.
    let sums = |table: &str| {
        format!("SELECT concat_ws(' ', tenant_id, meter, sum(quantity), sum(cost_nano_usd)) AS t FROM {table}
                 GROUP BY tenant_id, meter HAVING sum(quantity) <> 0 ORDER BY 1")
    };
    let ledger = sums(
        "(SELECT tenant_id, meter, quantity, coalesce(cost_nano_usd, 0) AS cost_nano_usd FROM usage_ledger) l",
    );
    assert_eq!(
        world.database.texts(&sums("usage_daily")).await,
        world.database.texts(&ledger).await
    );

    // The regular check reads on where it ended, and what is wrong again and again.
    let db = world.db();
    let report = verify_on(&db, 0.0).await.unwrap().unwrap();
    assert_eq!((report.found, i64::try_from(report.rows).unwrap() <= rows), (0, true));
    assert_eq!(verify_on(&db, 0.0).await.unwrap().unwrap().rows, 0);
    assert!(verify_on(&db, 3600.0).await.unwrap().is_none(), "it was not an hour ago");
    world.provider.next(Script::text(&["Forty-two."], 12, 3));
    anna.ask("Again?").await;
    world.database.until(ALL_SEALED).await;
    world.database.run("UPDATE usage_ledger SET user_id = NULL WHERE quantity = 12").await;
    for _ in 0..2 {
        let report = verify_on(&db, 0.0).await.unwrap().unwrap();
        assert!(report.differences.iter().any(|line| line.contains("another hash")), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_that_nobody_settles_is_named() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(5, 1));
    let stream = anna.stream(json!({"text": "Wait for me."})).await;
    world.provider.until_waiting(1).await;
    assert_eq!(verify(&world.database, &[]).await.0, Some(0), "it runs");
    world.database.run("UPDATE reservations SET expires_at = now() - interval '2 minutes'").await;
    let (code, out) = verify(&world.database, &[]).await;
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains(&format!("the reservation of turn {} ", stream.turn())), "{out}");
    assert_eq!(anna.stop(&stream.turn()).await, 202);
    stream.answer().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_being_used_up_is_warned_of_once() {
    let world = World::with(WorldOptions { plan: "pro", ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    world
        .database
        .run("UPDATE plan_quotas SET max_amount = 5 WHERE plan = 'pro' AND scope = 'user' AND meter = 'requests'")
        .await;
    let given = "SELECT concat_ws(' ', scope, period, meter, percent) AS t FROM quota_alerts ORDER BY percent";
    let warned = |n: i64| {
        format!(
            "SELECT (count(*) = {n} AND NOT EXISTS (SELECT FROM ledger_batches))::int::bigint AS n FROM quota_alerts"
        )
    };
    for _ in 0..3 {
        anna.ask("Hello?").await;
    }
    world.database.until(&warned(0)).await;
    anna.ask("Hello?").await;
    world.database.until(&warned(1)).await;
    assert_eq!(world.database.texts(given).await, ["user month requests 80"]);
    anna.ask("Hello?").await;
    world.database.until(&warned(2)).await;
    assert_eq!(world.database.texts(given).await[1], "user month requests 100");
    assert!(anna.metrics().await.contains("docent_quota_warnings_total{percent=\"80\"}"));
}
