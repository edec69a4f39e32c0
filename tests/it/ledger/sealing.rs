//! Numbers: one for each row, without gaps, in the order in which rows can be seen.

use super::{ALL_SEALED, Books, UNSEALED, bill, open};
use diesel_async::SimpleAsyncConnection;
use docent::metering::seal;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_written_first_and_seen_last_is_numbered_last() {
    let books = Books::of(&["acme", "globex"]).await;
    let database = &books.database;
    let mut slow = database.connect().await;
    slow.batch_execute("BEGIN").await.unwrap();
    let held = bill(&mut slow, "acme", 1, Uuid::now_v7()).await;
    let written = database.texts("SELECT clock_timestamp()::text AS t").await.remove(0);
    let quick = books.bill("globex", 2).await;
    books.seal().await;
    books.seal().await;
    let numbers = "SELECT event_id::text AS t FROM billing.ledger_v1 WHERE meter = 'pages' ORDER BY ledger_seq";
    assert_eq!(database.texts(numbers).await, std::slice::from_ref(&quick));
    let complete = format!(
        "SELECT count(*) AS n FROM ledger_state WHERE complete_through >= '{written}'::timestamptz"
    );
    assert_eq!(
        database.number(&complete).await,
        0,
        "something that occurred before can still come"
    );

    slow.batch_execute("COMMIT").await.unwrap();
    books.seal_until(&complete).await;
    assert_eq!(database.texts(numbers).await, [quick, held], "who read the first misses nothing");
    assert_eq!(books.are_right().await, "4 rows of 2 tenants verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn sealers_at_once_number_each_row_once() {
    let books = Books::of(&["acme", "globex"]).await;
    let mut conn = books.database.connect().await;
    let bills = async {
        for n in 1..=150 {
            bill(&mut conn, ["acme", "globex"][n % 2], 1, Uuid::now_v7()).await;
        }
    };
    let work = async |db| {
        while books.database.number("SELECT count(*) AS n FROM ledger_seals").await < 300 {
            seal(db).await.unwrap();
        }
    };
    let (a, b) = (open(&books.database).await, open(&books.database).await);
    tokio::join!(bills, work(&a), work(&b), work(&books.db));
    let dense =
        "SELECT (count(*) = 300 AND max(ledger_seq) = 300 AND count(DISTINCT ledger_seq) = 300
                         AND count(DISTINCT event_id) = 300)::int::bigint AS n FROM ledger_seals";
    assert_eq!(books.database.number(dense).await, 1);
    assert_eq!(books.are_right().await, "300 rows of 2 tenants verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_that_is_killed_leaves_nothing_behind() {
    let books = Books::of(&["acme"]).await;
    books.bill("acme", 3).await;
    let mut other = books.database.connect().await;
    other.batch_execute("BEGIN; LOCK TABLE usage_daily IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // By now it has taken the batch and written seals, and waits for the summary.
    let waits =
        "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                 AND query LIKE '%usage_daily%'";
    let kill = async {
        books.database.until(&format!("SELECT count(*) AS n {waits}")).await;
        books.database.run(&format!("SELECT pg_terminate_backend(pid) {waits}")).await;
    };
    let (sealed, ()) = tokio::join!(seal(&books.db), kill);
    sealed.expect_err("its connection was cut");
    assert_eq!(books.database.number(UNSEALED).await, 1);
    assert_eq!(books.database.number("SELECT count(*) AS n FROM ledger_seals").await, 0);
    other.batch_execute("ROLLBACK").await.unwrap();
    books.seal_until(ALL_SEALED).await;
    assert_eq!(books.are_right().await, "2 rows of 1 tenants verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_pass_takes_is_taken_by_the_next() {
    let books = Books::of(&["acme"]).await;
    let many = "INSERT INTO usage_ledger (tenant_id, event_id, month, meter, quantity, provenance, period_start, day_start)
                  SELECT tenant_id, gen_random_uuid(), date_trunc('month', now())::date, 'pages', 1, 'exact',
                         p.month_start, p.day_start
                  FROM tenants, current_periods(tenant_id) p, generate_series(1, 700);
                INSERT INTO ledger_batches (tenant_id, month, event_ids)
                  SELECT tenant_id, month, ARRAY[event_id] FROM usage_ledger;
                INSERT INTO quota_counters (tenant_id, scope, scope_id, period, period_start, period_end, pages_used)
                  SELECT tenant_id, 'tenant', tenant_id, k.period, k.start, k.until, 700
                  FROM tenants, current_periods(tenant_id) p,
                    LATERAL (VALUES ('day', p.day_start, p.day_end), ('month', p.month_start, p.month_end)) k (period, start, until)";
    books.database.run(many).await;
    let first = seal(&books.db).await.unwrap();
    assert_eq!((first.rows, first.more), (500, true));
    let second = seal(&books.db).await.unwrap();
    assert_eq!((second.rows, second.more), (200, false));
    assert_eq!(books.are_right().await, "700 rows of 1 tenants verified");
}
