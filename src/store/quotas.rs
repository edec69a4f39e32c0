//! Quotas as they stand: limit, used and held.

use super::Conn;
use super::reservations::Limit;
use super::sql::sql;
use crate::types::{TenantId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;

/// One meter of a scope in its current period.
#[derive(Clone, Debug, QueryableByName)]
pub struct Quota {
    /// tenant or user.
    #[diesel(sql_type = Text)]
    pub scope: String,
    /// day, month, or total for a level.
    #[diesel(sql_type = Text)]
    pub period: String,
    #[diesel(sql_type = Text)]
    pub meter: String,
    /// `None`: counted, not limited.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub max_amount: Option<i64>,
    #[diesel(sql_type = Bool)]
    pub hard: bool,
    #[diesel(sql_type = BigInt)]
    pub used: i64,
    #[diesel(sql_type = BigInt)]
    pub reserved: i64,
    #[diesel(sql_type = Timestamptz)]
    pub period_start: DateTime<Utc>,
    /// `None` of a level.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub period_end: Option<DateTime<Utc>>,
}

impl Quota {
    /// Of a user and of their tenant, the user's first, month before day.
    pub async fn load(mut conn: &Conn, tenant: TenantId, user: UserId) -> QueryResult<Vec<Self>> {
        sql("SELECT * FROM quota_now($1, $2)")
            .bind::<Uuid, _>(tenant)
            .bind::<Uuid, _>(user)
            .load(&mut conn)
            .await
    }

    /// As a limit, where it is limited.
    #[must_use]
    pub fn limit(self) -> Option<Limit> {
        Some(Limit {
            max_amount: self.max_amount?,
            scope: self.scope,
            period: self.period,
            meter: self.meter,
            used: self.used,
            reserved: self.reserved,
            resets_at: self.period_end,
        })
    }
}
