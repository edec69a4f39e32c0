//! The ledger: append-only, the truth about usage.

use super::Conn;
use super::schema::usage_ledger;
use crate::types::{DocumentId, TenantId, TurnId, UserId};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;

/// A quantity that was used, once.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = usage_ledger)]
pub struct NewEntry {
    pub tenant_id: TenantId,
    pub event_id: uuid::Uuid,
    pub user_id: UserId,
    pub turn_id: Option<TurnId>,
    pub document_id: Option<DocumentId>,
    pub step: i16,
    pub meter: String,
    pub quantity: i64,
    pub provenance: String,
    pub model: Option<String>,
    pub price_valid_from: Option<DateTime<Utc>>,
    pub cost_nano_usd: Option<i64>,
    pub period_start: DateTime<Utc>,
}

/// Inserts what is not there yet and returns the ids it inserted.
pub async fn append(conn: &mut Conn, entries: &[NewEntry]) -> QueryResult<Vec<uuid::Uuid>> {
    diesel::insert_into(usage_ledger::table)
        .values(entries)
        .on_conflict_do_nothing()
        .returning(usage_ledger::event_id)
        .get_results(conn)
        .await
}

/// What a turn was billed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = usage_ledger)]
pub struct TurnEntry {
    pub turn_id: Option<TurnId>,
    pub meter: String,
    pub quantity: i64,
    pub provenance: String,
    pub cost_nano_usd: Option<i64>,
}

/// The entries of several turns.
pub async fn of_turns(
    conn: &mut Conn,
    tenant: TenantId,
    turns: &[TurnId],
) -> QueryResult<Vec<TurnEntry>> {
    usage_ledger::table
        .filter(usage_ledger::tenant_id.eq(tenant).and(usage_ledger::turn_id.eq_any(turns)))
        .select(TurnEntry::as_select())
        .load(conn)
        .await
}

/// A sum over the ledger.
#[derive(Clone, Debug, QueryableByName)]
pub struct Total {
    #[diesel(sql_type = Date)]
    pub day: NaiveDate,
    #[diesel(sql_type = Text)]
    pub meter: String,
    #[diesel(sql_type = BigInt)]
    pub quantity: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub cost_nano_usd: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub quantity_last_24h: i64,
    #[diesel(sql_type = BigInt)]
    pub quantity_last_7d: i64,
    #[diesel(sql_type = Bool)]
    pub in_period: bool,
}

/// Sums per UTC day and meter since `since` (or seven days ago, if that is earlier), of a user or of
/// the whole tenant.
pub async fn totals(
    conn: &mut Conn,
    tenant: TenantId,
    user: Option<UserId>,
    since: DateTime<Utc>,
) -> QueryResult<Vec<Total>> {
    diesel::sql_query(
        "SELECT (occurred_at AT TIME ZONE 'UTC')::date AS day, meter,
                sum(quantity)::bigint AS quantity, sum(cost_nano_usd)::bigint AS cost_nano_usd,
                coalesce(sum(quantity) FILTER (WHERE occurred_at > now() - interval '24 hours'), 0)::bigint
                  AS quantity_last_24h,
                coalesce(sum(quantity) FILTER (WHERE occurred_at > now() - interval '7 days'), 0)::bigint
                  AS quantity_last_7d,
                period_start = $3 AS in_period
         FROM usage_ledger
         WHERE tenant_id = $1 AND ($2::uuid IS NULL OR user_id = $2)
           AND occurred_at > least($3, now() - interval '7 days')
         GROUP BY day, meter, in_period ORDER BY day, meter",
    )
    .bind::<Uuid, _>(tenant)
    .bind::<Nullable<Uuid>, _>(user)
    .bind::<Timestamptz, _>(since)
    .load(conn)
    .await
}
