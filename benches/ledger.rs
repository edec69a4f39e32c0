//! What the size of the ledger costs: reading usage from the summary by day beside the same sums over
//! the ledger, a page of it for a billing system, sealing, and checking.
//! Run with `cargo bench --bench ledger` (or `-- 100000` for other sizes).
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

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use docent::metering::{seal, verify};
use docent::runtime::Tasks;
use docent::store::{Db, DbOptions};
use std::time::{Duration, Instant};
use support::Database;

/// 50 tenants with 20 users each; turns of four rows, spread evenly over the last twelve months.
const FILL: &str = "
    INSERT INTO tenants (tenant_id, slug, name, plan)
      SELECT md5('tenant' || n)::uuid, 'tenant' || n, 'Tenant', 'enterprise' FROM generate_series(0, 49) n;
    DO $$ BEGIN
      PERFORM make_ledger_month((date_trunc('month', now() AT TIME ZONE 'UTC') - n * interval '1 month')::date)
        FROM generate_series(1, 12) n;
    END $$;
    INSERT INTO usage_ledger (tenant_id, event_id, month, user_id, assistant_id, turn_id, meter, quantity,
        provenance, model, price_version, cost_nano_usd, period_start, day_start, occurred_at)
      SELECT md5('tenant' || n % 50)::uuid, gen_random_uuid(), date_trunc('month', at AT TIME ZONE 'UTC')::date,
             md5('user' || n % 1000)::uuid, md5('assistant' || n % 150)::uuid, md5('turn' || n)::uuid, m.meter,
             m.quantity, 'exact', p.model, CASE WHEN m.price IS NULL THEN NULL ELSE p.version END,
             cost_of(m.quantity, m.price),
             date_trunc('month', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',
             date_trunc('day', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', at
      FROM generate_series(1, {rows} / 4) n
      CROSS JOIN LATERAL (SELECT now() - interval '360 days' * (1 - n * 4.0 / {rows}) AS at) o
      CROSS JOIN (SELECT * FROM prices WHERE model = 'gpt-4o-mini' ORDER BY valid_from DESC LIMIT 1) p
      CROSS JOIN LATERAL (VALUES ('requests', 1, NULL), ('input_tokens', 2000 + n % 1000, p.input),
        ('output_tokens', 200 + n % 300, p.output), ('embedding_tokens', 20, NULL)) m (meter, quantity, price);
    INSERT INTO ledger_batches (tenant_id, month, event_ids)
      SELECT tenant_id, month, array_agg(event_id) FROM usage_ledger
      GROUP BY tenant_id, month, turn_id ORDER BY min(occurred_at);
    INSERT INTO quota_counters (tenant_id, scope, scope_id, period, period_start, period_end, requests_used,
        tokens_used, cost_used)
      SELECT tenant_id, scope, scope_id, period, period_start, period_start + ('1 ' || period)::interval,
             coalesce(sum(ledger) FILTER (WHERE meter = 'requests'), 0),
             coalesce(sum(ledger) FILTER (WHERE meter = 'tokens'), 0),
             coalesce(sum(ledger) FILTER (WHERE meter = 'cost_nano_usd'), 0)
      FROM billing.differences(NULL, '-infinity') GROUP BY 1, 2, 3, 4, 5;
    ANALYZE;";

const SUMMARY: &str = "
    SELECT day, meter, sum(quantity), sum(unpriced), sum(cost_nano_usd) FROM usage_daily
    WHERE tenant_id = md5('tenant7')::uuid AND day > current_date - 31 GROUP BY 1, 2";

const RAW: &str = "
    SELECT day_start, meter, sum(quantity), sum(quantity) FILTER (WHERE cost_nano_usd IS NULL), sum(cost_nano_usd)
    FROM usage_ledger WHERE tenant_id = md5('tenant7')::uuid AND day_start > now() - interval '31 days' GROUP BY 1, 2";

const PAGE: &str = "
    SELECT * FROM billing.ledger_v1 WHERE ledger_seq > {half} ORDER BY ledger_seq LIMIT 1000";

/// The median of what PostgreSQL says that a query takes.
async fn explain(database: &Database, sql: &str) -> f64 {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        text: String,
    }
    let mut conn = database.connect().await;
    let mut times = Vec::new();
    for _ in 0..7 {
        let lines: Vec<Line> =
            diesel::sql_query(format!("EXPLAIN ANALYZE {sql}")).load(&mut conn).await.unwrap();
        let last = lines.last().unwrap().text.clone();
        let time = last.trim_start_matches("Execution Time: ").trim_end_matches(" ms");
        times.push(time.parse::<f64>().unwrap());
    }
    times.sort_by(f64::total_cmp);
    times[3]
}

#[tokio::main]
async fn main() {
    let given: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![1_000_000, 4_000_000] } else { given };
    println!(
        "| rows | usage of a month, by day | the same from the ledger | 1,000 rows from a number on | sealed rows/s | checked rows/s |"
    );
    println!("|---|---|---|---|---|---|");
    for size in sizes {
        let database = Database::fresh().await;
        database.run(&FILL.replace("{rows}", &size.to_string())).await;
        let (url, acquire) = (database.url.clone(), Duration::from_secs(5));
        let options = DbOptions { url, max_connections: 2, acquire };
        let db = Db::open(&options, &Tasks::current());
        let started = Instant::now();
        while seal(&db).await.unwrap().more {}
        let sealed = size as f64 / started.elapsed().as_secs_f64();
        database.run("VACUUM ANALYZE").await;
        let started = Instant::now();
        let report = verify(&db, None).await.unwrap();
        let checked = size as f64 / started.elapsed().as_secs_f64();
        assert_eq!((report.found, report.rows), (0, size), "{:?}", report.differences);
        let page = PAGE.replace("{half}", &(size / 2).to_string());
        println!(
            "| {size} | {:.2} ms | {:.1} ms | {:.1} ms | {sealed:.0} | {checked:.0} |",
            explain(&database, SUMMARY).await,
            explain(&database, RAW).await,
            explain(&database, &page).await,
        );
    }
}
