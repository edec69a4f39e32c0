//! What the operator changed for everybody. What was done to one tenant is in `audit_log`.

use super::Conn;
use super::schema::operator_log;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;

#[derive(Clone, Debug, Insertable, Queryable, Selectable)]
#[diesel(table_name = operator_log)]
pub struct Noted {
    pub id: uuid::Uuid,
    pub actor: String,
    pub action: String,
    pub detail: Value,
    pub request_id: Option<String>,
}

impl Noted {
    /// Needs a system transaction, that of the change.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(operator_log::table).values(self).execute(conn).await?;
        Ok(())
    }

    /// With their times, newest first.
    pub async fn list(conn: &mut Conn, limit: i64) -> QueryResult<Vec<(Self, DateTime<Utc>)>> {
        operator_log::table
            .order((operator_log::created_at.desc(), operator_log::id.desc()))
            .limit(limit)
            .select((Self::as_select(), operator_log::created_at))
            .load(conn)
            .await
    }
}
