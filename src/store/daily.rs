//! The summary of the ledger by day, as the sealer writes it.

use super::Conn;
use super::sql::sql;
use crate::types::TenantId;
use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date, Text, Uuid};
use diesel_async::RunQueryDsl;

/// What is summed up together; nil and '' are "none".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub tenant_id: TenantId,
    pub day: NaiveDate,
    pub user_id: uuid::Uuid,
    pub assistant_id: uuid::Uuid,
    pub model: String,
    pub meter: String,
}

/// A sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    pub quantity: i64,
    /// The part of the quantity that has no price.
    pub unpriced: i64,
    pub cost_nano_usd: i64,
    /// Rows.
    pub events: i64,
}

/// Adds to the summary. Needs a ledger transaction.
pub async fn add(conn: &mut Conn, sums: &[(Key, Sum)]) -> QueryResult<usize> {
    sql(
        "INSERT INTO usage_daily AS d (tenant_id, day, user_id, assistant_id, model, meter, quantity,
                                       unpriced, cost_nano_usd, events)
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (tenant_id, day, user_id, assistant_id, model, meter) DO UPDATE SET
           quantity = d.quantity + excluded.quantity, unpriced = d.unpriced + excluded.unpriced,
           cost_nano_usd = d.cost_nano_usd + excluded.cost_nano_usd, events = d.events + excluded.events",
    )
    .bind::<Array<Uuid>, _>(sums.iter().map(|(key, _)| key.tenant_id).collect::<Vec<_>>())
    .bind::<Array<Date>, _>(sums.iter().map(|(key, _)| key.day).collect::<Vec<_>>())
    .bind::<Array<Uuid>, _>(sums.iter().map(|(key, _)| key.user_id).collect::<Vec<_>>())
    .bind::<Array<Uuid>, _>(sums.iter().map(|(key, _)| key.assistant_id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(sums.iter().map(|(key, _)| key.model.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(sums.iter().map(|(key, _)| key.meter.as_str()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(sums.iter().map(|(_, sum)| sum.quantity).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(sums.iter().map(|(_, sum)| sum.unpriced).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(sums.iter().map(|(_, sum)| sum.cost_nano_usd).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(sums.iter().map(|(_, sum)| sum.events).collect::<Vec<_>>())
    .execute(conn)
    .await
}
