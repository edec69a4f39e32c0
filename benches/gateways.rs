//! The same load against docent, a relay that passes bytes on, `LiteLLM`'s proxy, and the same turn written with `FastAPI`:
//! 1 to 500 streams of OpenAI's chat completions at any moment, each a question after the other, answers of 200 tokens at
//! 20 a second. A load program, run with `cargo bench --bench gateways`; `-- 1000 50 200 fastapi` is 1,000 chunks,
//! 50 and 200 streams, and of the others only `FastAPI`.
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

mod peers;
mod support;

use peers::Peer;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{
    Floor, Script, Stage, Step, one_after_the_other, percentile, raise_file_limit, relay, send,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const TOKENS: usize = 200;
const PACE: Duration = Duration::from_millis(50);
const LEVELS: [usize; 4] = [1, 50, 200, 500];
/// Each level lasts so long: every client asks at least twice.
const LASTS: Duration = Duration::from_secs(25);

/// A way to the provider, with the program that serves it.
struct Way {
    name: String,
    base: String,
    keys: Vec<String>,
    pid: u32,
    /// Whether PostgreSQL works for it.
    stores: bool,
    asked: AtomicUsize,
}

impl Way {
    fn new(name: &str, base: &str, pid: u32, keys: Vec<String>, stores: bool) -> Self {
        let asked = AtomicUsize::new(0);
        Self { name: name.into(), base: base.into(), keys, pid, stores, asked }
    }

    /// A question of which one word is in every chunk, one in a single one, and two in a fortieth of them.
    async fn ask(&self, client: usize) -> Option<Duration> {
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        let (one, other) = (n * 7 % 2000, n * 13 % 2000);
        let question = format!("What does rule {n} say about word{one} and word{other}?");
        let body = json!({"model": "default", "stream": true,
            "messages": [{"role": "user", "content": question}]});
        let key = &self.keys[client % self.keys.len()];
        let started = Instant::now();
        let request = "POST /v1/chat/completions";
        read(started, send(&self.base, request, key, &body.to_string()).await).await
    }
}

/// When the first token came, which is a number; `None`: there was none, or the answer broke off.
async fn read(started: Instant, mut stream: TcpStream) -> Option<Duration> {
    let has = |text: &[u8], what: &[u8]| text.windows(what.len()).any(|bytes| bytes == what);
    let (mut text, mut first, mut whole) = (Vec::new(), None, false);
    while stream.read_buf(&mut text).await.ok()? > 0 {
        if first.is_none() && has(&text, b"\"content\":\"1") {
            first = Some(started.elapsed());
        }
        if first.is_some() {
            whole |= has(&text, b"[DONE]");
            text.drain(..text.len().saturating_sub(8));
        }
    }
    first.filter(|_| whole)
}

/// The fields of `/proc/{pid}/stat` after the name.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect())
}

/// A process and all that it started.
fn family(pid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u64)> = pids.filter_map(|pid| Some((pid, stat(pid)?[1]))).collect();
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(parents.iter().filter(|one| one.1 == u64::from(parent)).map(|one| one.0));
        at += 1;
    }
    family
}

/// The processor time of a family, in seconds; also of those who have ended.
fn processor_time(pid: u32) -> f64 {
    let ticks = |pid: &u32| stat(*pid).map_or(0, |fields| fields[11..15].iter().sum::<u64>());
    family(pid).iter().map(ticks).sum::<u64>() as f64 / 100.0
}

/// The memory of a family in MiB; what two of them share counts once.
fn memory(pid: u32) -> u64 {
    let of = |pid: &u32| {
        let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = smaps.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    family(pid).iter().filter_map(of).sum::<u64>() >> 10
}

/// How long all processors were busy since the machine started, in seconds.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields = stat.lines().next().unwrap().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.map(|field| field.parse().unwrap()).collect();
    // User, nice, system; idle and waiting are not; interrupts.
    (ticks[..3].iter().sum::<f64>() + ticks[5..7].iter().sum::<f64>()) / 100.0
}

