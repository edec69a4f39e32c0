//! The chain: each row of a tenant's ledger is hashed together with the hash before it, so a row
//! cannot be changed, moved or taken out without changing every hash after it.
//!
//! A row is hashed as one line of text, as PostgreSQL's COPY would write it. `docs/ledger.md` spells
//! it out, so that whoever has a receipt can check it without us.

use crate::store::entries::Entry;
use crate::types::TenantId;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::fmt::Display;

/// The version of the line: its first field, and in the first hash.
pub const FORMAT: u8 = 1;

/// What a tenant's first row is hashed with.
#[must_use]
pub(super) fn genesis(tenant: TenantId) -> Vec<u8> {
    Sha256::digest(format!("docent ledger {FORMAT}\n{tenant}")).to_vec()
}

/// The hash of a row with these numbers.
#[must_use]
pub(super) fn link(before: &[u8], ledger_seq: i64, tenant_seq: i64, entry: &Entry) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(line(ledger_seq, tenant_seq, entry));
    hash.finalize().to_vec()
}

/// A moment as it is hashed and shown: in UTC, with microseconds.
#[must_use]
pub fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// The canonical text of a row; its fields are in the order of `docs/ledger.md`.
fn line(ledger_seq: i64, tenant_seq: i64, entry: &Entry) -> String {
    let fields = [
        FORMAT.to_string(),
        ledger_seq.to_string(),
        entry.tenant_id.to_string(),
        tenant_seq.to_string(),
        entry.event_id.to_string(),
        entry.month.to_string(),
        escaped(&entry.kind),
        optional(entry.user_id),
        optional(entry.assistant_id),
        optional(entry.turn_id),
        optional(entry.document_id),
        entry.step.to_string(),
        escaped(&entry.meter),
        entry.quantity.to_string(),
        escaped(&entry.provenance),
        entry.model.as_deref().map_or_else(null, escaped),
        entry.price_version.as_deref().map_or_else(null, escaped),
        optional(entry.cost_nano_usd),
        moment(entry.period_start),
        moment(entry.day_start),
        moment(entry.occurred_at),
    ];
    fields.join("\t") + "\n"
}

fn null() -> String {
    "\\N".into()
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or_else(null, |value| value.to_string())
}

/// No field contains what ends it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;
    use uuid::Uuid;

    fn entry() -> Entry {
        let id = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);
        let at = DateTime::from_timestamp_micros(1_795_000_000_000_250).unwrap();
        Entry {
            tenant_id: id.into(),
            event_id: id,
            month: NaiveDate::from_ymd_opt(2026, 11, 1).unwrap(),
            kind: "usage".into(),
            user_id: Some(id.into()),
            assistant_id: None,
            turn_id: Some(id.into()),
            document_id: None,
            step: 0,
            meter: "input_tokens".into(),
            quantity: 1200,
            provenance: "exact".into(),
            model: Some("a\tb\\c\nd".into()),
            price_version: None,
            cost_nano_usd: Some(180_000),
            period_start: at,
            day_start: at,
            occurred_at: at,
        }
    }

    #[test]
    fn the_line_is_as_documented() {
        let id = "01920000-0000-7000-8000-000000000001";
        let at = "2026-11-18T11:06:40.000250Z";
        let expected = format!(
            "1\t7\t{id}\t3\t{id}\t2026-11-01\tusage\t{id}\t\\N\t{id}\t\\N\t0\tinput_tokens\t1200\texact\t\
             a\\tb\\\\c\\nd\t\\N\t180000\t{at}\t{at}\t{at}\n"
        );
        assert_eq!(line(7, 3, &entry()), expected);
    }

    #[test]
    fn nothing_empty_missing_and_escaped_are_told_apart() {
        let with = |model: Option<&str>| {
            link(&[], 1, 1, &Entry { model: model.map(Into::into), ..entry() })
        };
        let all = [None, Some(""), Some("\\N"), Some("N"), Some("\t"), Some("\\t")].map(with);
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn a_chain_depends_on_its_tenant_and_on_all_before() {
        let other = TenantId::from(Uuid::nil());
        assert_ne!(genesis(other), genesis(entry().tenant_id));
        let first = link(&genesis(other), 1, 1, &entry());
        assert_ne!(link(&first, 2, 2, &entry()), link(&genesis(other), 2, 2, &entry()));
    }
}
