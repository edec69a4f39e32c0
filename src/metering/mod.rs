//! The bill. The ledger is the truth, `quotas` a projection of it.
//!
//! Admission reserves the most a turn can use; settlement appends what it did use and moves the
//! counters in the same transaction. A turn is settled by whoever closes its open reservations, so a
//! crash, a retry and the sweeper cannot bill it twice.

mod bill;
mod period;
mod reserve;
mod settle;
mod usage;

pub use bill::{Bill, Item};
pub use period::read_period;
pub use reserve::{Ask, Grant, QuotaExceeded, ReserveError, reserve};
pub use settle::{bill_document, settle_turn};
pub use usage::{Overview, Totals, overview};
