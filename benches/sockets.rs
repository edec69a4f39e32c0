//! Many connections: what 10,000 idle WebSockets weigh, beside a bare echo server, and how long 2,000
//! readers take to be back after all connections broke, beside as many plain requests. A load program,
//! run with `cargo bench --bench sockets`.
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

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::time::{Duration, Instant};
use support::{Floor, Relay, Script, Stage, User, percentile, raise_file_limit, resident, send};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, accept_async_with_config, connect_async_with_config,
};

const IDLE: usize = 10_000;
const TURNS: usize = 200;
const READERS: usize = 2_000;
/// A turn says something this often.
const PACE: Duration = Duration::from_millis(100);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket; with a token it logs in and waits until it is `ready`.
async fn open(url: &str, token: Option<&str>) -> Socket {
    let (mut socket, _) = connect_async_with_config(url, Some(lean()), false).await.unwrap();
    let first = json!({"type": "auth", "token": token.unwrap_or_default()}).to_string();
    socket.send(Message::text(first)).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().is_text());
    socket
}

/// Small buffers: as the library comes, each socket has one of 128 KiB.
fn lean() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096)
}

/// The bytes that each of many idle connections adds to a process. The first thousand only warm it
/// up: pools and buffers that are made once are not theirs.
async fn weigh(pid: u32, open: impl AsyncFn(usize) -> Socket) -> u64 {
    let mut sockets = Vec::new();
    let mut before = 0;
    for batch in 0..(IDLE / 100 + 10) {
        if batch == 10 {
            before = resident(pid);
        }
        sockets.extend(join_all((0..100).map(|n| open(batch * 100 + n))).await);
    }
    let after = resident(pid);
    assert_eq!(sockets.len(), IDLE + 1_000);
    (after - before) / IDLE as u64
}

async fn weights(stage: &Stage) {
    println!("| idle WebSockets | bytes each |");
    println!("|---|---|");
    let mut bare = 0;
    for kind in ["usual", "lean"] {
        let floor = Floor::start(&["echo", kind]).await;
        let url = format!("ws://{}", floor.address);
        bare = weigh(floor.pid(), async |_| open(&url, None).await).await;
        println!("| {IDLE} at a bare echo server, {kind} buffers | {bare} |");
    }
    let url = format!("{}/ws/chat", stage.node.base.replace("http://", "ws://"));
    let docent = weigh(stage.node.pid(), async |n| {
        open(&url, Some(&stage.people[n % stage.people.len()].token)).await
    });
    let docent = docent.await;
    println!("| {IDLE} at docent | {docent} |");
    println!("\n{:.2} times the lean one\n", docent as f64 / bare as f64);
}

/// The floor: every WebSocket hears what it says.
async fn echo(config: WebSocketConfig) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut write, read) =
                accept_async_with_config(stream, Some(config)).await.unwrap().split();
            drop(read.forward(&mut write).await);
        });
    }
}

/// A reader: follows a turn until it is cut, then comes back where it was.
struct Reader {
    user: User,
    turn: String,
    after: i64,
}

impl Reader {
    /// Connects, and returns when a part came that was not there before.
    async fn join(&mut self) -> TcpStream {
        let line = format!("GET /v1/turns/{}/stream?after={}", self.turn, self.after);
        let mut stream = send(&self.user.base, &line, &self.user.token, "").await;
        let seen = self.after;
        while self.after == seen {
            assert!(self.read(&mut stream).await, "it is not over");
        }
        stream
    }

    /// Reads once; false when the connection ended.
    async fn read(&mut self, stream: &mut TcpStream) -> bool {
        let mut bytes = [0; 4096];
        let n = stream.read(&mut bytes).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
        let mark = format!("id: {}.", self.turn);
        // An offset that the read cut off comes again with the next one: too low is never wrong.
        let ids = text.rsplit(&mark).next().filter(|_| text.contains(&mark));
        let offset = ids.and_then(|rest| rest.split_once('\n')?.0.parse().ok());
        self.after = offset.unwrap_or(self.after);
        n > 0
    }

    /// Follows until it is cut, waits, and comes back to the server itself: the relay is not what is
    /// measured. Says how long that took.
    async fn survive(mut self, mut stream: TcpStream, home: String, wait: Duration) -> Duration {
        while self.read(&mut stream).await {}
        sleep(wait).await;
        self.user.base = home;
        let started = Instant::now();
        let _stream = self.join().await;
        started.elapsed()
    }
}

/// Reader `n` comes back then; by that time its turn has said something more.
fn wait(spread: Duration, n: usize) -> Duration {
    PACE + spread.mul_f64((n * 7919 % READERS) as f64 / READERS as f64)
}

async fn storm(stage: &Stage, spread: Duration) {
    let relay = Relay::to(&stage.node.base).await;
    let mut readers = Vec::new();
    for n in 0..TURNS {
        let user = &stage.people[n % stage.people.len()];
        let turn = user.stream(json!({"text": format!("Count for {n}.")})).await.turn();
        let user = User { base: relay.base.clone(), ..user.clone() };
        for _ in 0..READERS / TURNS {
            readers.push(Reader { user: user.clone(), turn: turn.clone(), after: -1 });
        }
    }
    let connections = join_all(readers.iter_mut().map(Reader::join)).await;
    let living = readers.into_iter().zip(connections).enumerate().map(|(n, (reader, stream))| {
        tokio::spawn(reader.survive(stream, stage.node.base.clone(), wait(spread, n)))
    });
    let living: Vec<_> = living.collect();
    relay.cut();
    let back = join_all(living).await.into_iter().map(Result::unwrap).collect();

    let asking = (0..READERS).map(|n| {
        let base = stage.node.base.clone();
        tokio::spawn(async move {
            sleep(wait(spread, n)).await;
            let started = Instant::now();
            let mut stream = send(&base, "GET /healthz", "", "").await;
            stream.read_exact(&mut [0; 12]).await.unwrap();
            started.elapsed()
        })
    });
    let asked = join_all(asking.collect::<Vec<_>>()).await;
    let asked = asked.into_iter().map(Result::unwrap).collect();
    row("`GET /healthz`, each on a connection of its own", spread, asked);
    row("first new part", spread, back);
}

fn row(name: &str, spread: Duration, times: Vec<Duration>) {
    println!(
        "| {name} | {spread:?} | {:.1} | {:.1} | {:.1} |",
        percentile(times.clone(), 50),
        percentile(times.clone(), 99),
        percentile(times, 100),
    );
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "echo") {
        let lean_one = arguments[2] == "lean";
        return echo(if lean_one { lean() } else { WebSocketConfig::default() }).await;
    }
    raise_file_limit();
    let stage = Stage::with(20).await;
    weights(&stage).await;
    stage.provider.always(Script::paced(200, PACE));
    println!("{READERS} connections to {TURNS} running turns, cut at once; times in ms");
    println!("| | come back within | p50 | p99 | max |");
    println!("|---|---|---|---|---|");
    for spread in [Duration::from_secs(1), Duration::ZERO] {
        storm(&stage, spread).await;
    }
    stage.node.terminate().await;
    stage.database.check_books().await;
}
