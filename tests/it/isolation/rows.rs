//! Row-level security, table by table, as the role that serves tenants.

use super::{settled_in, tables_with_rows, tenant_tables};
use crate::support::{Database, User, World};
use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use docent::store::{Conn, Db, DbOptions};
use docent::types::TenantId;
use std::time::Duration;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

async fn count(conn: &mut Conn, sql: &str) -> i64 {
    diesel::sql_query(sql).get_result::<Row>(conn).await.expect(sql).n
}

/// Nobody: a connection that never named a tenant, and one on which a transaction did before.
const NOBODY: [&str; 2] = ["", "SELECT set_config('docent.tenant_id', '', true);"];

fn tenant(user: &User) -> String {
    format!("SELECT set_config('docent.tenant_id', '{}', true);", user.tenant_id)
}

/// Begins a transaction as a role.
async fn begin(conn: &mut Conn, role: &str, setup: &str) {
    conn.batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}; {setup}")).await.unwrap();
}

/// How many rows a statement touches; "refused" when it is not allowed. Nothing of it stays.
async fn attempt(database: &Database, role: &str, setup: &str, sql: &str) -> Result<usize, String> {
    let mut conn = database.connect().await;
    begin(&mut conn, role, setup).await;
    let outcome = diesel::sql_query(sql).execute(&mut conn).await;
    conn.batch_execute("ROLLBACK").await.unwrap();
    outcome.map_err(|error| {
        let why = error.to_string();
        let refused = why.contains("row-level security") || why.contains("permission denied");
        assert!(refused, "{sql} is refused for the right reason: {why}");
        why
    })
}

