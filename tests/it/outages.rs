//! PostgreSQL goes away in the middle of an answer: the stream goes on, and nothing of it is lost.

use crate::recovery::left_behind;
use crate::support::{Database, Node, Provider, Relay, Script, Stream, User};
use docent::dev::{Cluster, Options};
use serde_json::{Value, json};
use std::path::Path;

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Of PostgreSQL, as a relay wants it.
pub fn address(url: &str) -> String {
    let (_, rest) = url.rsplit_once('@').expect("there is a password");
    format!("http://{}", rest.split('/').next().unwrap())
}

/// The same database behind a relay.
pub fn behind(relay: &Relay, database: &Database) -> Database {
    let url = database.url.replace(
        address(&database.url).trim_start_matches("http://"),
        relay.base.trim_start_matches("http://"),
    );
    Database { url }
}

async fn ask(provider: &Provider, anna: &User) -> Stream {
    provider.next(Script::held(40, 20));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    stream.until_text("w19").await;
    stream
}

fn files(folder: &Path) -> usize {
    folder.join("unsettled").read_dir().map_or(0, |entries| entries.count())
}

/// A node whose way to PostgreSQL can be cut, and an answer that it is in the middle of.
struct CutOff {
    database: Database,
    relay: Relay,
    provider: Provider,
    folder: tempfile::TempDir,
    node: Node,
    anna: User,
    stream: Stream,
}

/// What such nodes have: not much patience, and a folder that outlives them.
fn settings(folder: &Path) -> [(&str, &str); 3] {
    let folder = folder.to_str().unwrap();
    [("DATA_DIR", folder), ("DATABASE_WAIT", "1"), ("DRAIN_TIMEOUT", "1")]
}

impl CutOff {
    /// The answer waits for the provider, and PostgreSQL is gone.
    async fn in_mid_answer() -> Self {
        let (database, provider, anna) = left_behind().await;
        let relay = Relay::to(&address(&database.url)).await;
        let folder = tempfile::tempdir().unwrap();
        let env = settings(folder.path());
        let node = Node::with(&behind(&relay, &database), &provider, &env).await;
        let stream = ask(&provider, &node.user(&anna)).await;
        relay.lead_to(NOWHERE);
        Self { database, relay, provider, folder, node, anna, stream }
    }
}

fn kinds(events: &[crate::support::Event]) -> Vec<Value> {
    events.iter().map(|event| event.part()["type"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_outlives_a_restart_of_postgresql() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let options = || Options::new(folder.path().join("postgres"));
    let cluster = Cluster::start(options()).await.expect("PostgreSQL starts");
    cluster.create_database_if_missing("docent").await.unwrap();
    docent::store::migrate(&cluster.url("docent")).await.unwrap();
    let relay = Relay::to(&format!("http://127.0.0.1:{}", cluster.port())).await;
    let database = behind(&relay, &Database { url: cluster.url("docent") });
    let provider = Provider::start().await;
    let world = crate::support::World::on(database.clone(), provider.clone(), Default::default());
    let world = world.await;
    let anna = world.user("anna@acme.test").await;
    let mut stream = ask(&provider, &anna).await;
    let data = cluster.data_dir().to_owned();
    cluster.stop().await;
    assert_eq!(anna.get("/readyz").await.0, 503, "readiness tells the truth");
    let cluster = Cluster::start(options()).await.expect("PostgreSQL starts again");
    relay.lead_to(&format!("http://127.0.0.1:{}", cluster.port()));
    provider.release();
    let rest = stream.rest().await;
    assert_eq!(
        kinds(&rest)[rest.len() - 3..],
        ["data-usage", "finish"]
            .map(Value::from)
            .into_iter()
            .chain([Value::Null])
            .collect::<Vec<_>>()
    );
    let replayed = anna.attach(&stream.turn(), -1).await.answer().await;
    assert_eq!(
        (replayed.end().as_str(), replayed.usage()["provenance"].as_str()),
        ("finish", Some("exact"))
    );
    let stored = &anna.messages(&stream.conversation()).await[1];
    assert_eq!(stored["text"], replayed.text());
    database.check_books().await;
    world.stop().await;
    cluster.stop().await;
    drop(std::fs::remove_dir_all(data)); // as root it is not in our folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_waits_in_a_file_and_its_clients_do_not() {
    let CutOff { database, relay, provider, folder, node, anna, mut stream } =
        CutOff::in_mid_answer().await;
    let anna = node.user(&anna);
    provider.release();
    let rest = stream.rest().await;
    assert!(kinds(&rest).contains(&json!("finish")), "{rest:?}");
    assert_eq!(files(folder.path()), 1);
    let running = "SELECT count(*) AS n FROM turns WHERE state = 'running'";
    assert_eq!(database.number(running).await, 1);
    relay.lead_to(&address(&database.url));
    database.until("SELECT count(*) AS n FROM turns WHERE state = 'complete'").await;
    while files(folder.path()) > 0 {
        tokio::task::yield_now().await;
    }
    let stored = &anna.messages(&stream.conversation()).await[1];
    assert_eq!(
        (&stored["status"], &stored["usage"]["output_tokens"]),
        (&json!("complete"), &json!(40))
    );
    database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_settles_what_the_last_process_could_not() {
    let CutOff { database, provider, folder, node, anna, mut stream, .. } =
        CutOff::in_mid_answer().await;
    provider.release();
    assert!(kinds(&stream.rest().await).contains(&json!("finish")));
    node.kill().await;
    let node = Node::with(&database, &provider, &settings(folder.path())).await;
    database.until("SELECT count(*) AS n FROM turns WHERE state = 'complete'").await;
    let anna = node.user(&anna);
    let answer = anna.attach(&stream.turn(), -1).await.answer().await;
    assert_eq!(
        (answer.end().as_str(), answer.usage()["provenance"].as_str()),
        ("finish", Some("exact"))
    );
    database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_postgresql_is_away_loses_no_answer() {
    let CutOff { database, provider, folder, node, anna, mut stream, .. } =
        CutOff::in_mid_answer().await;
    let turn = stream.turn();
    let ((code, log), rest) = tokio::join!(node.terminate(), stream.rest());
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(kinds(&rest).contains(&json!("error")), "cut short, and told so: {rest:?}");
    assert_eq!(files(folder.path()), 1);
    let node = Node::with(&database, &provider, &settings(folder.path())).await;
    database.until("SELECT count(*) AS n FROM turns WHERE state = 'failed'").await;
    let answer = node.user(&anna).attach(&turn, -1).await.answer().await;
    assert!(answer.text().ends_with("w19 "), "{}", answer.text());
    database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_nobody_up() {
    let (database, provider, anna) = left_behind().await;
    // Nobody reads a test's node before it ends; what a pipe holds is full after some of these.
    let node = Node::with(&database, &provider, &[("LOG", "trace")]).await;
    let anna = node.user(&anna);
    for _ in 0..5 {
        assert_eq!(anna.ask("Do you hear me?").await.end(), "finish");
    }
    let (code, log) = node.terminate().await;
    let bytes: usize = log.iter().map(String::len).sum();
    assert!(code == Some(0) && bytes > 200_000, "{code:?}: {bytes} bytes");
    assert!(log.iter().any(|line| line.contains("Shut down")), "the last words are there");
}
