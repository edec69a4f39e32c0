//! One PostgreSQL per test process, one migrated template, one database per test.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use docent::dev::{self, Cluster};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
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

    /// The books: counters are the sums they stand for, nothing is over its limit, every ended turn
    /// is settled, and nothing is billed twice.
    pub async fn check_books(&self) {
        let wrong = self
            .texts(
                "SELECT 'counter differs: ' || d::text AS t FROM billing.differences_v1 d
                 UNION ALL
                 SELECT 'over its limit: ' || q::text FROM billing.quotas_v1 q WHERE hard AND used + reserved > max_amount
                 UNION ALL
                 SELECT 'ended but reserved: ' || r::text FROM reservations r
                   JOIN turns t ON t.tenant_id = r.tenant_id AND t.id = r.turn_id
                   WHERE r.state = 'open' AND t.state <> 'running'
                 UNION ALL
                 SELECT 'billed twice: ' || turn_id || ' ' || meter FROM usage_ledger
                   WHERE turn_id IS NOT NULL GROUP BY turn_id, step, meter HAVING count(*) > 1
                 UNION ALL
                 SELECT 'running but billed: ' || l.turn_id FROM usage_ledger l
                   JOIN turns t ON t.tenant_id = l.tenant_id AND t.id = l.turn_id
                   WHERE t.state = 'running'
                 UNION ALL
                 SELECT 'complete but not billed: ' || t.id FROM turns t
                   WHERE t.state = 'complete' AND NOT EXISTS (
                     SELECT FROM usage_ledger l WHERE l.tenant_id = t.tenant_id AND l.turn_id = t.id)
                 UNION ALL
                 SELECT 'another user''s: ' || l.event_id FROM usage_ledger l
                   JOIN turns t ON t.tenant_id = l.tenant_id AND t.id = l.turn_id
                   WHERE t.user_id <> l.user_id",
            )
            .await;
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
