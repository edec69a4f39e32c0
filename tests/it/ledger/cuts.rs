//! Between admission and settlement anything can be the last thing that somebody does: a future is
//! dropped, or the way to PostgreSQL is cut, at every place where it waits; and statement by
//! statement, under a server's feet. Then the books are right.

use crate::metering_properties::Office;
use crate::outages::{address, behind};
use crate::recovery::left_behind;
use crate::support::books::{Auditor, against_provider};
use crate::support::{Database, Gate, Node, Provider, Relay, User, World, WorldOptions};
use docent::metering::{self, Item, Source};
use docent::runtime::Tasks;
use docent::store::messages::NewMessage;
use docent::store::turns::{Ending, Turn};
use docent::store::{Db, DbError, DbOptions};
use docent::types::{Ctx, MessageId, Meter, NodeId, Role, TurnId, UserId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

const TASKS: usize = 4;

const NONE_RUNS: &str =
    "SELECT (NOT EXISTS (SELECT FROM turns WHERE state = 'running'))::int::bigint AS n";

/// Admits a turn and settles it, as a server does: in two transactions.
async fn whole(office: &Office, turn: TurnId, user: UserId) -> Result<(), DbError> {
    let ctx = Ctx::new(office.tenant, user, Role::Member);
    let mut tx = office.db.tenant(office.tenant).await?;
    office.begin_turn(&mut tx, turn, user).await?;
    match metering::reserve(&tx, ctx, turn, NodeId::new(), office.ask(30, 20, 1)).await {
        Err(metering::ReserveError::Query(error)) => return Err(error.into()),
        granted => granted.expect("there is enough"),
    };
    tx.commit().await?;
    let tx = office.db.tenant(office.tenant).await?;
    let Some(running) = Turn::lock_running(&tx, office.tenant, turn).await? else {
        return Ok(()); // closed for us
    };
    let answer = NewMessage {
        tenant_id: office.tenant,
        id: MessageId::new(),
        conversation_id: running.conversation_id,
        parent_id: Some(running.question_id),
        turn_id: turn,
        role: "assistant",
        status: "complete",
        content: "Forty-two.",
    };
    answer.insert(&tx).await?;
    let ending = Ending {
        state: "complete",
        error_code: None,
        first_token_ms: None,
        latency_ms: 1,
        provider: "openai",
        model: "gpt-4o-mini",
        steps: serde_json::json!([]),
    };
    running.close(&tx, ending).await?;
    let items = [(Meter::Requests, 1), (Meter::InputTokens, 21), (Meter::OutputTokens, 4)];
    let items = items.map(|(meter, quantity)| Item::exact(meter, quantity)).to_vec();
    metering::settle_turn(&tx, turn, &office.bill(user, Source::Turn(turn), items)).await?;
    tx.commit().await
}

/// Polls `future` to its end, and does `then` when it waits for the `n`th time: false drops it there.
/// Says whether it came to that.
async fn at_wait<T>(
    n: usize,
    future: impl Future<Output = T>,
    then: impl Fn() -> bool,
) -> (bool, Option<T>) {
    let (mut future, mut waits) = (pin!(future), 0);
    let outcome = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => {
            waits += 1;
            if waits == n && !then() { Poll::Ready(None) } else { Poll::Pending }
        }
    });
    let outcome = outcome.await;
    (waits >= n, outcome)
}

/// Turns of one person, each disturbed one wait later than the one before, until one is not disturbed
/// any more. Returns those that were settled for certain.
async fn disturbed(office: Arc<Office>, user: UserId, then: impl Fn() -> bool) -> Vec<TurnId> {
    let (mut settled, mut n) = (Vec::new(), 1);
    loop {
        let turn = TurnId::new();
        let (reached, outcome) = at_wait(n, whole(&office, turn, user), &then).await;
        let done = matches!(outcome, Some(Ok(())));
        settled.extend(done.then_some(turn));
        match (reached, done) {
            (true, _) => n += 1,
            (false, true) => break,
            (false, false) => {} // somebody else's cut came first
        }
    }
    assert!(n > 5, "it waits more often than {n} times");
    settled
}