/// Measures one way at one level and prints the row; `bare` are the relay's first tokens.
async fn measure(way: &Way, clients: usize, postgres: u32, bare: &[Duration]) -> Vec<Duration> {
    let length = PACE * u32::try_from(TOKENS).unwrap();
    let (began, before) = (Instant::now(), busy());
    let (own, store) = (processor_time(way.pid), processor_time(postgres));
    let gave = one_after_the_other(clients, (length, LASTS), |n| way.ask(n)).await;
    let cores = (busy() - before) / began.elapsed().as_secs_f64();
    let parts = (gave.len() * TOKENS) as f64 / 1e6;
    let own = (processor_time(way.pid) - own) / parts;
    let store = match way.stores {
        true => format!("{:.0} µs", (processor_time(postgres) - store) / parts),
        false => String::new(),
    };
    let asked = gave.len();
    let waited: Vec<Duration> = gave.into_iter().flatten().collect();
    let failed = match asked - waited.len() {
        0 => String::new(),
        failed => format!(" ({failed} of {asked} failed)"),
    };
    let of = |p: usize| if waited.is_empty() { f64::NAN } else { percentile(waited.clone(), p) };
    let added = |p: usize| match bare {
        [] => String::new(),
        bare => format!("{:.1}", of(p) - percentile(bare.to_vec(), p)),
    };
    println!(
        "| {}{failed} | {clients} | {:.1} | {:.1} | {} | {} | {own:.0} µs | {store} | {} MiB | {cores:.1} |",
        way.name,
        of(50),
        of(99),
        added(50),
        added(99),
        memory(way.pid),
    );
    waited
}

/// The others, as far as they are wanted and can be installed.
async fn others(stage: &Stage, wanted: impl Fn(&str) -> bool) -> Vec<(Way, Peer)> {
    let (provider, database) = (&stage.provider.url, &stage.database.url);
    let mut others = Vec::new();
    for workers in [1, 2].into_iter().filter(|_| wanted("fastapi")) {
        let keys = (0..10).map(|n| format!("key-{n}")).collect();
        let name = format!("FastAPI, workers: {workers}");
        others.push((name, keys, true, Peer::fastapi(provider, database, workers).await));
    }
    if wanted("litellm") {
        let keys = vec!["sk-key".to_owned()];
        let name = "LiteLLM (no retrieval), workers: 2".to_owned();
        others.push((name, keys, false, Peer::litellm(provider, 2).await));
    }
    let running = others.into_iter().filter_map(|(name, keys, stores, peer)| match peer {
        Ok(peer) => Some((Way::new(&name, &peer.address, peer.pid(), keys, stores), peer)),
        Err(why) => {
            println!("{name} is left out: {why}\n");
            None
        }
    });
    running.collect()
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "relay") {
        return relay(arguments[1].clone()).await;
    }
    let (names, numbers): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .partition(|argument| argument.parse::<usize>().is_err());
    let mut numbers = numbers.into_iter().map(|number| number.parse::<usize>().unwrap());
    let chunks = numbers.next().unwrap_or(100_000);
    let levels: Vec<usize> = numbers.collect();
    let levels = if levels.is_empty() { LEVELS.to_vec() } else { levels };
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| *wanted == name);
    raise_file_limit();
    let stage = Stage::with_chunks(10, chunks).await;
    let mut script = Script::paced(TOKENS, PACE);
    script.steps.remove(0); // the first token comes at once
    assert!(matches!(script.steps[0], Step::Clock));
    stage.provider.always(script);
    let mut ways = Vec::new();
    let provider = stage.provider.url.trim_start_matches("http://").trim_end_matches("/v1");
    let floor = Floor::start(&["relay", provider]).await;
    ways.push(Way::new("relay", &floor.address, floor.pid(), vec![String::new()], false));
    if wanted("docent") {
        let mut keys = Vec::new();
        for user in &stage.people {
            keys.push(user.key(json!({"name": "load", "scopes": ["chat"]})).await.0.token);
        }
        ways.push(Way::new("docent", &stage.node.base, stage.node.pid(), keys, true));
    }
    if wanted("fastapi") {
        stage.database.run(peers::SCHEMA).await;
    }
    let (others, peers): (Vec<Way>, Vec<Peer>) = others(&stage, wanted).await.into_iter().unzip();
    ways.extend(others);
    // What is made at the first request is made now.
    let first = futures_util::future::join_all(ways.iter().map(|way| way.ask(0))).await;
    for (way, answer) in ways.iter().zip(first) {
        assert!(answer.is_some(), "{} answers", way.name);
    }
    let postgres = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::bigint AS n";
    let postgres = u32::try_from(stage.database.number(postgres).await).unwrap();
    println!("{chunks} chunks; {TOKENS} tokens an answer, one every {PACE:?}; times in ms");
    println!(
        "| path | streams | first token p50 | p99 | added p50 | p99 | processor time of a part | PostgreSQL's | memory | cores busy |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for clients in levels {
        let mut bare = Vec::new();
        for way in &ways {
            let waited = measure(way, clients, postgres, &bare).await;
            if bare.is_empty() {
                bare = waited;
            }
        }
    }
    for peer in peers {
        peer.stop().await;
    }
    stage.database.check_books().await;
    if wanted("fastapi") {
        let reserved = "SELECT sum(tokens_reserved)::bigint AS n FROM peer.people";
        assert_eq!(stage.database.number(reserved).await, 0, "every turn is settled");
    }
}
