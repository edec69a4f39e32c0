//! What each database role may do, and what nobody may.

use super::settled_in;
use crate::support::{Database, User, World};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use docent::app::{App, AppOptions};
use docent::config::{Layers, Settings};
use docent::types::Secret;
use std::collections::BTreeMap;

/// What a role gets for a statement: how many rows, or why not. Nothing of it stays.
async fn attempt(
    database: &Database,
    role: &str,
    tenant: Option<&User>,
    sql: &str,
) -> Result<usize, String> {
    let mut conn = database.connect().await;
    let tenant = tenant.map(|user| user.tenant_id.as_str()).unwrap_or_default();
    let setup = format!("SELECT set_config('docent.tenant_id', '{tenant}', true)");
    conn.batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}; {setup}")).await.unwrap();
    let outcome = diesel::sql_query(sql).execute(&mut conn).await;
    conn.batch_execute("ROLLBACK").await.unwrap();
    outcome.map_err(|error| error.to_string())
}

fn denied(outcome: &Result<usize, String>) -> bool {
    outcome.as_ref().is_err_and(|why| why.contains("permission denied"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_only_ever_appended_to() {
    let world = World::start().await;
    let (anna, _) = settled_in(&world, "anna@acme.test", "rosebud").await;
    for role in ["docent_app", "docent_system", "docent_billing", "docent_ledger"] {
        for sql in [
            "UPDATE usage_ledger SET quantity = 0",
            "DELETE FROM usage_ledger",
            "TRUNCATE usage_ledger",
        ] {
            let outcome = attempt(&world.database, role, Some(&anna), sql).await;
            assert!(denied(&outcome), "{role}: {sql}: {outcome:?}");
        }
    }
    let read = attempt(&world.database, "docent_app", Some(&anna), "SELECT * FROM usage_ledger");
    assert!(read.await.unwrap() >= 3, "its own tenant reads it");
}

#[tokio::test(flavor = "multi_thread")]
async fn billing_reads_what_was_used_and_not_what_was_said() {
    let world = World::start().await;
    settled_in(&world, "anna@acme.test", "rosebud").await;
    settled_in(&world, "eve@globex.test", "xanadu").await;
    let database = &world.database;
    for view in ["ledger_v1", "quotas_v1", "usage_v1", "periods_v1"] {
        let tenants = format!("SELECT DISTINCT tenant FROM billing.{view}");
        database.until("SELECT (NOT EXISTS (SELECT FROM ledger_batches))::int::bigint AS n").await;
        let read = attempt(database, "docent_billing", None, &tenants).await;
        assert_eq!(read, Ok(2), "billing.{view} shows both tenants");
    }
    let wrong = attempt(database, "docent_billing", None, "SELECT * FROM billing.differences_v1");
    assert_eq!(wrong.await, Ok(0));
    for table in ["messages", "documents", "chunks", "users", "conversations", "turn_segments"] {
        let sql = format!("SELECT * FROM {table}");
        let outcome = attempt(database, "docent_billing", None, &sql).await;
        assert!(denied(&outcome), "{table}: {outcome:?}");
    }
    for sql in [
        "UPDATE quota_counters SET tokens_used = 0",
        "DELETE FROM quota_counters",
        "DELETE FROM reservations",
        "DELETE FROM ledger_seals",
    ] {
        assert!(denied(&attempt(database, "docent_billing", None, sql).await), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_background_reads_no_text_and_no_bill() {
    let world = World::start().await;
    settled_in(&world, "anna@acme.test", "rosebud").await;
    let text = ["messages", "documents", "chunks", "document_blobs", "users", "turn_segments"];
    for table in text {
        let sql = format!("SELECT * FROM {table}");
        let outcome = attempt(&world.database, "docent_ledger", None, &sql).await;
        assert!(denied(&outcome), "{table}: {outcome:?}");
    }
    for table in
        ["messages", "documents", "chunks", "document_blobs", "quota_counters", "usage_ledger"]
    {
        let sql = format!("SELECT * FROM {table}");
        let outcome = attempt(&world.database, "docent_system", None, &sql).await;
        assert!(denied(&outcome), "{table}: {outcome:?}");
    }
    let jobs = attempt(&world.database, "docent_system", None, "SELECT * FROM jobs").await;
    assert_eq!(jobs, Ok(1), "the queue it does see");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_words_is_lent_to_a_tenant_for_its_own_chunks() {
    let world = World::start().await;
    let (anna, _) = settled_in(&world, "anna@acme.test", "rosebud").await;
    let (eve, _) = settled_in(&world, "eve@globex.test", "rosebud").await;
    let database = &world.database;
    let key = |user: &User| format!("word_key('{}', 'rosebud', false)", user.tenant_id);
    let lookup =
        |words: &str| format!("SELECT * FROM search.chunks_with(ARRAY[{words}]::bigint[], 9)");
    let all = lookup("");
    for (tenant, sql, found) in [
        (Some(&anna), lookup(&key(&anna)), 1),
        (Some(&eve), lookup(&key(&anna)), 0),
        (None, lookup(&key(&anna)), 0),
        (Some(&anna), all.clone(), 1),
        (None, all.clone(), 0),
        (None, "SELECT * FROM search_chunks('rosebud', 9, '{}')".to_owned(), 0),
    ] {
        let seen = attempt(database, "docent_app", tenant, &sql).await;
        assert_eq!(seen, Ok(found), "{sql} for {:?}", tenant.map(|user| &user.tenant));
    }
    for role in ["docent_system", "docent_billing", "docent_ledger"] {
        let outcome = attempt(database, role, Some(&anna), &all).await;
        assert!(denied(&outcome), "{role}: {outcome:?}");
    }
    for sql in [
        "SELECT content FROM chunks",
        "SELECT * FROM documents",
        "SELECT * FROM messages",
        "SELECT * FROM common_words",
        "DELETE FROM chunks",
    ] {
        let outcome = attempt(database, "docent_search", Some(&anna), sql).await;
        assert!(denied(&outcome), "{sql}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_role_gets_around_the_walls() {
    let database = Database::fresh().await;
    let roles = database
        .texts(
            "SELECT rolname || ' ' || rolsuper || rolbypassrls || rolcanlogin || rolcreaterole AS t
             FROM pg_roles WHERE rolname LIKE 'docent\\_%' ORDER BY 1",
        )
        .await;
    let none = |role: &str| format!("{role} falsefalsefalsefalse");
    let expected =
        ["docent_app", "docent_billing", "docent_ledger", "docent_search", "docent_system"];
    assert_eq!(roles, expected.map(none));
    let owned = "SELECT count(*) AS n FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
                 WHERE r.rolname LIKE 'docent\\_%'";
    assert_eq!(database.number(owned).await, 0, "an owner could switch row security off");
    let create = attempt(&database, "docent_app", None, "CREATE TABLE mine (n int)").await;
    assert!(denied(&create), "{create:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_where_tenants_would_not_be_isolated() {
    for (hole, named) in [
        ("ALTER TABLE messages NO FORCE ROW LEVEL SECURITY", "table messages"),
        ("ALTER TABLE chunks DISABLE ROW LEVEL SECURITY", "table chunks"),
        ("CREATE TABLE notes (tenant_id uuid NOT NULL)", "table notes"),
        ("ALTER TABLE embeddings_shared NO FORCE ROW LEVEL SECURITY", "table embeddings_shared"),
    ] {
        let database = Database::fresh().await;
        assert!(start(&database).await.is_ok(), "without the hole it starts");
        database.run(hole).await;
        let refused = start(&database).await.expect_err(hole);
        assert!(refused.contains(named) && refused.contains("refusing to start"), "{refused}");
    }
}

async fn start(database: &Database) -> Result<(), String> {
    let given = [("PORT", "0"), ("EMBEDDING_MODEL", "hashed-ngram-384")];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = AppOptions {
        settings: Settings::load(Layers::new(BTreeMap::from(given)), true).unwrap(),
        database_url: Secret::new(&database.url),
        secret: Secret::new("a secret for tests that is long enough"),
        demo: None,
        program: env!("CARGO_BIN_EXE_docent").into(),
        patience: docent::api::Patience::default(),
    };
    App::build(options).await.map(drop).map_err(|error| error.to_string())
}
