//! Days and months of a tenant's calendar: their ends, the days on which clocks are changed, and what
//! comes after the end.

use crate::support::{Database, World};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    t: String,
}

/// What a session of another time answers. Turns that it bills have no rows of their own.
async fn at(database: &Database, now: &str, sql: &str) -> Result<Vec<String>, String> {
    let mut conn = database.connect().await;
    let clock = format!("SET docent.now = '{now}'; SET session_replication_role = replica");
    conn.batch_execute(&clock).await.unwrap();
    // Triggers that guard the ledger hold for everybody.
    let guard = "ALTER TABLE usage_ledger ENABLE ALWAYS TRIGGER refuse_closed_periods";
    conn.batch_execute(guard).await.unwrap();
    let lines: Result<Vec<Line>, _> = diesel::sql_query(sql).load(&mut conn).await;
    lines.map(|lines| lines.into_iter().map(|line| line.t).collect()).map_err(|e| e.to_string())
}

/// A tenant in a time zone, with one user.
async fn tenant_in(zone: &str) -> (World, String, String) {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.database.run(&format!("UPDATE tenants SET time_zone = '{zone}'")).await;
    (world, anna.tenant_id, anna.id)
}

const PERIODS: &str = "SELECT concat_ws(' ', to_char(month_start, 'MM-DD\"T\"HH24:MI'), to_char(month_end, 'MM-DD\"T\"HH24:MI'),
    to_char(day_start, 'MM-DD\"T\"HH24:MI'), to_char(day_end, 'MM-DD\"T\"HH24:MI')) AS t
  FROM tenants, current_periods(tenant_id) WHERE slug = 'acme'";

#[tokio::test(flavor = "multi_thread")]
async fn days_and_months_are_the_tenants() {
    let database = tenant_in("UTC").await.0.database;
    for (zone, now, expected) in [
        // Clocks go forward: a day of 23 hours, a month that is an hour short.
        ("Europe/Vienna", "2026-03-29T00:30Z", "02-28T23:00 03-31T22:00 03-28T23:00 03-29T22:00"),
        // Back: 25 hours.
        (
            "America/New_York",
            "2026-11-01T12:00Z",
            "11-01T04:00 12-01T05:00 11-01T04:00 11-02T05:00",
        ),
        (
            "America/New_York",
            "2026-11-01T03:59Z",
            "10-01T04:00 11-01T04:00 10-31T04:00 11-01T04:00",
        ),
        // A leap day, half an hour off.
        ("Asia/Kolkata", "2028-02-29T18:29Z", "01-31T18:30 02-29T18:30 02-28T18:30 02-29T18:30"),
        ("Asia/Kolkata", "2028-02-29T18:30Z", "02-29T18:30 03-31T18:30 02-29T18:30 03-01T18:30"),
        // The new year comes early.
        (
            "Pacific/Auckland",
            "2026-12-31T11:00Z",
            "12-31T11:00 01-31T11:00 12-31T11:00 01-01T11:00",
        ),
        // A midnight that is not there: the day begins at one.
        (
            "America/Santiago",
            "2026-09-06T05:00Z",
            "09-01T04:00 10-01T03:00 09-06T04:00 09-07T03:00",
        ),
    ] {
        database.run(&format!("UPDATE tenants SET time_zone = '{zone}'")).await;
        let found = at(&database, now, PERIODS).await.unwrap();
        assert_eq!(found, [expected], "{zone} at {now}");
    }
}

fn reserve(tenant: &str, user: &str, turn: &str) -> String {
    format!(
        "SELECT granted::text AS t FROM reserve_turn('{tenant}', '{user}', NULL, '{turn}', '{turn}',
           interval '10 min', 'gpt-4o-mini', 'none', 100, 100, 10, 0, true)"
    )
}

fn settle(tenant: &str, turn: &str, event: &str) -> String {
    format!(
        "SELECT settle_turn('{tenant}', '{turn}', jsonb_build_array(jsonb_build_object(
           'event_id', '{event}', 'kind', 'usage', 'turn_id', '{turn}', 'step', 0, 'meter', 'requests',
           'quantity', 1, 'provenance', 'exact')))::text AS t"
    )
}

const TURN: &str = "019a0000-0000-7000-8000-00000000000";
const CLOSE: &str = "SELECT close_months(interval '1 hour')::text AS t";
const STATES: &str =
    "SELECT to_char(period_start, 'MM') || ' ' || state AS t FROM billing.periods_v1
    WHERE tenant = 'acme' ORDER BY period_start";

