//! The ledger's way to billing systems: vendors are real HTTP servers that keep to what the vendor
//! documents, and what they have is compared with the ledger.

mod desk;
mod ledger;
mod notices;
mod scene;
mod server;
mod stories;
mod vendor_lago;
mod vendor_openmeter;
mod vendor_stripe;
mod vendor_webhook;
