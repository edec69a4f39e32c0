//! One PostgreSQL per test process, one migrated template, one database per test.

use super::books;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use docent::dev::{self, Cluster};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};

const TEMPLATE: &str = "docent_template";

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
/// `CREATE DATABASE … TEMPLATE` wants nobody else to use the template.
static CLONING: Mutex<()> = Mutex::const_new(());
static NEXT: AtomicUsize = AtomicUsize::new(0);

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    t: String,
}

/// A database of its own.
#[derive(Clone, Debug)]
pub struct Database {
    pub url: String,
}

impl Database {
    /// A migrated one.
    pub async fn fresh() -> Self {
        let cluster = CLUSTER.get_or_init(cluster).await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let _one_at_a_time = CLONING.lock().await;
        let mut conn = connect(&cluster.url("postgres")).await;
        let create = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy");
        conn.batch_execute(&create).await.expect("the template can be cloned");
        Self { url: cluster.url(&name) }
    }

    /// An empty one.
    pub async fn empty() -> Self {
        let cluster = CLUSTER.get_or_init(cluster).await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.create_database_if_missing(&name).await.expect("a database can be made");
        Self { url: cluster.url(&name) }
    }

    /// What is in it now, in another one: dumped as the README says, and restored.
    pub async fn copy(&self) -> Self {
        let cluster = CLUSTER.get_or_init(cluster).await;
        let program = |name: &str| cluster.installation().bin.join(name);
        let dump = Command::new(program("pg_dump"))
            .args(["--format", "custom", "--dbname", &self.url])
            .output()
            .await
            .expect("pg_dump runs");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let copy = Self::empty().await;
        let mut restore = Command::new(program("pg_restore"))
            .args(["--exit-on-error", "--dbname", &copy.url])
            .stdin(Stdio::piped())
            .spawn()
            .expect("pg_restore runs");
        let mut input = restore.stdin.take().expect("it reads");
        input.write_all(&dump.stdout).await.expect("it takes the dump");
        drop(input);
        assert!(restore.wait().await.expect("it ends").success(), "the dump can be restored");
        copy
    }

    /// A connection of the superuser, past row-level security.
    pub async fn connect(&self) -> AsyncPgConnection {
        connect(&self.url).await
    }

    /// Runs statements as the superuser.
    pub async fn run(&self, sql: &str) {
        self.connect().await.batch_execute(sql).await.expect(sql);
    }

    /// The first column, called `n`, of the first row.
    pub async fn number(&self, sql: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let mut conn = self.connect().await;
        diesel::sql_query(sql).get_result::<Row>(&mut conn).await.expect(sql).n
    }

    /// The column `t` of all rows.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let mut conn = self.connect().await;
        let rows: Vec<TextRow> = diesel::sql_query(sql).load(&mut conn).await.expect(sql);
        rows.into_iter().map(|row| row.t).collect()
    }

    /// Waits until `sql` counts something. It looks again and again because PostgreSQL has nobody to
    /// tell; how long that takes decides nothing.
    pub async fn until(&self, sql: &str) {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        for _ in 0..6_000 {
            look.tick().await;
            if self.number(sql).await > 0 {
                return;
            }
        }
        panic!("this never came true: {sql}");
    }

    /// Like [`Database::texts`], as the program asks: in the role of a tenant's work, for `tenant`.
    pub async fn texts_as_app(&self, tenant: Option<&str>, sql: &str) -> Vec<String> {
        let mut conn = self.connect().await;
        let tenant = tenant.unwrap_or_default();
        conn.batch_execute(&format!(
            "BEGIN; SET LOCAL ROLE docent_app; SELECT set_config('docent.tenant_id', '{tenant}', true)"
        ))
        .await
        .unwrap();
        let rows: Vec<TextRow> = diesel::sql_query(sql).load(&mut conn).await.expect(sql);
        rows.into_iter().map(|row| row.t).collect()
    }

    /// The books are right, by every rule that the database can answer for.
    pub async fn check_books(&self) {
        let wrong = books::wrong(&mut self.connect().await).await;
        assert!(wrong.is_empty(), "the books are wrong:\n{}", wrong.join("\n"));
    }
}

async fn cluster() -> Cluster {
    let cluster = dev::throwaway().await.expect("PostgreSQL with pgvector can be had");
    cluster.create_database_if_missing(TEMPLATE).await.expect("a database can be made");
    docent::store::migrate(&cluster.url(TEMPLATE)).await.expect("the migrations run");
    cluster
}

async fn connect(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.expect("PostgreSQL answers")
}