#[tokio::test(flavor = "multi_thread")]
async fn a_month_closes_when_nothing_is_held_in_it_and_does_not_change_after_that() {
    let (world, tenant, user) = tenant_in("Europe/Vienna").await;
    let database = &world.database;
    let (first, second) = (format!("{TURN}1"), format!("{TURN}2"));
    // Vienna's January ends at 23:00 UTC.
    let asked = at(database, "2027-01-31T22:59Z", &reserve(&tenant, &user, &first)).await;
    assert_eq!(asked, Ok(vec!["100".into()]));
    at(database, "2027-01-31T23:00Z", &reserve(&tenant, &user, &second)).await.unwrap();
    let after = "2027-02-01T09:00Z";
    assert_eq!(at(database, after, CLOSE).await, Ok(vec!["0".into()]), "a turn holds it open");
    assert_eq!(at(database, after, STATES).await.unwrap(), ["12 ending", "01 open"]);
    let settled = at(database, after, &settle(&tenant, &first, &format!("{TURN}a"))).await;
    assert_eq!(settled, Ok(vec!["true".into()]));
    at(database, after, &settle(&tenant, &second, &format!("{TURN}b"))).await.unwrap();
    let counted = "SELECT to_char(period_start, 'MM-DD') || ' ' || used AS t FROM billing.quotas_v1
        WHERE scope = 'user' AND period = 'month' AND meter = 'requests' AND used > 0 ORDER BY 1";
    let each = at(database, after, counted).await.unwrap();
    assert_eq!(each, ["01-31 1", "12-31 1"], "each in the month in which it was admitted");
    assert_eq!(at(database, after, CLOSE).await, Ok(vec!["1".into()]));
    assert_eq!(at(database, after, STATES).await.unwrap(), ["12 closed", "01 open"]);
    // Whoever tries: the database refuses.
    let late = format!(
        "INSERT INTO usage_ledger (tenant_id, event_id, month, meter, quantity, provenance, period_start, day_start)
         SELECT tenant_id, gen_random_uuid(), '2027-01-01', 'requests', 1, 'exact', period_start, period_start
         FROM quota_counters WHERE closed_at IS NOT NULL AND tenant_id = '{tenant}' LIMIT 1 RETURNING meter AS t"
    );
    assert_eq!(at(database, after, &late).await, Err("the period is closed".into()));
    // What becomes known late is billed in the month that is open.
    let adjusted = format!(
        "SELECT appended::text AS t FROM bill_now('{tenant}', '{user}', NULL, '{first}',
           jsonb_build_array(jsonb_build_object('event_id', '{TURN}c', 'kind', 'adjustment', 'turn_id', '{first}',
             'step', 1, 'meter', 'output_tokens', 'quantity', 5, 'provenance', 'exact')), false)"
    );
    assert_eq!(at(database, after, &adjusted).await, Ok(vec!["1".into()]));
    let tokens = "SELECT to_char(period_start, 'MM-DD') || ' ' || used AS t FROM billing.quotas_v1
        WHERE scope = 'tenant' AND period = 'month' AND meter = 'tokens' AND used > 0";
    assert_eq!(at(database, after, tokens).await.unwrap(), ["01-31 5"]);
    let differences = "SELECT d::text AS t FROM billing.differences_v1 d";
    assert_eq!(database.texts(differences).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_time_zone_begins_no_month_twice() {
    let (world, tenant, user) = tenant_in("Pacific/Auckland").await;
    let database = &world.database;
    at(database, "2027-04-15T12:00Z", &reserve(&tenant, &user, &format!("{TURN}1"))).await.unwrap();
    database.run("UPDATE tenants SET time_zone = 'America/New_York'").await;
    for (now, expected) in [
        // April goes on to its end in Auckland, and May begins there, as long as it is New York's.
        ("2027-04-30T11:59Z", "03-31T11:00 04-30T12:00"),
        ("2027-05-01T12:00Z", "05-01T04:00 06-01T04:00"),
        ("2027-04-30T13:00Z", "04-30T12:00 05-01T04:00"),
    ] {
        let found = at(database, now, PERIODS).await.unwrap().remove(0);
        assert!(found.starts_with(expected), "at {now}: {found}");
    }
}
