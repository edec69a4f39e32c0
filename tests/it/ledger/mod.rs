//! The ledger keeps its word: every row is numbered once, nothing that was sealed can be changed
//! without being found, and a customer can check their own receipt.

mod cuts;
mod months;
mod proof;
mod receipt;
mod rules;
mod sealing;
mod storm;
mod tampering;

use crate::support::Database;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use docent::accounts::{NewTenant, create_tenant};
use docent::metering::seal;
use docent::runtime::Tasks;
use docent::store::{Db, DbOptions};
use std::time::Duration;
use tokio::process::Command;
use uuid::Uuid;

/// Waits for the sealer.
const UNSEALED: &str = "SELECT count(*) AS n FROM ledger_batches";
const ALL_SEALED: &str = "SELECT (count(*) = 0)::int::bigint AS n FROM ledger_batches";

/// The books without a server: nothing is sealed before a test says so.
struct Books {
    database: Database,
    db: Db,
}

impl Books {
    /// Of these tenants.
    async fn of(tenants: &[&str]) -> Self {
        let database = Database::fresh().await;
        let db = open(&database).await;
        for slug in tenants {
            let (slug, name, plan) = ((*slug).into(), (*slug).into(), "pro".into());
            let new = NewTenant { slug, name, plan, allow_signup: false, time_zone: "UTC".into() };
            create_tenant(&db, new).await.unwrap();
        }
        Self { database, db }
    }

    /// Bills a document of so many pages, as the program does; returns the event.
    async fn bill(&self, tenant: &str, pages: i64) -> String {
        bill(&mut self.database.connect().await, tenant, pages, Uuid::now_v7()).await
    }

    /// Seals what waits.
    async fn seal(&self) {
        while seal(&self.db).await.unwrap().more {}
    }

    /// Seals until `sql` counts something: transactions of other tests hold the watermark back, too.
    async fn seal_until(&self, sql: &str) {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..6_000 {
            look.tick().await;
            self.seal().await;
            if self.database.number(sql).await > 0 {
                return;
            }
        }
        panic!("this never came true: {sql}");
    }

    /// The check says that the books are right, and how much it has read.
    async fn are_right(&self) -> String {
        let (code, out) = verify(&self.database, &[]).await;
        assert_eq!(code, Some(0), "{out}");
        out.trim().to_owned()
    }

    /// The check says that they are wrong, in these lines, and exits with 1.
    async fn are_wrong(&self) -> Vec<String> {
        let (code, out) = verify(&self.database, &[]).await;
        assert_eq!(code, Some(1), "{out}");
        out.lines().map(str::to_owned).collect()
    }
}

async fn open(database: &Database) -> Db {
    let (url, acquire) = (database.url.clone(), Duration::from_secs(30));
    let options = DbOptions { url, max_connections: 3, acquire };
    Db::open(&options, &Tasks::current())
}

async fn bill(conn: &mut AsyncPgConnection, tenant: &str, pages: i64, document: Uuid) -> String {
    let event = Uuid::now_v7().to_string();
    let row = |event: &str, meter: &str, n: i64| {
        format!(
            r#"{{"event_id":"{event}","kind":"usage","document_id":"{document}","step":0,"meter":"{meter}",
                "quantity":{n},"provenance":"exact"}}"#
        )
    };
    let rows = [row(&event, "pages", pages), row(&Uuid::now_v7().to_string(), "stored_bytes", 100)];
    let sql = format!(
        "SELECT bill_now(tenant_id, NULL, NULL, '{document}', '[{}]', false) FROM tenants WHERE slug = '{tenant}'",
        rows.join(",")
    );
    conn.batch_execute(&sql).await.expect("it is billed");
    event
}

/// `docent ledger verify`: its exit code and what it prints.
async fn verify(database: &Database, more: &[&str]) -> (Option<i32>, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_docent"))
        .args(["ledger", "verify", "--database-url", &database.url])
        .args(more)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .kill_on_drop(true)
        .output();
    let output = run.await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("panicked"), "{error}");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}
