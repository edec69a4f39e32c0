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
pub(super) async fn lock_period(
    conn: &mut Conn,
    tenant: TenantId,
    user: UserId,
    period: Period,
) -> QueryResult<Vec<Quota>> {
    let rows = Quota::lock(conn, tenant, user, period).await?;
    if complete(&rows) {
        return Ok(rows);
    }
    quotas::open(conn, tenant, tenant.uuid(), period).await?;
    Quota::lock(conn, tenant, user, period).await?; // the tenant's, before the user's are made
    quotas::open(conn, tenant, user.uuid(), period).await?;
    Quota::lock(conn, tenant, user, period).await
}

/// The rows of both scopes, as they stand; missing ones are made.
///
/// # Errors
/// When a query fails.
pub async fn read_period(
    conn: &mut Conn,
    tenant: TenantId,
    user: UserId,
    period: Period,
) -> QueryResult<Vec<Quota>> {
    let rows = Quota::load(conn, tenant, user, period).await?;
    if complete(&rows) { Ok(rows) } else { lock_period(conn, tenant, user, period).await }
}

/// Each meter has a row in both scopes.
fn complete(rows: &[Quota]) -> bool {
    rows.len() == 2 * Meter::ALL.len()
}
