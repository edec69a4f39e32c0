//! The Redis that tests start is a real one, of their own, and does what it is told.

use crate::support::Redis;
use docent::cluster::{Cluster, Status};
use docent::runtime::Tasks;
use docent::types::{NodeId, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn connect(redis: &Redis) -> TcpStream {
    let address = redis.url.trim_start_matches("redis://").trim_end_matches("/0");
    TcpStream::connect(address).await.expect("it listens")
}

/// Sends a command and reads as much as the answer should have.
async fn says(connection: &mut TcpStream, command: &str, answer: &str) {
    connection.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
    hears(connection, answer).await;
}

async fn hears(connection: &mut TcpStream, answer: &str) {
    let mut bytes = vec![0; answer.len()];
    connection.read_exact(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_can_be_frozen_stopped_and_started_again() {
    let (mut redis, other) = tokio::join!(Redis::start(), Redis::start());
    let mut connection = connect(&redis).await;
    says(&mut connection, "PING", "+PONG\r\n").await;
    says(&mut connection, "SET key kept", "+OK\r\n").await;
    says(&mut connect(&other).await, "GET key", "$-1\r\n").await;

    redis.pause();
    connection.write_all(b"GET key\r\n").await.unwrap(); // the kernel keeps it
    redis.resume();
    hears(&mut connection, "$4\r\nkept\r\n").await;

    redis.stop().await;
    assert_eq!(connection.read(&mut [0]).await.unwrap(), 0, "the connection ended");
    let url = redis.url.clone();
    redis.restart().await;
    assert_eq!(redis.url, url);
    says(&mut connect(&redis).await, "GET key", "$-1\r\n").await;

    redis.restart().await; // also while it runs
    redis.pause(); // a frozen one is killed all the same
    redis.stop().await;
    let address = url.trim_start_matches("redis://").trim_end_matches("/0");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_redis_is_away_with_and_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let join = |url: &str| Cluster::join(&Secret::new(url), NodeId::new(), &Tasks::current());
    for scheme in ["redis", "rediss"] {
        let Ok(cluster) = join(&format!("{scheme}://:secret@{address}/0")) else {
            panic!("that is an address")
        };
        let (status, ()) = tokio::join!(cluster.check(), async {
            drop(listener.accept().await.unwrap()); // hangs up
        });
        assert_eq!(status, Status::Away, "{scheme}");
    }
    let Err(wrong) = join("redis://:secret@:::/x") else { panic!("that is none") };
    assert!(!wrong.to_string().contains("secret"), "{wrong}");
}
