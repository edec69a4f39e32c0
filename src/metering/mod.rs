//! The bill. The ledger is the truth, the counters of the quotas a projection of it.
//!
//! Admission reserves the most a turn can use; settlement appends what it did use and moves the
//! counters in the same transaction. A turn is settled by whoever closes its reservation, so a
//! crash, a retry and the sweeper cannot bill it twice.

mod bill;
mod chain;
mod correct;
mod months;
mod price_list;
mod reserve;
mod seal;
mod settle;
mod usage;
mod verify;
mod warn;

pub use bill::{Bill, Item, Prices, Source, StepBill};
pub use chain::{FORMAT, moment};
pub use correct::{Correction, correct};
pub use months::{close_months, make_months, retain};
pub use price_list::{LIST, PriceError, load_prices};
pub use reserve::{Ask, Grant, QuotaExceeded, ReserveError, extend, quote, reserve};
pub use seal::{Pass, seal};
pub use settle::{adjust, bill_now, bill_used, release_document, settle_turn};
pub use usage::{Group, Overview, Slice, Totals, Typical, overview, typical};
pub use verify::{Report, verify, verify_on};
