//! How much later the first token comes because of docent: 1 to 500 streams at any moment, each a question
//! after the other, answers of 200 tokens at 20 a second, in a tenant with 100,000 chunks; beside a relay that
//! passes bytes on. A load program, run with `cargo bench --bench first_token`; `-- 1000 1 50` is 1,000 chunks, and
//! 1 and 50 streams.
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
use support::{
    Floor, Script, Stage, Step, one_after_the_other, percentile, processor_time, raise_file_limit,
    relay, resident, send,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const TOKENS: usize = 200;
const PACE: Duration = Duration::from_millis(50);
const LEVELS: [usize; 4] = [1, 50, 200, 500];
/// Not measured: connections are made, and statements prepared on them.
const WARM_UP: Duration = Duration::from_secs(10);
/// Each level lasts so long: every client asks at least twice.
const LASTS: Duration = Duration::from_secs(25);

/// When the first token came, after the question was sent; the whole answer was read then.
async fn read(started: Instant, mut stream: TcpStream) -> Duration {
    let (mut text, mut first) = (Vec::new(), None);
    while stream.read_buf(&mut text).await.unwrap() > 0 {
        if first.is_none() && text.windows(8).any(|bytes| bytes == b"\"delta\":") {
            // Both name their first piece of text so; docent's follows its sources.
            first = Some(started.elapsed());
        }
        if first.is_some() {
            text.clear();
        }
    }
    first.expect("an answer has a first token")
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "relay") {
        return relay(arguments[2].clone()).await;
    }
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse().ok());
    let chunks = numbers.next().unwrap_or(100_000);
    let levels: Vec<usize> = numbers.collect();
    let levels = if levels.is_empty() { LEVELS.to_vec() } else { levels };
    raise_file_limit();
    let stage = Stage::with_chunks(10, chunks).await;
    let mut script = Script::paced(TOKENS, PACE);
    script.steps.remove(0); // the first token comes at once
    assert!(matches!(script.steps[0], Step::Clock));
    stage.provider.always(script);

    let provider = stage.provider.url.trim_start_matches("http://").trim_end_matches("/v1");
    let floor = Floor::start(&["relay", provider]).await;
    println!("{chunks} chunks; {TOKENS} tokens an answer, one every {PACE:?}");
    println!(
        "| path | streams | first token p50 ms | p99 ms | added p50 | p99 | CPU of a part | memory |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let length = PACE * u32::try_from(TOKENS).unwrap();
    let ask = async |name: &str, n: usize| match name {
        "relay" => send(&floor.address, "POST /v1/chat/completions", "", "{}").await,
        _ => {
            let user = &stage.people[n % stage.people.len()];
            let body = json!({"text": format!("What is rule {n} of handbook {n}?")});
            send(&user.base, "POST /v1/chat/stream", &user.token, &body.to_string()).await
        }
    };
    for clients in levels {
        let mut bare: Option<Vec<Duration>> = None;
        for (name, pid) in [("relay", floor.pid()), ("docent", stage.node.pid())] {
            let question = async |n: usize| {
                let started = Instant::now();
                read(started, ask(name, n).await).await
            };
            one_after_the_other(clients, (length, WARM_UP), question).await;
            let before = processor_time(pid);
            let waited = one_after_the_other(clients, (length, LASTS), question).await;
            let parts = (waited.len() * TOKENS) as f64;
            let used = (processor_time(pid) - before).as_secs_f64() * 1e6 / parts;
            let of = |p: usize| percentile(waited.clone(), p);
            let added =
                |p: usize| bare.as_ref().map_or(0.0, |bare| of(p) - percentile(bare.clone(), p));
            println!(
                "| {name} | {clients} | {:.1} | {:.1} | {:.1} | {:.1} | {used:.0} µs | {} MiB |",
                of(50),
                of(99),
                added(50),
                added(99),
                resident(pid) >> 20,
            );
            bare = Some(waited);
        }
    }
    println!();
    for (name, what) in PHASES {
        println!("{what}: {:.1} ms on average", phase(&stage, name).await);
    }
    stage.database.check_books().await;
}

/// What a turn does before its first token; the search begins while the turn is still being opened.
const PHASES: [(&str, &str); 3] = [
    ("docent_turn_open_seconds", "opening a turn"),
    ("docent_retrieval_seconds", "searching"),
    ("docent_turn_first_token_seconds", "from opened to the first token"),
];

/// The mean of a histogram in milliseconds.
async fn phase(stage: &Stage, name: &str) -> f64 {
    let metrics = stage.people[0].metrics().await;
    let of = |suffix: &str| {
        let begin = format!("{name}_{suffix} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(begin.as_str()));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    of("sum") / of("count") * 1e3
}
