//! A ledger, a vendor, and exporters between them.

use super::desk::Desk;
use super::ledger::Ledger;
use docent::config::{Layers, Settings};
use docent::export::{Exporter, Pace, Round, Vendor};
use docent::runtime::Tasks;
use docent::store::{Db, DbOptions};
use docent::types::NodeId;
use std::time::Duration;
use tokio::process::Command;

/// The scene of one story.
pub struct Scene {
    pub ledger: Ledger,
    pub desk: Desk,
    pub exporter: &'static str,
    /// Settings by name, as in the environment.
    pub settings: Vec<(&'static str, String)>,
}

impl Scene {
    /// An exporter on a node of its own. It does not pause.
    pub fn node(&self) -> Exporter {
        let given = self.settings.iter().map(|(name, value)| ((*name).into(), value.clone()));
        let settings = Settings::load(Layers::new(given.collect()), true).unwrap();
        let vendors = Vendor::of(&settings.exports).unwrap();
        let vendor = vendors.into_iter().find(|vendor| vendor.name() == self.exporter).unwrap();
        let options = DbOptions {
            url: self.ledger.database.url.clone(),
            max_connections: 2,
            acquire: Duration::from_secs(30),
        };
        let db = Db::open(&options, &Tasks::current());
        let none = Duration::ZERO;
        Exporter::new(db, NodeId::new(), vendor, Pace { idle: none, base: none, cap: none })
    }

    /// Exports until there is nothing left to do.
    pub async fn export(&self, node: &Exporter) {
        let rounds = async { while node.round().await.unwrap() != Round::Idle {} };
        crate::support::within("the export", rounds).await;
    }

    /// The vendor has what the ledger says, and nothing is parked.
    pub async fn agree(&self) {
        assert_eq!(self.desk.book(|book| book.sums()), self.ledger.sums(self.exporter).await);
        assert_eq!(self.ledger.parked(self.exporter).await, Vec::<String>::new());
        assert_eq!(self.desk.book(|book| book.wrong.clone()), Vec::<String>::new());
    }

    /// Runs the program as an operator does; returns what it says.
    pub async fn operator(&self, args: &str) -> String {
        let run = Command::new(env!("CARGO_BIN_EXE_docent"))
            .args(args.split(' '))
            .current_dir(std::env::temp_dir())
            .env_clear()
            .env("DATABASE_URL", &self.ledger.database.url)
            .kill_on_drop(true)
            .output();
        let run = run.await.unwrap();
        assert!(run.status.success(), "{args}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    }
}
