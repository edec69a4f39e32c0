//! What is exported: sealed rows of the ledger, and the notices of the outbox, in the order of their
//! numbers. All of it needs a ledger transaction ([`super::Db::ledger`]).

use super::Conn;
use super::sql::sql;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;

/// A row of the ledger, and who the tenant is at the vendor.
#[derive(Clone, Debug, QueryableByName, Serialize)]
pub struct UsageRow {
    #[diesel(sql_type = BigInt)]
    pub ledger_seq: i64,
    #[diesel(sql_type = Uuid)]
    pub event_id: uuid::Uuid,
    /// The slug.
    #[diesel(sql_type = Text)]
    pub tenant: String,
    #[diesel(sql_type = Uuid)]
    pub tenant_id: uuid::Uuid,
    /// What the tenant is called at this vendor.
    #[diesel(sql_type = Nullable<Text>)]
    pub customer: Option<String>,
    #[diesel(sql_type = Nullable<Uuid>)]
    pub user_id: Option<uuid::Uuid>,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<Uuid>)]
    pub turn_id: Option<uuid::Uuid>,
    #[diesel(sql_type = Nullable<Uuid>)]
    pub document_id: Option<uuid::Uuid>,
    #[diesel(sql_type = Text)]
    pub meter: String,
    #[diesel(sql_type = BigInt)]
    pub quantity: i64,
    #[diesel(sql_type = Text)]
    pub provenance: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub model: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub price_version: Option<String>,
    /// None: it has no price.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub cost_nano_usd: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    pub period_start: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
}

const USAGE: &str =
    "SELECT l.ledger_seq, l.event_id, l.tenant, l.tenant_id, c.external_id AS customer,
           l.user_id, l.kind, l.turn_id, l.document_id, l.meter, l.quantity, l.provenance, l.model,
           l.price_version, l.cost_nano_usd, l.period_start, l.occurred_at
    FROM billing.ledger_v1 l
    LEFT JOIN export_customers c ON c.tenant_id = l.tenant_id AND c.exporter = $1";

/// A part of what is numbered: after `after`, and not after `upto` where that is given.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub after: i64,
    pub upto: Option<i64>,
    pub limit: i64,
}

/// The next rows of the ledger.
pub async fn usage(conn: &mut Conn, exporter: &str, page: Page) -> QueryResult<Vec<UsageRow>> {
    let text = format!(
        "{USAGE} WHERE l.ledger_seq > $2 AND ($3::bigint IS NULL OR l.ledger_seq <= $3)
         ORDER BY l.ledger_seq LIMIT $4"
    );
    sql(text)
        .bind::<Text, _>(exporter)
        .bind::<BigInt, _>(page.after)
        .bind::<Nullable<BigInt>, _>(page.upto)
        .bind::<BigInt, _>(page.limit)
        .load(conn)
        .await
}

/// Parked rows of the ledger that are to be sent again.
pub async fn usage_again(
    conn: &mut Conn,
    exporter: &str,
    limit: i64,
) -> QueryResult<Vec<UsageRow>> {
    let text = format!(
        "{USAGE} JOIN export_parked p ON p.exporter = $1 AND p.ledger_seq = l.ledger_seq
         WHERE p.retry ORDER BY l.ledger_seq LIMIT $2"
    );
    sql(text).bind::<Text, _>(exporter).bind::<BigInt, _>(limit).load(conn).await
}

/// Something to be told.
#[derive(Clone, Debug, QueryableByName)]
pub struct Notice {
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    #[diesel(sql_type = Uuid)]
    pub id: uuid::Uuid,
    /// The slug.
    #[diesel(sql_type = Text)]
    pub tenant: String,
    /// Such as `quota.warning`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Jsonb)]
    pub data: serde_json::Value,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

const NOTICES: &str = "SELECT o.seq, o.id, t.slug AS tenant, o.type AS kind, o.data, o.created_at
    FROM outbox o JOIN tenants t USING (tenant_id)";

/// Numbers what was committed since the last time. The caller holds the cursor's row, so nobody else
/// gives numbers at the same time, and none becomes visible after a larger one.
pub async fn number_notices(conn: &mut Conn) -> QueryResult<usize> {
    sql(
        "UPDATE outbox o SET seq = n.seq
         FROM (SELECT tenant_id, id, nextval('outbox_seq') AS seq FROM
                (SELECT tenant_id, id FROM outbox WHERE seq IS NULL ORDER BY created_at, id LIMIT 1000) s) n
         WHERE o.tenant_id = n.tenant_id AND o.id = n.id",
    )
    .execute(conn)
    .await
}

/// The next notices.
pub async fn notices(conn: &mut Conn, page: Page) -> QueryResult<Vec<Notice>> {
    let text = format!(
        "{NOTICES} WHERE o.seq > $1 AND ($2::bigint IS NULL OR o.seq <= $2)
         ORDER BY o.seq LIMIT $3"
    );
    sql(text)
        .bind::<BigInt, _>(page.after)
        .bind::<Nullable<BigInt>, _>(page.upto)
        .bind::<BigInt, _>(page.limit)
        .load(conn)
        .await
}

/// Parked notices that are to be sent again.
pub async fn notices_again(
    conn: &mut Conn,
    exporter: &str,
    limit: i64,
) -> QueryResult<Vec<Notice>> {
    let text = format!(
        "{NOTICES} JOIN export_parked p ON p.exporter = $1 AND p.ledger_seq = o.seq
         WHERE p.retry ORDER BY o.seq LIMIT $2"
    );
    sql(text).bind::<Text, _>(exporter).bind::<BigInt, _>(limit).load(conn).await
}

/// Forgets what is a month old, told or not. Needs a system transaction.
pub async fn forget_old_notices(conn: &mut Conn) -> QueryResult<usize> {
    sql("DELETE FROM outbox WHERE created_at < now() - interval '30 days'").execute(conn).await
}
