//! Quota warnings: at 80 and at 100 per cent of a limit, once for each period.

use crate::store::quota_alerts::{self, QuotaAlert};
use crate::store::{Conn, entries::Entry};
use crate::types::{TenantId, UserId};
use diesel::QueryResult;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Warns of the limits that these rows brought their tenants and users near to. The counters have
/// moved before the rows could be seen, so nothing is missed.
pub(super) async fn warn<'a>(
    conn: &mut Conn,
    entries: impl Iterator<Item = &'a Entry>,
) -> QueryResult<()> {
    let (mut tenants, mut scopes) = (BTreeSet::<TenantId>::new(), BTreeSet::<Uuid>::new());
    for entry in entries {
        tenants.insert(entry.tenant_id);
        scopes.insert(entry.tenant_id.uuid());
        scopes.extend(entry.user_id.map(UserId::uuid));
    }
    let (tenants, scopes): (Vec<_>, Vec<_>) =
        (tenants.into_iter().collect(), scopes.into_iter().collect());
    if tenants.is_empty() {
        return Ok(());
    }
    let alerts = quota_alerts::insert_due(conn, &tenants, &scopes).await?;
    for alert in &alerts {
        note(alert);
    }
    Ok(())
}

/// Notes a warning; the outbox tells it.
fn note(alert: &QuotaAlert) {
    let percent = alert.percent.to_string();
    metrics::counter!("docent_quota_warnings_total", "percent" => percent).increment(1);
    tracing::info!(
        tenant.id = %alert.tenant_id, quota.scope = alert.scope, quota.period = alert.period,
        quota.meter = alert.meter, quota.percent = alert.percent, "A quota is being used up"
    );
}
