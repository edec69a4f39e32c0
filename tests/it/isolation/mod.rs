//! Tenants do not see each other: not through any route, not over a socket, not in SQL, and not in
//! what the model is told. The lists are generated: a new route or table is in them by being there.

mod canary;
mod catalogue;
mod roles;
mod routes;
mod rows;
mod sockets;

use crate::support::{Database, User, World};

/// All tables with a tenant, partitions included.
async fn tenant_tables(database: &Database) -> Vec<String> {
    let tables = database
        .texts(
            "SELECT c.relname::text AS t FROM pg_class c
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
             WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace ORDER BY 1",
        )
        .await;
    assert!(tables.len() > 20, "the query finds the tables: {tables:?}");
    tables
}

/// What the sealer writes on its own, a moment after everything else.
const SEALED: [&str; 4] = ["ledger_batches", "ledger_heads", "ledger_seals", "usage_daily"];

/// Of those, the ones that a tenant's own work reads, row by row: a month's part of the ledger is read
/// through the whole, and a batch is gone when it is sealed.
async fn tables_with_rows(database: &Database) -> Vec<String> {
    let mut tables = tenant_tables(database).await;
    let part =
        |table: &str| table.starts_with("usage_ledger_") || table.starts_with("ledger_seals_");
    tables.retain(|table| !part(table) && table != "ledger_batches");
    tables
}

/// A hash of each tenant table's rows: what it is before and after tells whether anything changed.
pub async fn fingerprint(database: &Database) -> Vec<String> {
    let mut tables = tables_with_rows(database).await;
    tables.retain(|table| !SEALED.contains(&table.as_str()));
    let hash = |table: &String| {
        format!(
            "SELECT '{table} ' || count(*) || ' ' || coalesce(md5(string_agg(x::text, '|' ORDER BY x::text)), '')
             AS t FROM {table} x"
        )
    };
    database.texts(&tables.iter().map(hash).collect::<Vec<_>>().join(" UNION ALL ")).await
}

/// What somebody owns, by its ids.
struct Belongings {
    file: String,
    turn: String,
    conversation: String,
    message: String,
    key: String,
    assistant: String,
    tool: String,
    filter: String,
}

/// An owner with an assistant, a document, a finished turn and a ticket: a row in every table.
async fn settled_in(world: &World, email: &str, secret: &str) -> (User, Belongings) {
    let user = crate::assistants::owner(world, email).await;
    let text = format!("The secret of {email} is {secret}.");
    let file = user.has_document("secret.txt", text.as_bytes()).await;
    let answer = user.ask("What is the secret?").await;
    assert_eq!(answer.end(), "finish");
    assert_eq!(answer.citations().len(), 1);
    let (status, _) = user.post("/v1/ws-tickets", serde_json::json!({})).await;
    assert_eq!(status, 200);
    let (_, key) = user.key(serde_json::json!({"name": "bot", "scopes": ["chat"]})).await;
    let key = key["id"].as_str().unwrap().to_owned();
    // What only an operator and the program itself write.
    let written = format!(
        "INSERT INTO export_customers VALUES ('{0}', 'stripe', 'cus_1');
         INSERT INTO outbox (tenant_id, id, type, data)
           VALUES ('{0}', gen_random_uuid(), 'quota.warning', '{{}}')",
        user.tenant_id
    );
    world.database.run(&written).await;
    let file = file["id"].as_str().unwrap().to_owned();
    let message = answer.of("start")[0]["messageId"].as_str().unwrap().to_owned();
    let (turn, conversation) = (answer.turn, answer.conversation);
    let new = serde_json::json!({"slug": "keeper", "name": format!("Keeper of {secret}")});
    let (status, made) = user.post("/v1/assistants", new).await;
    assert_eq!(status, 201, "{made}");
    let assistant = made["id"].as_str().unwrap().to_owned();
    let publish = format!("/v1/assistants/{assistant}/publish");
    assert_eq!(user.post(&publish, serde_json::json!({})).await.0, 200);
    let new = serde_json::json!({"name": "order_status", "description": "Where an order is.",
        "parameters": {"type": "object"}, "method": "GET", "url": "https://shop.test/{id}"});
    let (status, made) = user.post("/v1/tools", new).await;
    assert_eq!(status, 201, "{made}");
    let tool = made["id"].as_str().unwrap().to_owned();
    let new = serde_json::json!({"name": "Nightfall", "stage": "input", "action": "redact",
        "pattern": "nightfall"});
    let (status, made) = user.post("/v1/filters", new).await;
    assert_eq!(status, 201, "{made}");
    let filter = made["id"].as_str().unwrap().to_owned();
    // The turn's own id does for the call that waits in it.
    let waits = format!(
        "INSERT INTO approvals (tenant_id, id, turn_id, call_id, tool, arguments)
           VALUES ('{}', '{turn}', '{turn}', 'c1', 'order_status', '{{}}')",
        user.tenant_id
    );
    world.database.run(&waits).await;
    let remembered = format!(
        "INSERT INTO summaries (tenant_id, message_id, content)
           VALUES ('{}', '{message}', 'It was about {secret}.')",
        user.tenant_id
    );
    world.database.run(&remembered).await;
    world.database.run(&what_others_write(&user)).await;
    world.database.until("SELECT (count(*) = 0)::int::bigint AS n FROM ledger_batches").await;
    (user, Belongings { file, turn, conversation, message, key, assistant, tool, filter })
}

/// Rows of a tenant that its own work does not make: the operator's, and the sealer's.
fn what_others_write(user: &User) -> String {
    let (tenant, id) = (&user.tenant_id, &user.id);
    let scope = format!("'{tenant}', 'user', '{id}'");
    format!(
        "INSERT INTO tenant_prices (tenant_id, version, model, valid_from, input)
           VALUES ('{tenant}', 'x@2026-01-01/own', 'x', '2026-01-01', 1) ON CONFLICT DO NOTHING;
         INSERT INTO quota_overrides (tenant_id, scope, scope_id, period, meter, max_amount)
           VALUES ({scope}, 'day', 'tokens', 1000000);
         INSERT INTO quota_topups (tenant_id, id, scope, scope_id, period, period_start, meter, amount)
           VALUES ('{tenant}', gen_random_uuid(), 'user', '{id}', 'day', now(), 'tokens', 1);
         INSERT INTO quota_alerts (tenant_id, scope, scope_id, period, period_start, meter, percent)
           VALUES ({scope}, 'day', '2026-01-01', 'tokens', 80);
         INSERT INTO tenant_routes (tenant_id, name, models) VALUES ('{tenant}', 'own', '{{x}}');
         INSERT INTO tenant_models VALUES ('{tenant}', '{{gpt-4o-mini}}');
         INSERT INTO common_words VALUES ('{tenant}', 1, 100);
         INSERT INTO provider_keys (tenant_id, provider, sealed, last_four)
           VALUES ('{tenant}', 'gemini', '\\x00', 'abcd');
         INSERT INTO audit_log (tenant_id, id, actor, action, detail)
           VALUES ('{tenant}', gen_random_uuid(), 'operator', 'test', '{{}}')"
    )
}
