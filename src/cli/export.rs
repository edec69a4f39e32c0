//! `docent export`: how far exporters are, what was parked, and who a tenant is at a vendor. A running
//! server does the sending: keys are there, and only one node sends at a time.

use super::{Failure, Target, open, say};
use crate::accounts::Directory;
use crate::export::NAMES;
use crate::store::exports::{self, Overview, Parked};
use clap::Subcommand;

/// The most parked rows that are shown.
const SHOWN: i64 = 1000;

#[derive(Subcommand)]
pub(super) enum ExportCommand {
    /// How far each exporter is.
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// The rows that a vendor refused, and why.
    Parked {
        #[arg(value_parser = NAMES)]
        exporter: String,
        #[command(flatten)]
        target: Target,
    },
    /// Have parked rows sent again, and an exporter go on at once that pauses or was disabled.
    Retry {
        #[arg(value_parser = NAMES)]
        exporter: String,
        /// The number of one row; default: all.
        seq: Option<i64>,
        #[command(flatten)]
        target: Target,
    },
    /// Say what a tenant is called at a vendor: a Stripe customer, a Lago subscription.
    Customer {
        #[arg(value_parser = NAMES)]
        exporter: String,
        /// Slug or id.
        tenant: String,
        external_id: String,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(command: ExportCommand) -> Result<(), Failure> {
    match command {
        ExportCommand::Status { target } => {
            let mut tx = open(&target).await?.ledger().await?;
            let all = exports::overview(&mut tx).await?;
            if all.is_empty() {
                say("No exporter has run yet.");
            }
            all.iter().for_each(say_overview);
        }
        ExportCommand::Parked { exporter, target } => {
            let mut tx = open(&target).await?.ledger().await?;
            for row in exports::parked(&mut tx, &exporter, SHOWN).await? {
                let Parked { ledger_seq, event_id, attempts, error, retry } = row;
                let waits = if retry { ", waits to be sent again" } else { "" };
                say(&format!("{ledger_seq}  {event_id}  {error} ({attempts} attempts{waits})"));
            }
        }
        ExportCommand::Retry { exporter, seq, target } => {
            let mut tx = open(&target).await?.ledger().await?;
            let rows = exports::retry(&mut tx, &exporter, seq).await?;
            tx.commit().await?;
            say(&format!("{rows} parked rows will be sent again by a running server."));
        }
        ExportCommand::Customer { exporter, tenant, external_id, target } => {
            let db = open(&target).await?;
            let tenant = Directory::new(db.clone()).find(&tenant).await?;
            let mut tx = db.ledger().await?;
            exports::name_customer(&mut tx, tenant.id, &exporter, &external_id).await?;
            tx.commit().await?;
            say(&format!("{} is {external_id} at {exporter}.", tenant.slug));
        }
    }
    Ok(())
}

fn say_overview(row: &Overview) {
    let Overview { exporter, ledger_seq, lag, parked, disabled, last_error } = row;
    let off = if *disabled { ", disabled by the receiver" } else { "" };
    let error = last_error.as_ref().map(|error| format!(", waits: {error}")).unwrap_or_default();
    say(&format!("{exporter}: at {ledger_seq}, {lag} behind, {parked} parked{off}{error}"));
}