/// An INSERT that repeats a row of a tenant, made by the superuser who can read it.
async fn insert_of(database: &Database, table: &str, owner: &User) -> String {
    let find = |what: &str| {
        format!("SELECT {what} AS t FROM {table} x WHERE tenant_id = '{}' LIMIT 1", owner.tenant_id)
    };
    let row = database.texts(&find("quote_literal(to_jsonb(x)::text)")).await;
    let row = row.into_iter().next();
    let row = row.unwrap_or_else(|| panic!("{} has a row in {table}", owner.tenant));
    let columns = format!(
        "SELECT string_agg(quote_ident(attname), ', ') AS t FROM pg_attribute
         WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
           AND attgenerated = '' AND attidentity = ''"
    );
    let columns = database.texts(&columns).await.remove(0);
    format!(
        "INSERT INTO {table} ({columns})
         SELECT {columns} FROM jsonb_populate_record(NULL::{table}, {row}::jsonb)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_no_tenant_sees_and_changes_nothing() {
    let world = World::start().await;
    let (anna, _) = settled_in(&world, "anna@acme.test", "rosebud").await;
    let database = &world.database;
    for table in tables_with_rows(database).await {
        let insert = insert_of(database, &table, &anna).await;
        for setup in NOBODY {
            let mut conn = database.connect().await;
            begin(&mut conn, "docent_app", setup).await;
            let seen = count(&mut conn, &format!("SELECT count(*) AS n FROM {table}")).await;
            assert_eq!(seen, 0, "{table} with {setup:?}");
            for sql in [
                format!("UPDATE {table} SET tenant_id = tenant_id"),
                format!("DELETE FROM {table}"),
            ] {
                let touched = attempt(database, "docent_app", setup, &sql).await.unwrap_or(0);
                assert_eq!(touched, 0, "{sql} with {setup:?}");
            }
            let inserted = attempt(database, "docent_app", setup, &insert).await;
            assert!(inserted.is_err(), "{table} with {setup:?}: {inserted:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_and_changes_its_own_rows_only() {
    let world = World::start().await;
    let (anna, _) = settled_in(&world, "anna@acme.test", "rosebud").await;
    let (eve, _) = settled_in(&world, "eve@globex.test", "xanadu").await;
    let database = &world.database;
    let as_anna = tenant(&anna);
    for table in tables_with_rows(database).await {
        let mut conn = database.connect().await;
        begin(&mut conn, "docent_app", &as_anna).await;
        let rows = |which: &str| {
            let of = &anna.tenant_id;
            format!("SELECT count(*) AS n FROM {table} WHERE tenant_id {which} '{of}'")
        };
        assert!(count(&mut conn, &rows("=")).await > 0, "{table}: anna sees her own");
        assert_eq!(count(&mut conn, &rows("<>")).await, 0, "{table}");

        let (own, other) = (&anna.tenant_id, &eve.tenant_id);
        let to_eve = format!("UPDATE {table} SET tenant_id = '{other}' WHERE tenant_id = '{own}'");
        let given = attempt(database, "docent_app", &as_anna, &to_eve).await;
        assert!(given.is_err(), "{table}: rows cannot be given away: {given:?}");
        for sql in [
            format!("UPDATE {table} SET tenant_id = '{own}' WHERE tenant_id = '{other}'"),
            format!("DELETE FROM {table} WHERE tenant_id = '{other}'"),
        ] {
            let touched = attempt(database, "docent_app", &as_anna, &sql).await.unwrap_or(0);
            assert_eq!(touched, 0, "{sql}");
        }
        let insert = insert_of(database, &table, &eve).await;
        let inserted = attempt(database, "docent_app", &as_anna, &insert).await;
        assert!(inserted.is_err(), "{table}: {inserted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_partition_is_walled_like_the_shared_one() {
    let world = World::start().await;
    let (anna, _) = settled_in(&world, "anna@acme.test", "rosebud").await;
    settled_in(&world, "eve@globex.test", "xanadu").await;
    let before = tenant_tables(&world.database).await;
    let db = world.db();
    let id: TenantId = anna.tenant_id.parse().unwrap();
    let model = world.database.number("SELECT max(id)::bigint AS n FROM embedding_models").await;
    let model = i32::try_from(model).unwrap();
    docent::retrieval::give_own_index(&db, id, model, 384, 1).await.unwrap();
    let after = tenant_tables(&world.database).await;
    let own: Vec<&String> = after.iter().filter(|table| !before.contains(table)).collect();
    assert_eq!(own.len(), 1, "{own:?}");
    db.check_isolation().await.expect("a restart is not refused");

    let mut conn = world.database.connect().await;
    begin(&mut conn, "docent_app", &tenant(&anna)).await;
    let rows = format!("SELECT count(*) AS n FROM {}", own[0]);
    assert_eq!(count(&mut conn, &rows).await, 1);
    conn.batch_execute("ROLLBACK").await.unwrap();
    for setup in NOBODY {
        begin(&mut conn, "docent_app", setup).await;
        assert_eq!(count(&mut conn, &rows).await, 0);
        conn.batch_execute("ROLLBACK").await.unwrap();
    }
    let answer = anna.ask("What is the secret?").await;
    assert_eq!(answer.citations()[0]["file_name"], "secret.txt", "and it is still found");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_that_serves_two_tenants_mixes_nothing() {
    let world = World::start().await;
    let (anna, _) = settled_in(&world, "anna@acme.test", "rosebud").await;
    let (eve, _) = settled_in(&world, "eve@globex.test", "xanadu").await;
    let options = DbOptions {
        url: world.database.url.clone(),
        max_connections: 1,
        acquire: Duration::from_secs(10),
    };
    let db = Db::open(&options, &docent::runtime::Tasks::current());
    for step in 0..300_u32 {
        let own = if step % 2 == 0 { &anna } else { &eve };
        let mut tx = db.tenant(own.tenant_id.parse().unwrap()).await.unwrap();
        let foreign =
            format!("SELECT count(*) AS n FROM chunks WHERE tenant_id <> '{}'", own.tenant_id);
        assert_eq!(count(&mut tx, &foreign).await, 0);
        assert_eq!(count(&mut tx, "SELECT count(*) AS n FROM chunks").await, 1);
        diesel::sql_query("UPDATE documents SET name = name || 'x'")
            .execute(&mut *tx)
            .await
            .unwrap();
        match step % 5 {
            0 => tx.commit().await.unwrap(),
            // Somebody hung up in the middle of a statement.
            1 => {
                let slow = diesel::sql_query("SELECT pg_sleep(0.01)").execute(&mut *tx);
                let now = tokio::task::yield_now();
                tokio::select! { biased; _ = slow => panic!("it waits"), () = now => {} }
                drop(tx);
            }
            2 => {
                let broken = diesel::sql_query("SELECT 1/0").execute(&mut *tx).await;
                assert!(broken.is_err());
                drop(tx);
            }
            _ => drop(tx),
        }
        if step % 7 == 0 {
            let mut tx = db.system().await.unwrap();
            let denied = diesel::sql_query("SELECT * FROM chunks").execute(&mut *tx).await;
            assert!(denied.is_err(), "the system role reads no documents");
        }
    }
    let written = "SELECT max(length(name) - length('secret.txt'))::bigint AS n FROM documents";
    assert_eq!(world.database.number(written).await, 30, "what was committed, and nothing else");
}
