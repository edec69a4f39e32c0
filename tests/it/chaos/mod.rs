//! Several nodes, people who ask over everything there is, and troubles: connections that break,
//! clients that leave and come back, nodes that are killed, hang or are restarted, a Redis that forgets
//! everything, a PostgreSQL whose connections are cut. Whatever happens, an
//! answer ends once, for everybody in the same way, and the books are right.
//!
//! `CHAOS_SECONDS=180 CHAOS_SEED=7 cargo test --test it chaos -- --nocapture` for more of it.
#![expect(clippy::print_stdout, reason = "the seed is for who wants to see it again")]

mod client;
pub mod connection;
mod fleet;
mod verdict;

use crate::support::books::{Auditor, against_provider};
use crate::support::{Redis, Script, Step, User, World};
use client::Client;
use fleet::Fleet;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use tokio::time::Instant;

const NODES: usize = 2;
const CLIENTS: usize = 12;
/// Settling may take long on a busy machine; how long it takes decides nothing.
const PATIENCE: Duration = Duration::from_secs(120);

fn variable<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Two people of each of three tenants, with a document to quote.
async fn people(world: &World) -> Vec<User> {
    let mut people = Vec::new();
    for tenant in ["acme", "bolt", "cord"] {
        for name in ["anna", "ben"] {
            people.push(world.user(&format!("{name}@{tenant}.test")).await);
        }
        people[people.len() - 1].has_document("a.md", b"# Counting\n\nOne counts aloud.").await;
    }
    people
}

/// Answers that take a second or two, and some that fail.
fn answers(dice: &mut StdRng) -> Vec<Script> {
    let pace = Duration::from_millis(20);
    let answer = |dice: &mut StdRng| {
        let mut script = Script::paced(dice.random_range(10..100), pace);
        if dice.random_bool(0.1) {
            let broken = dice.random_range(0..script.steps.len());
            script.steps.insert(broken, Step::Reset);
        }
        script
    };
    (0..1_000).map(|_| answer(dice)).collect()
}

async fn chaos(redis: Option<&mut Redis>) {
    let (seconds, seed) = (variable("CHAOS_SECONDS", 8), variable("CHAOS_SEED", rand::random()));
    println!("CHAOS_SECONDS={seconds} CHAOS_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let world = World::start().await;
    let people = people(&world).await;
    let (database, provider) = (world.database.clone(), world.provider.clone());
    world.stop().await;
    database
        .run(
            "UPDATE plans SET tenant_requests_per_minute = 2000000000,
               user_requests_per_minute = 2000000000, tenant_tokens_per_minute = 2000000000,
               user_tokens_per_minute = 2000000000",
        )
        .await;
    answers(&mut dice).into_iter().for_each(|script| provider.next(script));
    provider.always(Script::paced(50, Duration::from_millis(20)));

    let until = Instant::now() + Duration::from_secs(seconds);
    let mut fleet = Fleet::start(NODES, &database, &provider, redis).await;
    let auditor = Auditor::start(&database).await;
    let clients = (0..CLIENTS).map(|n| {
        let person = User { base: fleet.balancer.base.clone(), ..people[n % people.len()].clone() };
        let dice = StdRng::seed_from_u64(dice.random());
        tokio::spawn(Client::new(n, person, dice).live(until))
    });
    let clients = join_all(clients.collect::<Vec<_>>());
    let (told, ()) = tokio::join!(
        tokio::time::timeout(PATIENCE + Duration::from_secs(seconds), clients),
        fleet.suffer(StdRng::seed_from_u64(seed ^ 1), until)
    );
    let told = told.expect("every client is told an end");
    let sights: Vec<_> = told.into_iter().flat_map(|client| client.expect("no surprise")).collect();
    assert_eq!(auditor.finish().await, Vec::<String>::new(), "right at every moment");
    verdict::check(&sights, &fleet, &database).await;
    assert_eq!(against_provider(&database, &provider).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_among_nodes_that_come_and_go() {
    chaos(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_redis_comes_and_goes_as_well() {
    chaos(Some(&mut Redis::start().await)).await;
}
