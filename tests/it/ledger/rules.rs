//! The rules of the books find what they are for: every way to damage books is seen by the rule that
//! forbids it, and by no other.

use super::ALL_SEALED;
use crate::isolation::fingerprint;
use crate::support::books::{self, Auditor, RULES};
use crate::support::{Provider, Script, User, World};
use diesel_async::SimpleAsyncConnection;
use serde_json::json;
use std::collections::BTreeSet;

/// The books of a server on which people of two tenants asked, stopped, uploaded, and of which one
/// turn runs. Their server goes on: what runs has its node.
async fn used() -> (World, String) {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let eve = world.user("eve@bolt.test").await;
    anna.has_document("a.md", b"# Counting\n\nOne counts from zero.").await;
    for (n, user) in [&anna, &eve, &anna].into_iter().enumerate() {
        assert_eq!(user.ask(&format!("How does one count {n}?")).await.end(), "finish");
    }
    stopped(&world.provider, &anna).await;
    world.provider.next(Script::held(4, 2));
    let running = anna.stream(json!({"text": "And now?"})).await;
    world.provider.until_waiting(1).await;
    world.database.until(ALL_SEALED).await;
    world.database.check_books().await;
    (world, running.turn())
}

async fn stopped(provider: &Provider, user: &User) {
    provider.next(Script::held(40, 20));
    let mut stream = user.stream(json!({"text": "Count."})).await;
    stream.until_text("w19").await;
    assert_eq!(user.stop(&stream.turn()).await, 202);
    stream.rest().await;
}

/// The names of the rules that are broken.
fn names(wrong: &[String]) -> BTreeSet<&str> {
    wrong.iter().map(|line| line.split(':').next().unwrap()).collect()
}

