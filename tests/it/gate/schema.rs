//! The migrations, there and back, and the tables that the code was compiled for.

use crate::support::Database;
use docent::store;

/// Everything the migrations make, in words: columns, keys, indexes, policies, views, rights.
async fn shape(database: &Database) -> Vec<String> {
    database
        .texts(
            "SELECT 'column ' || table_schema || '.' || table_name || '.' || column_name || ' ' || udt_name
                 || ' ' || is_nullable || ' ' || coalesce(column_default, '') AS t
               FROM information_schema.columns WHERE table_schema IN ('public', 'billing')
             UNION ALL
             SELECT 'key ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
               FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
             UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
             UNION ALL
             SELECT 'policy ' || tablename || ' ' || policyname || ' ' || roles::text || ' ' || cmd
                 || coalesce(qual, '') || coalesce(with_check, '') FROM pg_policies
             UNION ALL
             SELECT 'right ' || grantee || ' ' || privilege_type || ' ' || table_schema || '.' || table_name
               FROM information_schema.role_table_grants WHERE grantee LIKE 'docent\\_%'
             UNION ALL
             SELECT 'view ' || viewname || ' ' || definition FROM pg_views WHERE schemaname = 'billing'
             ORDER BY 1",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_migrations_go_up_and_down_and_up_again() {
    let database = Database::empty().await;
    let ran = store::migrate(&database.url).await.unwrap();
    assert!(!ran.is_empty());
    let first = shape(&database).await;
    assert!(first.len() > 300, "{}", first.len());
    assert_eq!(store::migrate(&database.url).await.unwrap(), Vec::<String>::new(), "no second run");
    assert_eq!(shape(&database).await, first);

    let mut reverted = store::revert_all(&database.url).await.unwrap();
    reverted.reverse();
    assert_eq!(reverted, ran);
    let left = "SELECT relname::text AS t FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'S')
                AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'billing'))";
    assert_eq!(database.texts(left).await, ["__diesel_schema_migrations"]);

    assert_eq!(store::migrate(&database.url).await.unwrap(), ran);
    assert_eq!(shape(&database).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_migrate_once() {
    let database = Database::empty().await;
    let nodes = (0..3).map(|_| store::migrate(&database.url));
    let ran = futures_util::future::join_all(nodes).await;
    let ran: Vec<usize> = ran.into_iter().map(|versions| versions.unwrap().len()).collect();
    assert_eq!(ran.iter().filter(|versions| **versions > 0).count(), 1, "{ran:?}");
}

/// `table.column Type` (`Nullable<Type>`) of each line of the tables in `schema.rs`.
fn compiled() -> Vec<String> {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/schema.rs");
    let schema = std::fs::read_to_string(schema).unwrap();
    let mut columns = Vec::new();
    for block in schema.split("diesel::table! {").skip(1) {
        let block = block.split("\n}\n").next().unwrap();
        let mut lines = block.lines().map(str::trim);
        let head = lines.find(|line| line.ends_with('{')).expect("a table has a name");
        let table = head.split(' ').next().unwrap();
        for line in lines.take_while(|line| *line != "}") {
            if let Some((name, kind)) = line.trim_end_matches(',').split_once(" -> ") {
                let name = name.trim_end_matches('_'); // what would be a keyword in Rust
                columns.push(format!("{table}.{name} {kind}"));
            }
        }
    }
    columns.sort();
    columns
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_was_compiled_for_these_tables() {
    let database = Database::fresh().await;
    let mut migrated = database
        .texts(
            "SELECT table_name || '.' || column_name || ' ' || CASE is_nullable
                 WHEN 'YES' THEN 'Nullable<' || k || '>' ELSE k END AS t
             FROM information_schema.columns c, LATERAL (SELECT CASE c.udt_name
                 WHEN 'timestamptz' THEN 'Timestamptz' WHEN '_uuid' THEN 'Array<Nullable<Uuid>>'
                 WHEN '_text' THEN 'Array<Nullable<Text>>'
                 ELSE initcap(c.udt_name) END) x (k)
             WHERE table_schema = 'public'
               AND table_name NOT IN ('embeddings_shared', '__diesel_schema_migrations', 'ledger_state')
               AND table_name !~ '^(usage_ledger|ledger_seals)_'",
        )
        .await;
    migrated.sort();
    assert!(migrated.len() > 100);
    assert_eq!(compiled(), migrated, "run `diesel print-schema`");
}
