//! The ledger on its way to billing systems.
//!
//! Each exporter reads the sealed ledger behind a cursor of its own, which moves on only past rows that
//! the vendor has or that were parked. Ids are the ledger's: a row that is sent twice is one event.
//! Deliberately absent: memory of rows between rounds. A vendor may be away for as long as it likes;
//! what it missed is read again.

mod answer;
mod deliver;
mod exporter;
mod lago;
mod openmeter;
mod pace;
mod stripe;
mod vendor;
mod webhook;

pub use exporter::{Exporter, Round};
pub use pace::Pace;
pub use vendor::{NAMES, Vendor};