/// A damage, and the rules that forbid it. What is used or held is added up twice, by the view that
/// comes along and by the rule L11, which does not believe it.
const DAMAGES: &[(&str, &[&str])] = &[
    ("UPDATE quota_counters SET tokens_used = tokens_used + 1 WHERE scope = 'user' AND period = 'day'", &["L1", "L11"]),
    ("UPDATE usage_ledger SET cost_nano_usd = cost_nano_usd + 1 WHERE meter = 'output_tokens'", &["L1", "L11"]),
    ("UPDATE quota_counters SET pages_used = 0 WHERE scope = 'tenant' AND period = 'month'", &["L1", "L11"]),
    ("UPDATE quota_counters SET stored_bytes_used = 1 WHERE period = 'total'", &["L1", "L11"]),
    ("UPDATE quota_counters SET cost_reserved = cost_reserved + 1 WHERE period = 'month'", &["L2", "L11"]),
    ("UPDATE reservations SET tokens = tokens - 1 WHERE state = 'open'", &["L2", "L11"]),
    ("UPDATE reservations SET expires_at = now() - interval '1 s' WHERE state = 'open'", &["L2"]),
    ("DELETE FROM reservations WHERE turn_id = (SELECT id FROM turns WHERE state = 'complete' LIMIT 1)", &["L3"]),
    // Billed under other ids, or at another price of nothing: the sums are right.
    ("UPDATE usage_ledger SET turn_id = NULL, document_id = gen_random_uuid() WHERE turn_id = (SELECT id FROM turns WHERE state = 'stopped')", &["L3"]),
    ("UPDATE usage_ledger SET turn_id = (SELECT id FROM turns WHERE state = 'running') WHERE turn_id = (
        SELECT t.id FROM turns t JOIN turns r USING (tenant_id, user_id) WHERE t.state = 'complete' AND r.state = 'running' LIMIT 1)", &["L3"]),
    ("INSERT INTO usage_ledger (tenant_id, event_id, month, user_id, turn_id, step, meter, quantity, provenance, period_start, day_start)
        SELECT tenant_id, gen_random_uuid(), month, user_id, turn_id, step, meter, 0, provenance, period_start, day_start
        FROM usage_ledger WHERE meter = 'output_tokens' LIMIT 1", &["L3"]),
    ("UPDATE turns SET user_id = gen_random_uuid() WHERE state = 'complete'", &["L4"]),
    ("UPDATE documents SET tenant_id = gen_random_uuid()", &["L4"]),
    ("INSERT INTO plan_quotas SELECT name, 'tenant', 'month', 'tokens', 1 FROM plans WHERE name = 'enterprise'", &["L5"]),
    ("INSERT INTO plan_quotas SELECT name, 'user', 'day', 'requests', 1 FROM plans WHERE name = 'enterprise'", &["L5"]),
    ("UPDATE nodes SET lease_until = '-infinity'", &["L8"]),
    ("UPDATE messages SET content = content || '!' WHERE role = 'assistant'", &["L9"]),
    ("DELETE FROM messages WHERE role = 'assistant' AND status = 'stopped'", &["L9"]),
    ("UPDATE turn_segments SET first_offset = first_offset + 1 WHERE turn_id IN (SELECT id FROM turns WHERE state = 'complete')", &["L9"]),
    ("GRANT UPDATE (quantity) ON usage_ledger TO docent_app", &["L10"]),
    ("GRANT DELETE ON ledger_seals TO docent_ledger", &["L10"]),
    ("CREATE OR REPLACE VIEW billing.differences_v1 AS SELECT * FROM billing.differences(NULL, '-infinity') WHERE false;
      UPDATE quota_counters SET tokens_used = 0", &["L11"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_is_seen_by_the_rule_that_forbids_it() {
    let (world, _) = used().await;
    let mut conn = world.database.connect().await;
    let mut proved = BTreeSet::new();
    for (damage, rules) in DAMAGES {
        let damage = format!("BEGIN; SET LOCAL session_replication_role = replica; {damage}");
        conn.batch_execute(&damage).await.expect(&damage);
        let wrong = books::wrong(&mut conn).await;
        conn.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(names(&wrong), rules.iter().copied().collect(), "{damage}: {wrong:#?}");
        proved.extend(*rules);
    }
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(proved, all, "no rule that cannot fail");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_and_readers_know_is_held_against_the_books() {
    let (world, running) = used().await;
    let (database, provider) = (&world.database, &world.provider);
    assert_eq!(books::against_provider(database, provider).await, Vec::<String>::new());
    provider.release();
    database
        .until("SELECT (NOT EXISTS (SELECT FROM turns WHERE state = 'running'))::int::bigint AS n")
        .await;
    let seen = [(running.clone(), "w0 w1 ".to_owned()), (running.clone(), String::new())];
    assert_eq!(books::against_readers(database, &seen).await, Vec::<String>::new());
    for more in ["w1 ", "w0 w1 w2 w3 w4 "] {
        let wrong = books::against_readers(database, &[(running.clone(), more.to_owned())]).await;
        assert_eq!(names(&wrong), BTreeSet::from(["L9"]), "{wrong:?}");
    }
    let more = "UPDATE usage_ledger SET quantity = quantity + 100 WHERE step = 0 AND provenance";
    for (damage, rule) in [
        (format!("{more} = 'exact' AND meter = 'input_tokens'"), "L6"),
        (format!("{more} = 'estimated' AND meter = 'output_tokens'"), "L6"),
        ("UPDATE messages SET content = content || '!' WHERE role = 'assistant'".to_owned(), "L6"),
        ("DELETE FROM turns WHERE state = 'complete'".to_owned(), "L7"),
        ("UPDATE messages SET content = 'Nobody asked.' WHERE role = 'user'".to_owned(), "L7"),
    ] {
        let copy = database.copy().await;
        copy.run(&format!("SET session_replication_role = replica; {damage}")).await;
        let wrong = books::against_provider(&copy, provider).await;
        assert_eq!(names(&wrong), BTreeSet::from([rule]), "{damage}: {wrong:#?}");
    }
}

/// Somebody moves counters, and the ledger in another transaction: whoever looks in between sees it.
#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_what_is_wrong_for_a_moment() {
    let (world, _) = used().await;
    let copy = world.database.copy().await;
    let auditor = Auditor::start(&copy).await;
    copy.run("UPDATE quota_counters SET requests_used = requests_used + 1").await;
    let wrong = auditor.finish().await;
    assert_eq!(names(&wrong), BTreeSet::from(["L12"]), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_were_dumped_and_restored_are_the_same() {
    let (world, _) = used().await;
    let (database, provider) = (world.database.clone(), world.provider.clone());
    provider.release();
    world.stop().await; // nothing moves any more
    let restored = database.copy().await;
    restored.check_books().await;
    assert_eq!(fingerprint(&restored).await, fingerprint(&database).await);
    let (code, out) = super::verify(&restored, &[]).await;
    assert_eq!(code, Some(0), "{out}");
}
