//! The check of the books: what can be derived is derived anew and compared, and what is chained is
//! hashed anew. It reads one snapshot and changes nothing, so it may run beside everything else.

use super::chain;
use crate::store::entries::{self, Entry, Sealed};
use crate::store::ledger_checks::{self, Chain};
use crate::store::ledger_state::{self, Duty};
use crate::store::seals::Seal;
use crate::store::{Conn, Db, DbError, Tx};
use crate::types::TenantId;
use diesel_async::SimpleAsyncConnection;
use std::collections::HashMap;

/// Rows in memory at once.
const PAGE: i64 = 2_000;

/// The most differences that are named; more are counted.
const NAMED: usize = 1_000;

/// How far back the regular check looks at counters, in days: the month that runs, and the one that
/// has just ended.
const RECENT_DAYS: f64 = 62.0;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows that were hashed.
    pub rows: u64,
    /// Tenants that have any.
    pub tenants: usize,
    /// How much is wrong; 0 is what it should be.
    pub found: u64,
    /// A sentence for each, as far as there is room.
    pub differences: Vec<String>,
}

impl Report {
    fn add(&mut self, what: String) {
        self.found += 1;
        if self.differences.len() < NAMED {
            self.differences.push(what);
        }
    }

    fn extend(&mut self, found: Vec<String>) {
        found.into_iter().for_each(|what| self.add(what));
    }
}

/// Checks everything, of all tenants or of one.
///
/// # Errors
/// When the database cannot be asked.
pub async fn verify(db: &Db, tenant: Option<TenantId>) -> Result<Report, DbError> {
    let mut tx = snapshot(db).await?;
    let mut report = Report::default();
    read_chain(&mut tx, tenant, 0, &mut report).await?;
    report.extend(ledger_checks::forgotten(&mut tx, tenant).await?);
    report.extend(ledger_checks::counters(&mut tx, tenant, f64::INFINITY).await?);
    report.extend(ledger_checks::overdue(&mut tx, tenant).await?);
    report.extend(ledger_checks::daily(&mut tx, tenant).await?);
    report.extend(ledger_checks::late(&mut tx, tenant).await?);
    Ok(report)
}

