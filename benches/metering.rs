//! Admission and settlement: a reservation and its settlement, two durable transactions, for one
//! tenant and for a hundred, with the tenant's counter in one row and in sixteen, beside a bare
//! `UPDATE … RETURNING` of one row and of a hundred with the same durability. A load program, run
//! with `cargo bench --bench metering`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    reason = "a load program: a failure ends it"
)]

mod support;

use diesel_async::RunQueryDsl;
use docent::accounts::{NewTenant, add_user, create_tenant};
use docent::dev::{Cluster, Options};
use docent::metering::{self, Ask, Bill, Item, Prices, Source, StepBill};
use docent::runtime::Tasks;
use docent::store::prices::Price;
use docent::store::{Db, DbOptions};
use docent::types::{AssistantId, Ctx, Meter, NodeId, Role, TurnId};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Database, percentile};

const TENANTS: usize = 100;
/// At once, each with a user of its own per tenant.
const CALLERS: [usize; 3] = [1, 8, 32];
const LASTS: Duration = Duration::from_secs(4);

/// What one kind of transaction took.
struct Outcome {
    per_second: f64,
    /// In milliseconds.
    p50: f64,
    p99: f64,
}

/// Runs `work` in so many tasks for a while.
async fn load<F>(callers: usize, work: impl Fn(usize, usize) -> F) -> Outcome
where
    F: Future<Output = ()> + Send + 'static,
{
    let (began, next) = (Instant::now(), AtomicUsize::new(0));
    let mut all = Vec::new();
    let runs = (0..callers).map(|caller| {
        let (work, next) = (&work, &next);
        async move {
            let mut took = Vec::new();
            while began.elapsed() < LASTS {
                let at = Instant::now();
                tokio::spawn(work(caller, next.fetch_add(1, Ordering::Relaxed))).await.unwrap();
                took.push(at.elapsed());
            }
            took
        }
    });
    for took in futures_util::future::join_all(runs).await {
        all.extend(took);
    }
    let per_second = all.len() as f64 / began.elapsed().as_secs_f64();
    Outcome { per_second, p50: percentile(all.clone(), 50), p99: percentile(all, 99) }
}

struct Office {
    db: Db,
    /// Tenants, each with as many users as there are callers.
    people: Vec<Vec<Ctx>>,
    price: Price,
    models: [String; 1],
    /// How long reserving took, and settling.
    halves: Mutex<[Vec<Duration>; 2]>,
}

impl Office {
    async fn open(database: &Database) -> Self {
        let options = DbOptions {
            url: database.url.clone(),
            max_connections: 32,
            acquire: Duration::from_secs(30),
        };
        let db = Db::open(&options, &Tasks::current());
        let mut people = Vec::new();
        for n in 0..TENANTS {
            let new = NewTenant {
                slug: format!("t{n}"),
                name: "T".into(),
                plan: "enterprise".into(),
                allow_signup: false,
                time_zone: "UTC".into(),
            };
            let tenant = create_tenant(&db, new).await.unwrap();
            let mut users = Vec::new();
            for caller in 0..CALLERS[2] {
                let email = format!("u{caller}@t{n}.test");
                let user = add_user(&db, &tenant, &email, "U", Role::Member).await.unwrap().id;
                users.push(Ctx::new(tenant.id, user, Role::Member));
            }
            people.push(users);
        }
        let mut tx = db.tenant(people[0][0].tenant).await.unwrap();
        let price = Price::of(&mut tx, people[0][0].tenant, "gpt-4o-mini").await.unwrap().unwrap();
        tx.commit().await.unwrap();
        Self { db, people, price, models: ["gpt-4o-mini".to_owned()], halves: Mutex::default() }
    }