/// Several people at once whose turns are disturbed; then a server that finds what they left.
async fn survives(then: fn(&Relay) -> bool) {
    let mut office = Office::open().await;
    office.database.run("DELETE FROM plan_quotas").await;
    let relay = Arc::new(Relay::to(&address(&office.database.url)).await);
    let url = behind(&relay, &office.database).url;
    let options = DbOptions { url, max_connections: 3, acquire: Duration::from_secs(30) };
    office.db = Db::open(&options, &Tasks::current());
    let office = Arc::new(office);
    let auditor = Auditor::start(&office.database).await;
    let work = (0..TASKS).map(|n| {
        let relay = Arc::clone(&relay);
        let user = office.people[n % office.people.len()];
        tokio::spawn(disturbed(Arc::clone(&office), user, move || then(&relay)))
    });
    let work = join_all(work.collect::<Vec<_>>()).await;
    let settled: Vec<TurnId> = work.into_iter().flat_map(|task| task.expect("no panic")).collect();
    let database = office.database.clone();
    let world = World::on(database, Provider::start().await, WorldOptions::default()).await;
    world.database.until(NONE_RUNS).await;
    assert_eq!(auditor.finish().await, Vec::<String>::new(), "right at every moment");
    world.database.check_books().await;
    let held = "SELECT count(*) AS n FROM reservations WHERE state = 'open'";
    assert_eq!(world.database.number(held).await, 0);
    for turn in settled {
        let billed =
            format!("SELECT sum(quantity)::bigint AS n FROM usage_ledger WHERE turn_id = '{turn}'");
        assert_eq!(world.database.number(&billed).await, 1 + 21 + 4, "what was done is done");
    }
    let other = "SELECT count(*) AS n FROM turns WHERE state = 'failed'";
    assert!(world.database.number(other).await > 0, "some were left in the middle");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_dropped_wherever_it_waits_leaves_the_books_right() {
    survives(|_| false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_wherever_work_waits_leave_the_books_right() {
    survives(|relay| {
        relay.cut();
        true
    })
    .await;
}

/// What a server does for a turn, and what the asker is told in the end when PostgreSQL goes away in
/// the middle of it. What was committed without the server's knowing is closed, and free.
const PLACES: &[(&str, &str, bool, u16)] = &[
    ("AFTER INSERT ON conversations", "true", false, 200),
    ("BEFORE INSERT ON turns", "true", false, 200),
    ("BEFORE INSERT ON messages", "NEW.role = 'user'", false, 200),
    ("AFTER UPDATE ON quota_counters", "NEW.requests_reserved > OLD.requests_reserved", false, 200),
    ("AFTER INSERT ON reservations", "true", false, 200),
    ("AFTER INSERT ON reservations", "true", true, 502),
    ("BEFORE INSERT ON messages", "NEW.role = 'assistant'", false, 200),
    ("BEFORE UPDATE ON turns", "NEW.state = 'complete'", false, 200),
    ("BEFORE UPDATE ON reservations", "NEW.state = 'settled'", false, 200),
    ("AFTER INSERT ON usage_ledger", "NEW.meter = 'output_tokens'", false, 200),
    ("AFTER UPDATE ON quota_counters", "NEW.requests_reserved < OLD.requests_reserved", false, 200),
    ("BEFORE INSERT ON ledger_batches", "true", false, 200),
    ("AFTER INSERT ON ledger_batches", "true", true, 200),
];

/// Asks again with the same key until there is an end.
async fn until_told(user: User, key: String) -> (u16, Value) {
    let mut again = tokio::time::interval(Duration::from_millis(50));
    let body = json!({"text": format!("What is it at place {key}?")}).to_string();
    loop {
        again.tick().await;
        let request = user.request(reqwest::Method::POST, "/v1/chat/send");
        let sent = request.header("idempotency-key", &key).body(body.clone()).send().await.unwrap();
        let (status, text) = (sent.status().as_u16(), sent.text().await.unwrap());
        match status {
            503 | 409 => {}
            _ => return (status, serde_json::from_str(&text).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_at_any_statement_bills_once() {
    let (database, provider, anna) = left_behind().await;
    let relay = Relay::to(&address(&database.url)).await;
    let node = Node::start(&behind(&relay, &database), &provider).await;
    let auditor = Auditor::start(&database).await;
    for (n, (event, condition, at_commit, status)) in PLACES.iter().enumerate() {
        let place = format!("{event} ({condition}), at commit: {at_commit}");
        let gate = match at_commit {
            true => Gate::at_commit(&database, event, condition).await,
            false => Gate::at(&database, event, condition).await,
        };
        let asking = tokio::spawn(until_told(node.user(&anna), n.to_string()));
        gate.until_reached().await;
        relay.cut();
        gate.open().await;
        let (told, answer) = asking.await.unwrap();
        assert_eq!(told, *status, "{place}: {answer}");
        database.until(NONE_RUNS).await;
        check(&database, n, told == 200, &place).await;
    }
    assert_eq!(auditor.finish().await, Vec::<String>::new(), "right at every moment");
    assert_eq!(against_provider(&database, &provider).await, Vec::<String>::new());
}

async fn check(database: &Database, key: usize, answered: bool, place: &str) {
    let turns = format!("SELECT count(*) AS n FROM turns WHERE idempotency_key = '{key}'");
    assert_eq!(database.number(&turns).await, 1, "{place}");
    let billed = format!(
        "SELECT count(*) AS n FROM usage_ledger l JOIN turns t ON t.id = l.turn_id
         WHERE idempotency_key = '{key}' AND meter IN ('input_tokens', 'output_tokens') AND provenance = 'exact'"
    );
    assert_eq!(database.number(&billed).await, if answered { 2 } else { 0 }, "{place}");
    database.check_books().await;
}
