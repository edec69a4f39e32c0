//! 500 streams at once, each 200 tokens at 20 a second: what a part costs, and how much later it
//! comes than the provider sent it, beside a relay that passes bytes on. A load program, run with
//! `cargo bench --bench streams`.
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
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::{
    Floor, Provider, Redis, Script, Stage, Step, percentile, processor_time, raise_file_limit,
    relay, send,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const STREAMS: usize = 500;
const TOKENS: usize = 200;
const PACE: Duration = Duration::from_millis(50);

/// Reads a stream to its end; returns how old each token was when it was read.
fn watch(mut stream: TcpStream) -> JoinHandle<Vec<Duration>> {
    tokio::spawn(async move {
        let (mut text, mut ages) = (Vec::new(), Vec::with_capacity(TOKENS));
        loop {
            let n = stream.read_buf(&mut text).await.unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            // Whole lines only: the rest of one comes with the next read.
            let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in String::from_utf8(text.drain(..end).collect()).unwrap().lines() {
                ages.extend(sent(line).map(|sent| now.saturating_sub(sent)));
            }
            if n == 0 {
                return ages;
            }
        }
    })
}

/// The time in a token, which is its text.
fn sent(line: &str) -> Option<Duration> {
    let (_, rest) =
        line.split_once("\"delta\":\"").or_else(|| line.split_once("\"content\":\""))?;
    rest.split(' ').next()?.parse().ok().map(Duration::from_micros)
}

/// All streams begin in the same moment, but their tokens do not come in step.
fn prepare(provider: &Provider) {
    for n in 0..STREAMS {
        let mut script = Script::paced(TOKENS, PACE);
        script.steps.insert(0, Step::Pause(PACE.mul_f64(n as f64 / STREAMS as f64)));
        script.steps.insert(0, Step::Wait);
        provider.next(script);
    }
}

struct Outcome {
    used: Duration,
    ages: Vec<Duration>,
}

async fn run(
    provider: &Provider,
    pids: Vec<u32>,
    open: impl AsyncFn(usize) -> TcpStream,
) -> Outcome {
    let processor_time = || pids.iter().map(|pid| processor_time(*pid)).sum::<Duration>();
    prepare(provider);
    let mut watching = Vec::new();
    for n in 0..STREAMS {
        watching.push(watch(open(n).await));
    }
    provider.until_waiting(STREAMS).await;
    let before = processor_time();
    (0..STREAMS).for_each(|_| provider.release());
    let mut ages = Vec::new();
    for stream in watching {
        let of_stream = stream.await.unwrap();
        assert_eq!(of_stream.len(), TOKENS, "every token came");
        ages.extend(of_stream);
    }
    Outcome { used: processor_time() - before, ages }
}

/// The turn that a response streams; the asker leaves.
async fn turn_of(mut stream: TcpStream) -> String {
    let mut head = Vec::new();
    loop {
        stream.read_buf(&mut head).await.unwrap();
        let text = String::from_utf8_lossy(&head);
        if let Some((_, rest)) = text.split_once("x-turn-id: ")
            && let Some((turn, _)) = rest.split_once("\r\n")
        {
            return turn.to_owned();
        }
    }
}

fn row(name: &str, outcome: &Outcome) {
    let parts = (STREAMS * TOKENS) as f64;
    println!(
        "| {name} | {:.1} s | {:.0} | {:.1} | {:.1} | {:.1} |",
        outcome.used.as_secs_f64(),
        parts / outcome.used.as_secs_f64(),
        percentile(outcome.ages.clone(), 50),
        percentile(outcome.ages.clone(), 99),
        percentile(outcome.ages.clone(), 100),
    );
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "relay") {
        return relay(arguments[2].clone()).await;
    }
    raise_file_limit();
    let stage = Stage::with(10).await;
    let provider = stage.provider.url.trim_start_matches("http://").trim_end_matches("/v1");
    println!("{STREAMS} streams of {TOKENS} tokens, one every {PACE:?}; ages in ms");
    println!("| path | processor time | parts a second of it | age p50 | p99 | max |");
    println!("|---|---|---|---|---|---|");
    let floor = Floor::start(&["relay", provider]).await;
    let bare = run(&stage.provider, vec![floor.pid()], async |_| {
        send(&floor.address, "POST /v1/chat/completions", "", "{}").await
    });
    row("relay", &bare.await);
    let docent = run(&stage.provider, vec![stage.node.pid()], async |n| {
        let user = &stage.people[n % stage.people.len()];
        let body = json!({"text": format!("Count for {n}.")}).to_string();
        let mut stream = send(&user.base, "POST /v1/chat/stream", &user.token, &body).await;
        stream.read_exact(&mut [0; 12]).await.unwrap(); // accepted: one after the other
        stream
    });
    row("docent", &docent.await);
    let redis = Redis::start().await;
    let (owner, other) = (stage.node_with(&redis).await, stage.node_with(&redis).await);
    let elsewhere = run(&stage.provider, vec![owner.pid(), other.pid()], async |n| {
        let user = &stage.people[n % stage.people.len()];
        let body = json!({"text": format!("Count for {n}.")}).to_string();
        let asked = send(&owner.base, "POST /v1/chat/stream", &user.token, &body).await;
        let attach = format!("GET /v1/turns/{}/stream", turn_of(asked).await);
        send(&other.base, &attach, &user.token, "").await
    });
    row("docent, read on another node", &elsewhere.await);
    stage.database.check_books().await;
}
