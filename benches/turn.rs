//! What a whole turn costs (log-in checked, limits, quota, retrieval, stream, journal, settlement)
//! beside calling the same provider directly: a load program, run with `cargo bench --bench turn`.
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

use serde_json::json;
use std::time::{Duration, Instant};
use support::{NO_LIMITS, Provider, Script, Stream, User, World, percentile};

const TOKENS: usize = 200;
const ROUNDS: usize = 20;

struct Sample {
    first_token: Duration,
    total: Duration,
}

/// Reads a stream until the first text and to its end.
async fn watch(started: Instant, mut stream: Stream) -> Sample {
    let mut first_token = None;
    while let Some(event) = stream.next().await {
        if first_token.is_none() && event.data.contains("w0 ") {
            first_token = Some(started.elapsed());
        }
    }
    Sample { first_token: first_token.unwrap(), total: started.elapsed() }
}

async fn direct(provider: Provider, http: reqwest::Client) -> Sample {
    let started = Instant::now();
    let request = http.post(format!("{}/chat/completions", provider.url));
    let body = json!({"model": "m", "stream": true, "messages": []}).to_string();
    watch(started, Stream::new(request.body(body).send().await.unwrap())).await
}

async fn through_docent(user: User) -> Sample {
    let started = Instant::now();
    watch(started, user.stream(json!({"text": "How long is the notice period?"})).await).await
}

async fn run<F>(clients: usize, one: impl Fn(usize) -> F) -> (Vec<Sample>, f64)
where
    F: Future<Output = Sample> + Send + 'static,
{
    let started = Instant::now();
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let running: Vec<_> = (0..clients).map(|n| tokio::spawn(one(n))).collect();
        for client in running {
            samples.push(client.await.unwrap());
        }
    }
    let turns = (clients * ROUNDS) as f64;
    (samples, turns / started.elapsed().as_secs_f64())
}

fn row(name: &str, clients: usize, samples: &[Sample], per_second: f64) {
    let of = |f: fn(&Sample) -> Duration| samples.iter().map(f).collect::<Vec<_>>();
    println!(
        "| {name} | {clients} | {:.1} | {:.1} | {:.1} | {:.1} | {per_second:.0} |",
        percentile(of(|s| s.first_token), 50),
        percentile(of(|s| s.first_token), 99),
        percentile(of(|s| s.total), 50),
        percentile(of(|s| s.total), 99),
    );
}

#[tokio::main]
async fn main() {
    let world = World::start().await;
    world.database.run(NO_LIMITS).await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("notice.md", b"# Notice\n\nThe notice period is ninety days.").await;
    let deltas: Vec<String> = (0..TOKENS).map(|n| format!("w{n} ")).collect();
    let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
    world.provider.always(Script::text(&deltas, 100, TOKENS as u64));
    println!("{TOKENS} tokens an answer, all sent at once by the provider; times in ms");
    println!("| path | clients | first token p50 | p99 | whole answer p50 | p99 | turns/s |");
    println!("|---|---|---|---|---|---|---|");
    for clients in [1, 10, 50] {
        let (http, provider) = (world.http.clone(), world.provider.clone());
        let (samples, rate) = run(clients, |_| direct(provider.clone(), http.clone())).await;
        row("provider directly", clients, &samples, rate);
        let users = anna.clone();
        let (samples, rate) = run(clients, |_| through_docent(users.clone())).await;
        row("through docent", clients, &samples, rate);
    }
    world.database.check_books().await;
}
