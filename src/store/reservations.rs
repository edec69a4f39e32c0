//! What open turns may still use, per meter.

use super::Conn;
use super::schema::reservations;
use crate::types::{TenantId, TurnId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = reservations)]
pub struct Reservation {
    pub tenant_id: TenantId,
    pub turn_id: TurnId,
    pub meter: String,
    pub user_id: UserId,
    pub period_start: DateTime<Utc>,
    pub amount: i64,
}

pub async fn insert(conn: &mut Conn, rows: &[Reservation]) -> QueryResult<()> {
    diesel::insert_into(reservations::table).values(rows).execute(conn).await?;
    Ok(())
}

/// Closes the open reservations of a turn and returns them: whoever gets them settles, once.
pub async fn settle(
    conn: &mut Conn,
    tenant: TenantId,
    turn: TurnId,
) -> QueryResult<Vec<Reservation>> {
    diesel::update(
        reservations::table.filter(
            reservations::tenant_id
                .eq(tenant)
                .and(reservations::turn_id.eq(turn))
                .and(reservations::state.eq("open")),
        ),
    )
    .set(reservations::state.eq("settled"))
    .returning(Reservation::as_returning())
    .get_results(conn)
    .await
}