/// The regular check, when the last one is `every` seconds ago and no other node is at it: the rows
/// since the last that was checked, recent counters and reservations.
///
/// # Errors
/// When the database cannot be asked.
pub async fn verify_on(db: &Db, every: f64) -> Result<Option<Report>, DbError> {
    let mut tx = db.ledger().await?;
    if !ledger_state::take_duty(&mut tx, Duty::Verify).await? {
        return Ok(None);
    }
    let extent = ledger_state::extent(&mut tx, every).await?;
    if !extent.verification_due {
        return Ok(None);
    }
    // It holds the duty while another transaction reads.
    tx.batch_execute("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
    let mut reading = snapshot(db).await?;
    let mut report = Report::default();
    let last = read_chain(&mut reading, None, extent.verified_seq, &mut report).await?;
    report.extend(ledger_checks::counters(&mut reading, None, RECENT_DAYS).await?);
    report.extend(ledger_checks::overdue(&mut reading, None).await?);
    // What is wrong is read again next time, until somebody has seen to it.
    let verified = if report.found == 0 { last } else { extent.verified_seq };
    ledger_state::set_verified(&mut tx, verified).await?;
    tx.commit().await?;
    metrics::counter!("docent_ledger_verified_rows_total").increment(report.rows);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("docent_ledger_differences").set(report.found as f64);
    for difference in &report.differences {
        tracing::error!(difference, "The books are wrong");
    }
    Ok(Some(report))
}

/// One snapshot for all questions; they take as long as they take.
async fn snapshot(db: &Db) -> Result<Tx, DbError> {
    let mut tx = db.ledger().await?;
    tx.batch_execute(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = 0",
    )
    .await?;
    Ok(tx)
}

/// Hashes the rows after the number `since` (of all tenants; 0 for one) page by page; returns the
/// last number.
async fn read_chain(
    conn: &mut Conn,
    tenant: Option<TenantId>,
    since: i64,
    report: &mut Report,
) -> Result<i64, DbError> {
    let extent = ledger_state::extent(conn, 0.0).await?;
    let chains = ledger_checks::chains(conn, tenant, since).await?;
    report.tenants = chains.len();
    for chain in &chains {
        if chain.from_seq == 0 && chain.from_hash != chain::genesis(chain.tenant_id) {
            report.add(format!(
                "the chain of tenant {} begins wrongly: see ledger_heads",
                chain.tenant_id
            ));
        }
    }
    let chains = chains.into_iter().map(|chain| (chain.tenant_id, chain)).collect();
    let mut reader = Reader { chains, last: since.max(extent.base_seq), whole: tenant.is_none() };
    let mut place = since;
    loop {
        let page = entries::sealed_after(conn, tenant, place, PAGE).await?;
        for row in &page {
            reader.read(row, report);
        }
        report.rows += page.len() as u64;
        let Some((seal, ..)) = page.last() else { break };
        place = if reader.whole { seal.ledger_seq } else { seal.tenant_seq };
    }
    reader.finish(extent.ledger_seq, report);
    Ok(reader.last)
}

/// Where reading is.
struct Reader {
    /// `from_*` move along.
    chains: HashMap<TenantId, Chain>,
    /// The last number of all.
    last: i64,
    /// All tenants are read: no number may be missing.
    whole: bool,
}

impl Reader {
    fn read(&mut self, (seal, entry, expected): &Sealed, report: &mut Report) {
        if self.whole && seal.ledger_seq > self.last {
            self.count_to(seal.ledger_seq - 1, report);
            self.last = seal.ledger_seq;
        }
        let before = self.step(seal, report);
        let Some(entry) = entry else {
            return report.add(format!("{} is sealed, but not in usage_ledger", named(seal)));
        };
        let hash = |before: Vec<u8>| chain::link(&before, seal.ledger_seq, seal.tenant_seq, entry);
        if before.is_some_and(|before| hash(before) != seal.hash) {
            report.add(format!(
                "{} has another hash than it was sealed with: it, its number or its seal was changed, \
                 see usage_ledger and ledger_seals",
                named(seal)
            ));
        }
        if !rightly_priced(entry, *expected) {
            report.add(format!(
                "{} costs {}, and by its price ({}) it should be {}: see prices and tenant_prices",
                named(seal),
                or_unknown(entry.cost_nano_usd),
                entry.price_version.as_deref().unwrap_or("none"),
                or_unknown(*expected),
            ));
        }
    }

    /// Goes one link on; returns the hash before this one, where that is known.
    fn step(&mut self, seal: &Seal, report: &mut Report) -> Option<Vec<u8>> {
        let Some(chain) = self.chains.get_mut(&seal.tenant_id) else {
            report.add(format!("{} is of a chain that is not in ledger_heads", named(seal)));
            return None;
        };
        if seal.tenant_seq <= chain.from_seq {
            return None; // of a month that is kept, among rows that are not
        }
        let expected = chain.from_seq + 1;
        let before = std::mem::replace(&mut chain.from_hash, seal.hash.clone());
        chain.from_seq = seal.tenant_seq;
        if seal.tenant_seq == expected {
            return Some(before);
        }
        let (tenant, until) = (seal.tenant_id, seal.tenant_seq - 1);
        report.add(format!(
            "rows {expected} to {until} of tenant {tenant} are missing: see ledger_seals"
        ));
        None
    }

    /// Whatever is counted must have come.
    fn count_to(&mut self, number: i64, report: &mut Report) {
        if self.last < number {
            let first = self.last + 1;
            report.add(format!(
                "numbers {first} to {number} of the ledger are missing: see ledger_seals"
            ));
        }
    }

    fn finish(&mut self, ledger_seq: i64, report: &mut Report) {
        if self.whole {
            self.count_to(ledger_seq, report);
        }
        for chain in self.chains.values() {
            if (chain.from_seq, &chain.from_hash) != (chain.tenant_seq, &chain.hash) {
                report.add(format!(
                    "the chain of tenant {} ends at row {}, ledger_heads says that it ends at {}, or with \
                     another hash: see ledger_seals",
                    chain.tenant_id, chain.from_seq, chain.tenant_seq
                ));
            }
        }
    }
}

fn named(seal: &Seal) -> String {
    format!("row {} (event {}) of tenant {}", seal.tenant_seq, seal.event_id, seal.tenant_id)
}

fn or_unknown(cost: Option<i64>) -> String {
    cost.map_or_else(|| "unknown".into(), |cost| cost.to_string())
}

/// Usage costs what its price says, and nothing is known without one. A correction costs what
/// somebody wrote.
fn rightly_priced(entry: &Entry, expected: Option<i64>) -> bool {
    entry.meter == "correction" || entry.kind == "refund" || entry.cost_nano_usd == expected
}
