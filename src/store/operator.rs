//! What the operator changes of a tenant: limits, top-ups, plan and calendar; and the record of it.

use super::Conn;
use super::schema::{audit_log, quota_overrides, tenants};
use super::sql::sql;
use crate::types::{TenantId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Uuid};
use diesel_async::RunQueryDsl;
use serde_json::Value;

/// Something that was done to a tenant from outside.
#[derive(Clone, Debug, Insertable, Queryable, Selectable)]
#[diesel(table_name = audit_log)]
pub struct Audit {
    pub tenant_id: TenantId,
    pub id: uuid::Uuid,
    pub actor: String,
    pub action: String,
    pub detail: Value,
    pub request_id: Option<String>,
}

impl Audit {
    /// False when it is there already: the same thing was done before.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<bool> {
        let rows = diesel::insert_into(audit_log::table)
            .values(self)
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        Ok(rows == 1)
    }

    /// With their times, newest first.
    pub async fn list(
        conn: &mut Conn,
        tenant: TenantId,
        limit: i64,
    ) -> QueryResult<Vec<(Self, DateTime<Utc>)>> {
        audit_log::table
            .filter(audit_log::tenant_id.eq(tenant))
            .order((audit_log::created_at.desc(), audit_log::id.desc()))
            .limit(limit)
            .select((Self::as_select(), audit_log::created_at))
            .load(conn)
            .await
    }
}

/// A limit of a tenant's or a user's own.
#[derive(Clone, Debug, Insertable, AsChangeset)]
#[diesel(table_name = quota_overrides, treat_none_as_null = true)]
pub struct Override {
    pub tenant_id: TenantId,
    pub scope: String,
    pub scope_id: uuid::Uuid,
    pub period: String,
    pub meter: String,
    pub max_amount: Option<i64>,
    pub hard: bool,
}

impl Override {
    /// In place of what was there.
    pub async fn set(&self, conn: &mut Conn) -> QueryResult<()> {
        use quota_overrides::{meter, period, scope, scope_id, tenant_id};
        diesel::insert_into(quota_overrides::table)
            .values(self)
            .on_conflict((tenant_id, scope, scope_id, period, meter))
            .do_update()
            .set(self)
            .execute(conn)
            .await?;
        Ok(())
    }

    /// The plan's limit holds again; false when it did.
    pub async fn clear(&self, conn: &mut Conn) -> QueryResult<bool> {
        let key = (self.tenant_id, &self.scope, self.scope_id, &self.period, &self.meter);
        Ok(diesel::delete(quota_overrides::table.find(key)).execute(conn).await? == 1)
    }
}

/// More of a meter in the period that is open now.
#[derive(Clone, Debug)]
pub struct TopUp {
    pub id: uuid::Uuid,
    pub user: Option<UserId>,
    pub period: String,
    pub meter: String,
    pub amount: i64,
}

impl TopUp {
    /// Once per id.
    pub async fn add(&self, conn: &mut Conn, tenant: TenantId) -> QueryResult<()> {
        let (scope, scope_id) = match self.user {
            Some(user) => ("user", user.uuid()),
            None => ("tenant", tenant.uuid()),
        };
        sql(
            "INSERT INTO quota_topups (tenant_id, id, scope, scope_id, period, period_start, meter, amount)
             SELECT $1, $2, $3, $4, $5, CASE $5 WHEN 'day' THEN p.day_start ELSE p.month_start END, $6, $7
             FROM current_periods($1) p ON CONFLICT DO NOTHING",
        )
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(self.id)
        .bind::<Text, _>(scope)
        .bind::<Uuid, _>(scope_id)
        .bind::<Text, _>(&self.period)
        .bind::<Text, _>(&self.meter)
        .bind::<BigInt, _>(self.amount)
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Plan and time zone, where they are given.
#[derive(Clone, Debug, AsChangeset)]
#[diesel(table_name = tenants)]
pub struct TenantChange {
    pub plan: Option<String>,
    pub time_zone: Option<String>,
}

impl TenantChange {
    /// From the next turn on; a period that has begun goes on to its end.
    pub async fn apply(&self, conn: &mut Conn, tenant: TenantId) -> QueryResult<usize> {
        diesel::update(tenants::table.find(tenant)).set(self).execute(conn).await
    }
}
