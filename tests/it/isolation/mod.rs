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

/// A hash of each tenant table's rows: what it is before and after tells whether anything changed.
pub async fn fingerprint(database: &Database) -> Vec<String> {
    let tables = tenant_tables(database).await;
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
}

/// A person with a document, a finished turn and a ticket: a row in every table.
async fn settled_in(world: &World, email: &str, secret: &str) -> (User, Belongings) {
    let user = world.user(email).await;
    let text = format!("The secret of {email} is {secret}.");
    let file = user.has_document("secret.txt", text.as_bytes()).await;
    let answer = user.ask("What is the secret?").await;
    assert_eq!(answer.end(), "finish");
    assert_eq!(answer.citations().len(), 1);
    let (status, _) = user.post("/v1/ws-tickets", serde_json::json!({})).await;
    assert_eq!(status, 200);
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
    (user, Belongings { file, turn, conversation, message })
}