    async fn turn(self: Arc<Self>, ctx: Ctx) {
        let turn = TurnId::new();
        let ask = Ask {
            assistant: Some(AssistantId::new()),
            models: &self.models,
            embedding_model: "hashed-ngram-384",
            input: 2000,
            output: 1000,
            least_output: 64,
            embedding: 20,
        };
        let began = Instant::now();
        let tx = self.db.tenant(ctx.tenant).await.unwrap();
        metering::reserve(&tx, ctx, turn, NodeId::new(), ask).await.unwrap();
        tx.commit().await.unwrap();
        let reserved = began.elapsed();
        let items = vec![
            Item::exact(Meter::Requests, 1),
            Item::exact(Meter::InputTokens, 1500),
            Item::exact(Meter::OutputTokens, 200),
        ];
        let bill = Bill {
            tenant: ctx.tenant,
            user: ctx.user,
            assistant: None,
            source: Source::Turn(turn),
            embedding_model: None,
            prices: Prices {
                chat: [(self.models[0].clone(), Some(self.price.clone()))].into(),
                embedding: None,
            },
            first_step: 0,
            steps: vec![StepBill { model: Some(self.models[0].clone()), items }],
        };
        let tx = self.db.tenant(ctx.tenant).await.unwrap();
        metering::settle_turn(&tx, turn, &bill).await.unwrap().expect("a cost");
        tx.commit().await.unwrap();
        let mut halves = self.halves.lock().unwrap();
        halves[0].push(reserved);
        halves[1].push(began.elapsed() - reserved);
    }

    /// The floor: a row that says how often it was asked.
    async fn update(self: Arc<Self>, row: i32) {
        let mut tx = self.db.owner().await.unwrap();
        let sql = format!("UPDATE floor SET n = n + 1 WHERE id = {row} RETURNING n");
        diesel::sql_query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn say(what: &str, callers: usize, outcome: &Outcome, floor: &Outcome) {
    println!(
        "{what:<34} {callers:>3} callers: {:>6.0} /s, p50 {:>6.2} ms, p99 {:>7.2} ms; {:.2} of the floor",
        outcome.per_second,
        outcome.p50,
        outcome.p99,
        outcome.per_second / floor.per_second,
    );
}

#[tokio::main]
async fn main() {
    // As a server is run: what is committed is on the disk.
    let folder = tempfile::Builder::new().prefix("docent-bench").tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let cluster = Cluster::start(Options::new(folder.path().join("data"))).await.unwrap();
    cluster.create_database_if_missing("bench").await.unwrap();
    let database = Database { url: cluster.url("bench") };
    docent::store::migrate(&database.url).await.unwrap();
    // A turn's row is not measured here, nor is the floor ours.
    let tables = "ALTER TABLE reservations DROP CONSTRAINT reservations_turn;
        CREATE TABLE floor (id int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 40);
        INSERT INTO floor SELECT n, 0 FROM generate_series(0, 99) n";
    database.run(tables).await;
    let office = Arc::new(Office::open(&database).await);
    for callers in CALLERS {
        let floor_of = async |rows: usize| {
            let office = Arc::clone(&office);
            load(callers, move |_, n| Arc::clone(&office).update(i32::try_from(n % rows).unwrap()))
                .await
        };
        let turns_of = async |tenants: usize, slices: usize| {
            database.run(&format!("UPDATE plans SET counter_slices = {slices}")).await;
            let office = Arc::clone(&office);
            load(callers, move |caller, n| {
                let ctx = office.people[n % tenants][caller];
                Arc::clone(&office).turn(ctx)
            })
            .await
        };
        let (hot, spread) = (floor_of(1).await, floor_of(TENANTS).await);
        say("UPDATE of one row", callers, &hot, &hot);
        say("UPDATE of a hundred rows", callers, &spread, &hot);
        say("turns, 1 tenant, one slice", callers, &turns_of(1, 1).await, &hot);
        say("turns, 1 tenant, sixteen slices", callers, &turns_of(1, 16).await, &hot);
        *office.halves.lock().unwrap() = Default::default();
        say("turns, 100 tenants, one slice", callers, &turns_of(TENANTS, 1).await, &spread);
        let [reserve, settle] = std::mem::take(&mut *office.halves.lock().unwrap());
        println!(
            "  of which reserving p50 {:.2} ms, settling p50 {:.2} ms",
            percentile(reserve, 50),
            percentile(settle, 50)
        );
    }
    let wrong = database.texts("SELECT d::text AS t FROM billing.differences_v1 d").await;
    assert_eq!(wrong, Vec::<String>::new(), "the books are right after all that");
    cluster.stop().await;
}
