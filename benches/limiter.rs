//! The rate limiter with 100,000 people: questions admitted and settled a second on two threads,
//! bytes for each person, and how long a sweep takes, beside a bare map of as many numbers; and the
//! same questions through Redis, beside a bare INCR. A load program, run with
//! `cargo bench --bench limiter`.
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

use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{Client, cmd};
use dashmap::DashMap;
use docent::cluster::{Cluster, Status};
use docent::limiter::{PlanLimits, RateLimiter};
use docent::runtime::Tasks;
use docent::types::{Ctx, NodeId, Role, Secret, TenantId, UserId};
use futures_util::FutureExt;
use std::future::Future;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use support::{Redis, resident};
use uuid::Uuid;

const PEOPLE: usize = 100_000;
const TENANTS: usize = 1_000;
const THREADS: usize = 2;
/// Each person asks so often.
const ROUNDS: usize = 10;
/// Questions through Redis.
const SHARED: usize = 20_000;

/// A person's cell is full again three seconds after all their questions.
fn limits() -> PlanLimits {
    let n = |n| NonZeroU32::new(n).unwrap();
    PlanLimits {
        tenant_requests: n(u32::MAX),
        user_requests: n(240),
        tenant_tokens: n(u32::MAX),
        user_tokens: n(10_000_000),
        tenant_turns: n(1),
        user_turns: n(1),
    }
}

fn people() -> Vec<Ctx> {
    let tenants: Vec<TenantId> = (0..TENANTS).map(|_| TenantId::new()).collect();
    let person = |n: usize| Ctx::new(tenants[n % TENANTS], UserId::new(), Role::Member);
    (0..PEOPLE).map(person).collect()
}

/// Runs `work` for all people, each thread for its share of them; how long it took.
fn on_threads(people: &[Ctx], work: impl Fn(Ctx) + Sync) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for share in people.chunks(people.len().div_ceil(THREADS)) {
            scope.spawn(|| share.iter().for_each(|ctx| work(*ctx)));
        }
    });
    began.elapsed()
}

fn memory() -> u64 {
    resident(std::process::id())
}

fn a_second(n: usize, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

/// A bare map: one number for each person. It is handed back so that nobody else gets its memory.
fn floor(people: &[Ctx]) -> (f64, u64, DashMap<Uuid, u64>) {
    let (before, numbers) = (memory(), DashMap::<Uuid, u64>::new());
    let count = |ctx: Ctx| *numbers.entry(ctx.user.uuid()).or_insert(0) += 1;
    on_threads(people, count);
    let bytes = (memory() - before) / PEOPLE as u64;
    let took: Duration = (0..ROUNDS).map(|_| on_threads(people, count)).sum();
    (a_second(PEOPLE * ROUNDS, took), bytes, numbers)
}

/// A question, admitted and settled: six cells are moved.
fn question(limiter: &RateLimiter, ctx: Ctx) {
    let admitted = limiter.admit(ctx, limits(), 2_000).now_or_never().expect("nothing to wait for");
    let charge = admitted.expect("nobody reaches the limits");
    charge.settle(150).now_or_never().expect("nothing to wait for");
}

async fn in_memory(people: &[Ctx]) {
    println!("{PEOPLE} people of {TENANTS} tenants, {THREADS} threads");
    println!("| | a second | bytes a person |");
    println!("|---|---|---|");
    let (numbers, bytes, _kept) = floor(people);
    println!("| a number in a map, updated | {numbers:.0} | {bytes} |");
    let (before, limiter) = (memory(), RateLimiter::new(Cluster::default()));
    on_threads(people, |ctx| question(&limiter, ctx));
    let bytes = (memory() - before) / PEOPLE as u64;
    let took = (0..ROUNDS).map(|_| on_threads(people, |ctx| question(&limiter, ctx))).sum();
    let questions = a_second(PEOPLE * ROUNDS, took);
    println!("| a question, admitted and settled | {questions:.0} | {bytes} |");
    println!("\nratio of one map update to one question: {:.1}\n", numbers / questions);

    let swept = |what: &str| {
        let began = Instant::now();
        limiter.sweep();
        println!("sweep of {what}: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    };
    on_threads(people, |ctx| question(&limiter, ctx));
    swept("people who have just asked");
    tokio::time::sleep(Duration::from_secs(5)).await;
    swept("people whose cells are full again");
}

/// So many clients, one question after the other each, until `SHARED` are done.
async fn clients<F: Future<Output = ()> + Send + 'static>(
    clients: usize,
    work: impl Fn(usize) -> F,
) -> f64 {
    let began = Instant::now();
    let running: Vec<_> = (0..clients).map(|n| tokio::spawn(work(n))).collect();
    for client in running {
        client.await.unwrap();
    }
    a_second(SHARED, began.elapsed())
}

async fn count(mut bare: MultiplexedConnection, people: Vec<Ctx>) {
    for ctx in people {
        let key = ctx.user.to_string();
        cmd("INCR").arg(key).query_async::<u64>(&mut bare).await.unwrap();
    }
}

/// Asks for everybody; the estimate of 2,000 tokens is corrected where they used fewer.
async fn ask(limiter: RateLimiter, people: Vec<Ctx>, used: u64) {
    for ctx in people {
        let charge = limiter.admit(ctx, limits(), 2_000).await;
        charge.expect("nobody reaches the limits").settle(used).await;
    }
}

async fn through_redis(people: &[Ctx]) {
    let redis = Redis::start().await;
    let url = Secret::new(&redis.url);
    let cluster = Cluster::join(&url, NodeId::new(), &Tasks::current()).expect("a URL");
    assert_eq!(cluster.check().await, Status::Connected);
    let limiter = RateLimiter::new(cluster);
    let bare = Client::open(redis.url.as_str()).unwrap();
    let bare = bare.get_multiplexed_async_connection().await.unwrap();
    println!("\n{SHARED} questions through Redis, a second");
    println!("| clients | INCR alone | admitted | admitted and corrected |");
    println!("|---|---|---|---|");
    for at_once in [1, 50] {
        let share = SHARED / at_once;
        let theirs = |n: usize| people[n * share..(n + 1) * share].to_vec();
        let incr = clients(at_once, |n| count(bare.clone(), theirs(n))).await;
        clients(at_once, |n| ask(limiter.clone(), theirs(n), 2_000)).await; // connections are made
        let admitted = clients(at_once, |n| ask(limiter.clone(), theirs(n), 2_000)).await;
        let settled = clients(at_once, |n| ask(limiter.clone(), theirs(n), 150)).await;
        println!("| {at_once} | {incr:.0} | {admitted:.0} | {settled:.0} |");
    }
}

#[tokio::main]
async fn main() {
    let people = people();
    in_memory(&people).await;
    through_redis(&people).await;
}
