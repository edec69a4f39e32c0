//! The schema itself: what holds of every tenant table is asked of PostgreSQL's catalogue.

use super::tenant_tables;
use crate::support::Database;

/// Tables without a tenant. Everybody may read them, nobody but the operator writes them.
const SHARED: &[(&str, &str)] = &[
    ("__diesel_schema_migrations", "which migrations ran"),
    ("embedding_models", "names and dimensions of models"),
    ("export_cursors", "how far the operator's exporters are"),
    ("export_parked", "which rows the operator's billing systems refused"),
    ("ledger_state", "the last number of the ledger, and until when it is complete"),
    ("models", "what the operator offers"),
    ("nodes", "the server processes and their leases"),
    ("operator_log", "what the operator changed for everybody"),
    ("plan_models", "which models the operator's plans allow"),
    ("plan_quotas", "the operator's price list"),
    ("plans", "the operator's price list"),
    ("prices", "the operator's price list"),
    ("providers", "who answers, without keys"),
    ("routes", "what the operator offers"),
];

/// Unique keys without the tenant: they tell whether another tenant has a value.
const GLOBAL_KEYS: &[(&str, &str)] = &[
    ("ledger_batches_pkey", "the database numbers it itself: nobody can ask for a value"),
    ("tenants_slug_key", "the slug finds the tenant before one is known"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_table_has_a_tenant_or_a_reason() {
    let database = Database::fresh().await;
    let all = database
        .texts(
            "SELECT relname::text AS t FROM pg_class WHERE relkind IN ('r', 'p')
               AND relnamespace = 'public'::regnamespace ORDER BY 1",
        )
        .await;
    let with_tenant = tenant_tables(&database).await;
    let without: Vec<&str> =
        all.iter().filter(|t| !with_tenant.contains(t)).map(String::as_str).collect();
    let known: Vec<&str> = SHARED.iter().map(|(table, _)| *table).collect();
    assert_eq!(without, known);
    let nullable = database
        .texts(
            "SELECT attrelid::regclass::text AS t FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
             WHERE attname = 'tenant_id' AND c.relkind IN ('r', 'p') AND NOT attnotnull
               AND c.relnamespace = 'public'::regnamespace",
        )
        .await;
    assert_eq!(nullable, Vec::<String>::new(), "a row without a tenant is nobody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tenant_table_has_its_wall() {
    let database = Database::fresh().await;
    for table in tenant_tables(&database).await {
        let forced = format!(
            "SELECT count(*) AS n FROM pg_class WHERE oid = '{table}'::regclass
               AND relrowsecurity AND relforcerowsecurity"
        );
        assert_eq!(database.number(&forced).await, 1, "{table} forces row security");
        let policy = format!(
            "SELECT (pg_get_expr(polqual, polrelid) || ' / ' || pg_get_expr(polwithcheck, polrelid)) AS t
             FROM pg_policy WHERE polrelid = '{table}'::regclass AND polcmd = '*' AND polpermissive
               AND polroles = ARRAY['docent_app'::regrole::oid]"
        );
        let wall = "(tenant_id = ( SELECT current_tenant() AS current_tenant))";
        assert_eq!(database.texts(&policy).await, [format!("{wall} / {wall}")], "{table}");
        // A second policy would open a second door: permissive ones are joined by OR.
        let doors = format!(
            "SELECT polname::text AS t FROM pg_policy WHERE polrelid = '{table}'::regclass
               AND (polroles = ARRAY[0::oid] OR 'docent_app'::regrole::oid = ANY(polroles))"
        );
        assert_eq!(database.texts(&doors).await, ["tenant"], "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_reaches_across_tenants() {
    let database = Database::fresh().await;
    // Keys are checked past row security: one without the tenant tells that a foreign row exists.
    let unique = database
        .texts(
            "SELECT i.indexrelid::regclass::text AS t FROM pg_index i
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'tenant_id' AND NOT a.attisdropped
             JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'public'::regnamespace
             WHERE i.indisunique AND NOT (a.attnum = ANY(i.indkey::int2[])) ORDER BY 1",
        )
        .await;
    let known: Vec<&str> = GLOBAL_KEYS.iter().map(|(key, _)| *key).collect();
    assert_eq!(unique, known);
    let foreign = database
        .texts(
            "SELECT k.conname || ' on ' || k.conrelid::regclass AS t FROM pg_constraint k
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attname = 'tenant_id'
             JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attname = 'tenant_id'
             WHERE k.contype = 'f' AND NOT EXISTS (
               SELECT FROM unnest(k.conkey, k.confkey) p (here, there)
               WHERE p.here = a.attnum AND p.there = b.attnum)",
        )
        .await;
    assert_eq!(foreign, Vec::<String>::new(), "a row could point into another tenant");
    let checked = "SELECT count(*) AS n FROM pg_constraint k WHERE k.contype = 'f'
                   AND k.confrelid <> 'tenants'::regclass AND array_length(k.conkey, 1) > 1";
    assert!(database.number(checked).await > 15, "and there are many that could have");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_view_and_one_function_lend_their_owners_rights() {
    let database = Database::fresh().await;
    let views = database
        .texts(
            "SELECT oid::regclass::text AS t FROM pg_class WHERE relkind IN ('v', 'm')
               AND relnamespace IN ('public'::regnamespace, 'billing'::regnamespace)
               AND NOT coalesce(reloptions @> ARRAY['security_invoker=true'], false)",
        )
        .await;
    assert_eq!(views, Vec::<String>::new());
    let functions = database
        .texts(
            "SELECT p.oid::regprocedure || ' as ' || p.proowner::regrole || ' for ' ||
                 (SELECT string_agg(grantee::regrole::text, ', ' ORDER BY grantee::regrole::text) FROM aclexplode(p.proacl)) AS t
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
        )
        .await;
    // What it may see, and that it shows one tenant's, is in `roles`.
    let lent =
        "search.chunks_with(bigint[],integer) as docent_search for docent_app, docent_search";
    assert_eq!(functions, [lent]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_cannot_write_what_is_shared() {
    let database = Database::fresh().await;
    for (table, _) in SHARED {
        let rights = database
            .texts(&format!(
                "SELECT r || ' may ' || p AS t
                 FROM unnest(ARRAY['docent_app', 'docent_billing']) r,
                      unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
                 WHERE has_table_privilege(r, '{table}', p)"
            ))
            .await;
        assert_eq!(rights, Vec::<String>::new(), "{table}");
    }
}
