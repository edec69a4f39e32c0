//! A month ends: it is closed; the next ones have tables; old ones are taken out.

use super::{Books, bill, open};
use diesel_async::SimpleAsyncConnection;
use docent::metering::{close_months, make_months, retain};
use uuid::{NoContext, Timestamp, Uuid};

#[tokio::test(flavor = "multi_thread")]
async fn a_month_that_is_over_is_closed_and_takes_nothing_more() {
    let mut books = Books::of(&["acme"]).await;
    books.bill("acme", 1).await;
    assert_eq!(close_months(&books.db).await.unwrap(), 0, "it is not over");
    let database = &books.database;
    database
        .run("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET docent.now = %L', current_database(),
                now() + interval '40 days'); END $$")
        .await;
    books.db = open(database).await; // a connection sees the database's clock when it is made
    assert_eq!(close_months(&books.db).await.unwrap(), 1);
    assert_eq!(close_months(&books.db).await.unwrap(), 0, "once");
    books.seal().await;
    let states = "SELECT state AS t FROM billing.periods_v1 ORDER BY period_start";
    assert_eq!(database.texts(states).await, ["closed"]);
    books.seal_until("SELECT count(*) AS n FROM billing.periods_v1 WHERE complete").await;

    let late = "INSERT INTO usage_ledger (tenant_id, event_id, month, meter, quantity, provenance, period_start, day_start)
                SELECT tenant_id, gen_random_uuid(), month, 'pages', 1, 'exact', period_start, day_start
                FROM usage_ledger LIMIT 1";
    let refused = database.connect().await.batch_execute(late).await;
    assert!(refused.unwrap_err().to_string().contains("the period is closed"));
    books.bill("acme", 1).await; // counts in the month that runs
    assert_eq!(database.texts(states).await, ["closed", "open"]);
    books.seal().await;
    assert_eq!(books.are_right().await, "4 rows of 1 tenants verified");
    // Somebody gets in all the same.
    database.run(&format!("SET session_replication_role = replica; {late}")).await;
    let lines = books.are_wrong().await;
    assert!(lines.iter().any(|line| line.contains("after that was closed")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_with_a_running_turn_stays_open() {
    let books = Books::of(&["acme"]).await;
    books.bill("acme", 1).await;
    let database = &books.database;
    database
        .run("UPDATE quota_counters SET period_end = now() - interval '2 hours', requests_reserved = 1")
        .await;
    assert_eq!(close_months(&books.db).await.unwrap(), 0);
    database.run("UPDATE quota_counters SET requests_reserved = 0").await;
    assert_eq!(close_months(&books.db).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn months_are_made_ahead_and_walled_like_the_others() {
    let books = Books::of(&["acme"]).await;
    let database = &books.database;
    let months = "SELECT relname::text AS t FROM pg_class WHERE relkind = 'r'
                  AND relname ~ '^(usage_ledger|ledger_seals)_\\d{4}_\\d\\d$' ORDER BY 1";
    let made = database.texts(months).await;
    assert_eq!(made.len(), 6, "this month and the next two");
    for table in [&made[1], &made[2], &made[4], &made[5]] {
        database.run(&format!("DROP TABLE {table}")).await;
    }
    // A row came before its month was made: it stays where it is, and the other month is made.
    let month = made[1].trim_start_matches("ledger_seals_").replace('_', "-");
    database
        .run(&format!(
            "INSERT INTO usage_ledger (tenant_id, event_id, month, meter, quantity, provenance, period_start, day_start)
             SELECT tenant_id, gen_random_uuid(), '{month}-01', 'pages', 0, 'exact', p.month_start, p.day_start
             FROM tenants, current_periods(tenant_id) p"
        ))
        .await;
    make_months(&books.db).await.unwrap();
    let left: Vec<String> =
        made.iter().filter(|table| **table != made[1] && **table != made[4]).cloned().collect();
    assert_eq!(database.texts(months).await, left);
    database.run("DELETE FROM usage_ledger").await;
    make_months(&books.db).await.unwrap();
    assert_eq!(database.texts(months).await, made);
    let walls = "SELECT c.relname || ' ' || (relrowsecurity AND relforcerowsecurity)
                   || string_agg(' ' || polname, '' ORDER BY polname) AS t
                 FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid
                 WHERE c.relname ~ '^(usage_ledger|ledger_seals)_\\d{4}_\\d\\d$' GROUP BY c.oid ORDER BY 1";
    let expected: Vec<String> =
        made.iter().map(|table| format!("{table} true billing ledger tenant")).collect();
    assert_eq!(database.texts(walls).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_month_is_taken_out_and_the_books_stay_right() {
    let books = Books::of(&["acme", "globex"]).await;
    let database = &books.database;
    database
        .run("SELECT make_ledger_month((date_trunc('month', now() AT TIME ZONE 'UTC') - interval '15 months')::date)")
        .await;
    let mut then = database.connect().await;
    then.batch_execute(
        "SELECT set_config('docent.now', (date_trunc('month', now() AT TIME ZONE 'UTC')
           AT TIME ZONE 'UTC' - interval '14 months 10 days')::text, false)",
    )
    .await
    .unwrap();
    let at = database
        .number(
            "SELECT extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC')
                   AT TIME ZONE 'UTC' - interval '14 months 10 days')::bigint AS n",
        )
        .await;
    let at = Timestamp::from_unix(NoContext, u64::try_from(at).unwrap(), 0);
    let old = bill(&mut then, "acme", 5, Uuid::new_v7(at)).await;
    books.bill("globex", 1).await;
    assert_eq!(retain(&books.db, 13).await.unwrap(), 0, "it is not sealed");
    books.seal().await;
    assert_eq!(retain(&books.db, 13).await.unwrap(), 0, "its month is not closed");
    close_months(&books.db).await.unwrap();
    assert_eq!(retain(&books.db, 16).await.unwrap(), 0, "it is to be kept");
    assert_eq!(books.are_right().await, "4 rows of 2 tenants verified");
    assert_eq!(retain(&books.db, 13).await.unwrap(), 1);

    let gone = format!("SELECT count(*) AS n FROM usage_ledger WHERE event_id = '{old}'");
    assert_eq!(database.number(&gone).await, 0);
    let apart = "SELECT relname::text AS t FROM pg_class WHERE relkind = 'r' AND relname LIKE '%detached' ORDER BY 1";
    let apart = database.texts(apart).await;
    assert_eq!(apart.len(), 2, "{apart:?}");
    assert_eq!(database.number(&format!("SELECT count(*) AS n FROM {}", apart[1])).await, 2);
    let kept = "SELECT sum(quantity)::bigint AS n FROM usage_daily WHERE meter = 'pages'";
    assert_eq!(database.number(kept).await, 6, "the summary by day stays");

    // The chain goes on from where it was cut, and is a chain.
    let event = books.bill("acme", 2).await;
    books.seal().await;
    assert_eq!(books.are_right().await, "4 rows of 2 tenants verified");
    database.run(&format!("UPDATE usage_ledger SET step = 9 WHERE event_id = '{event}'")).await;
    let lines = books.are_wrong().await;
    assert!(lines.len() == 1 && lines[0].contains(&event), "{lines:?}");
}
