//! Fan-out of one turn's log: what a part costs with 1, 10 and 100 readers, beside writing the same
//! bytes to as many channels without a log (the floor).

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use docent::chat::{Part, TurnLog};
use docent::types::TurnId;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const PARTS: u64 = 1_000;

async fn through_log(readers: usize) -> usize {
    let log = TurnLog::new(TurnId::new());
    let reading: Vec<_> = (0..readers)
        .map(|_| {
            let mut cursor = log.cursor(0);
            spawn(async move {
                let mut bytes = 0;
                while let Some(batch) = cursor.next().await {
                    bytes += batch.parts.iter().map(Bytes::len).sum::<usize>();
                }
                bytes
            })
        })
        .collect();
    for n in 0..PARTS {
        log.append(&Part::delta(format!("word{n} ")));
        if n % 10 == 0 {
            tokio::task::yield_now().await; // as a provider's chunks arrive
        }
    }
    log.append(&Part::Finish {});
    total(reading).await
}

/// A bounded channel per reader, the usual way.
async fn through_channels(readers: usize) -> usize {
    let (senders, reading): (Vec<_>, Vec<_>) = (0..readers)
        .map(|_| {
            let (sender, mut receiver) = mpsc::channel::<Bytes>(64);
            let reader = spawn(async move {
                let mut bytes = 0;
                while let Some(part) = receiver.recv().await {
                    bytes += part.len();
                }
                bytes
            });
            (sender, reader)
        })
        .unzip();
    for n in 0..PARTS {
        let part = Part::delta(format!("word{n} "));
        let json = Bytes::from(serde_json::to_vec(&part).unwrap_or_default());
        for sender in &senders {
            drop(sender.send(json.clone()).await);
        }
    }
    drop(senders);
    total(reading).await
}

#[expect(clippy::disallowed_methods, reason = "a benchmark has no Tasks")]
fn spawn(work: impl Future<Output = usize> + Send + 'static) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(work)
}

async fn total(reading: Vec<tokio::task::JoinHandle<usize>>) -> usize {
    let mut bytes = 0;
    for reader in reading {
        bytes += reader.await.unwrap_or_default();
    }
    bytes
}

fn fan_out(criterion: &mut Criterion) {
    let Ok(runtime) = Runtime::new() else { return };
    let mut group = criterion.benchmark_group("fan-out of 1,000 parts");
    group.throughput(Throughput::Elements(PARTS)).sample_size(20);
    for readers in [1, 10, 100] {
        group.bench_with_input(BenchmarkId::new("log", readers), &readers, |b, n| {
            b.to_async(&runtime).iter(|| through_log(*n));
        });
        group.bench_with_input(BenchmarkId::new("channels", readers), &readers, |b, n| {
            b.to_async(&runtime).iter(|| through_channels(*n));
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
