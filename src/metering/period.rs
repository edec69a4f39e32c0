//! The rows of a period: made when somebody first needs them, and always locked in the same order,
//! the tenant's before the user's.

use crate::store::Conn;
use crate::store::quotas::{self, Period, Quota};
use crate::types::{Meter, TenantId, UserId};
use diesel::QueryResult;

/// The rows of both scopes, locked; missing ones are made.
///
/// # Errors
/// When a query fails.
pub async fn lock_period(
    conn: &mut Conn,
    tenant: TenantId,
    user: UserId,
    period: Period,
) -> QueryResult<Vec<Quota>> {
    let rows = Quota::lock(conn, tenant, user, period).await?;
    if rows.len() == 2 * Meter::ALL.len() {
        return Ok(rows);
    }
    quotas::open(conn, tenant, tenant.uuid(), period).await?;
    Quota::lock(conn, tenant, user, period).await?; // the tenant's, before the user's are made
    quotas::open(conn, tenant, user.uuid(), period).await?;
    Quota::lock(conn, tenant, user, period).await
}
