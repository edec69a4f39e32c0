//! Fan-out of one turn to real sockets: processor time of the server per part with 1, 10 and 100
//! readers, beside a relay that does nothing but write the same frames to as many sockets. A load
//! program, run with `cargo bench --bench fanout`.
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
use std::time::Duration;
use support::{Floor, Script, Stage, Step, processor_time, send};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PARTS: usize = 3_000;
/// Between two parts: each is written by itself.
const PACE: Duration = Duration::from_millis(2);

/// Reads to the end; returns how many bytes.
fn read(mut stream: TcpStream) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let (mut buffer, mut bytes) = (vec![0; 16 * 1024], 0);
        loop {
            match stream.read(&mut buffer).await.unwrap() {
                0 => return bytes,
                n => bytes += n,
            }
        }
    })
}

/// Processor time and bytes per reader of one turn through docent.
async fn through_docent(stage: &Stage, readers: usize) -> (Duration, usize) {
    let mut script = Script::paced(PARTS, PACE);
    script.steps.insert(0, Step::Wait);
    stage.provider.next(script);
    let anna = &stage.people[0];
    let turn = anna.stream(json!({"text": "Count."})).await.turn();
    stage.provider.until_waiting(1).await;
    let line = format!("GET /v1/turns/{turn}/stream");
    let mut reading = Vec::new();
    for _ in 0..readers {
        let mut stream = send(&anna.base, &line, &anna.token, "").await;
        stream.read_exact(&mut [0; 12]).await.unwrap(); // it is open
        reading.push(read(stream));
    }
    let before = processor_time(stage.node.pid());
    stage.provider.release();
    let bytes = end_of(reading).await / readers;
    (processor_time(stage.node.pid()) - before, bytes)
}

async fn end_of(reading: Vec<JoinHandle<usize>>) -> usize {
    let mut bytes = 0;
    for reader in reading {
        bytes += reader.await.unwrap();
    }
    bytes
}

/// The same frames through the relay.
async fn through_relay(readers: usize) -> (Duration, usize) {
    let floor = Floor::start(&["relay", &readers.to_string()]).await;
    let mut source = TcpStream::connect(&floor.address).await.unwrap();
    let mut reading = Vec::new();
    for _ in 0..readers {
        reading.push(read(TcpStream::connect(&floor.address).await.unwrap()));
    }
    source.set_nodelay(true).unwrap();
    source.read_exact(&mut [0]).await.unwrap(); // all are there
    let before = processor_time(floor.pid());
    let mut pace = tokio::time::interval(PACE);
    for n in 0..PARTS {
        pace.tick().await;
        // What docent writes for a part, chunked encoding included; the line ends a frame here.
        let frame = format!(
            "98\r\tid: 01a1fc30-7864-707c-a5d4-37a5a91ca933.{n}\tdata: \
             {{\"type\":\"text-delta\",\"id\":\"t1\",\"delta\":\"1795240000000000 \"}}\t\n"
        );
        source.write_all(frame.as_bytes()).await.unwrap();
    }
    source.shutdown().await.unwrap();
    let bytes = end_of(reading).await / readers;
    (processor_time(floor.pid()) - before, bytes)
}

/// The floor: frames from the first connection are written to all others, one after the other.
async fn relay(readers: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let (mut source, _) = listener.accept().await.unwrap();
    let mut sinks = Vec::new();
    for _ in 0..readers {
        let (sink, _) = listener.accept().await.unwrap();
        sink.set_nodelay(true).unwrap();
        sinks.push(sink);
    }
    source.write_all(b".").await.unwrap();
    let mut source = BufReader::new(source);
    let mut frame = Vec::new();
    while source.read_until(b'\n', &mut frame).await.unwrap() > 0 {
        for sink in &mut sinks {
            sink.write_all(&frame).await.unwrap();
        }
        frame.clear();
    }
    drop(sinks);
    std::future::pending::<()>().await; // until it is killed: its time is still to be read
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "relay") {
        return relay(arguments[2].parse().unwrap()).await;
    }
    let stage = Stage::with(1).await;
    println!("{PARTS} parts, one every {PACE:?}; processor time of the serving process per part");
    println!("| readers | docent | writes alone | ratio | bytes a part, docent | writes alone |");
    println!("|---|---|---|---|---|---|");
    for readers in [1, 10, 100] {
        let (docent, docent_bytes) = through_docent(&stage, readers).await;
        let (floor, floor_bytes) = through_relay(readers).await;
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / PARTS as f64;
        println!(
            "| {readers} | {:.0} µs | {:.0} µs | {:.2} | {} | {} |",
            micros(docent),
            micros(floor),
            micros(docent) / micros(floor),
            docent_bytes / PARTS,
            floor_bytes / PARTS,
        );
    }
    stage.database.check_books().await;
}
