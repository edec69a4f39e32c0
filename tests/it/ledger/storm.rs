//! A hundred clients with one question and one key, who ask until they are told: on every transport,
//! over two nodes, of which one is killed in the middle. One turn, one bill.

use crate::chaos::connection::{Connection, Transport, accepted, is_end};
use crate::recovery::left_behind;
use crate::support::books::{Auditor, against_provider, against_readers};
use crate::support::{Balancer, Database, Node, Provider, Redis, Script, User};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::interval;

const CLIENTS: usize = 100;

/// What a client was told in the end.
struct Told {
    turn: String,
    text: String,
    /// finish or error.
    end: Value,
}

/// One of them: it may lose patience once, and asks again.
struct Client {
    number: usize,
    user: User,
    provider: Provider,
    impatient: bool,
}

impl Client {
    fn new(number: usize, user: User, provider: Provider) -> Self {
        Self { number, user, provider, impatient: number % 2 == 1 }
    }

    async fn until_told(mut self) -> Told {
        let mut again = interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            let told = match self.number / 2 % 3 {
                0 => self.follow(Transport::Sse).await,
                1 => self.follow(Transport::WebSocket).await,
                _ => self.wait().await,
            };
            if let Some(told) = told {
                return told;
            }
        }
    }

    fn body() -> Value {
        json!({"text": "Count."})
    }

    async fn follow(&mut self, transport: Transport) -> Option<Told> {
        let mut open = Connection::ask(&self.user, transport, &Self::body(), "once").await?;
        let leaves = std::mem::take(&mut self.impatient).then_some(self.number % 20);
        let mut text = String::new();
        while let Some((offset, part)) = open.next().await {
            if is_end(&part) {
                let end = part["type"].clone();
                return Some(Told { turn: open.turn, text, end });
            }
            text.push_str(part["delta"].as_str().unwrap_or_default());
            if leaves.is_some_and(|leaves| offset >= leaves) {
                return None;
            }
        }
        None
    }

    async fn wait(&mut self) -> Option<Told> {
        let request = self.user.request(Method::POST, "/v1/chat/send");
        let body = Self::body().to_string();
        let sending = request.header("idempotency-key", "once").body(body).send();
        let sent = if std::mem::take(&mut self.impatient) {
            tokio::select! {
                sent = sending => sent,
                () = self.provider.until_waiting(1) => return None,
            }
        } else {
            sending.await
        };
        let failed = sent.as_ref().is_ok_and(|response| response.status() == 502);
        let response = if failed { sent.ok()? } else { accepted(sent).await? };
        let answer: Value = serde_json::from_str(&response.text().await.ok()?).ok()?;
        let of = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let end = json!(if failed { "error" } else { "finish" });
        Some(Told { turn: of("turn_id"), text: of("text"), end })
    }
}

/// The node, and its id in the table `nodes`.
async fn start(database: &Database, provider: &Provider, redis: &Redis) -> (Node, String) {
    let all = "SELECT id::text AS t FROM nodes";
    let before = database.texts(all).await;
    let env = [
        ("REDIS_URL", redis.url.as_str()),
        ("CONNECTIONS_PER_USER", "1000"),
        ("DATABASE_WAIT", "60"),
    ];
    let node = Node::with(database, provider, &env).await;
    let new = database.texts(all).await.into_iter().find(|id| !before.contains(id));
    (node, new.expect("a node registers before it serves"))
}

/// The storm; one of the nodes is killed while the answer is written: the one that writes it, or not.
async fn one_turn_and_one_bill(the_writer_dies: bool) {
    let redis = Redis::start().await;
    let (database, provider, anna) = left_behind().await;
    database
        .run(
            "UPDATE plans SET tenant_requests_per_minute = 2000000000, user_requests_per_minute = 2000000000,
               tenant_tokens_per_minute = 2000000000, user_tokens_per_minute = 2000000000",
        )
        .await;
    let mut nodes =
        vec![start(&database, &provider, &redis).await, start(&database, &provider, &redis).await];
    let balancer = Balancer::before(&[&nodes[0].0.base, &nodes[1].0.base]).await;
    let auditor = Auditor::start(&database).await;
    provider.next(Script::held(40, 20));
    let clients = (0..CLIENTS).map(|n| {
        let user = User { base: balancer.base.clone(), ..anna.clone() };
        tokio::spawn(Client::new(n, user, provider.clone()).until_told())
    });
    let clients = join_all(clients.collect::<Vec<_>>());
    let trouble = async {
        provider.until_waiting(1).await;
        database.until("SELECT count(*) AS n FROM turn_segments WHERE parts LIKE '%w19 %'").await;
        let writer = database.texts("SELECT owner::text AS t FROM turns").await.remove(0);
        let dies = nodes.iter().position(|(_, id)| (*id == writer) == the_writer_dies).unwrap();
        let (node, id) = nodes.remove(dies);
        node.kill().await;
        balancer.set(&[&nodes[0].0.base]);
        // It would take ten seconds.
        database
            .run(&format!("UPDATE nodes SET lease_until = '-infinity' WHERE id = '{id}'"))
            .await;
        provider.release();
    };
    let (told, ()) = tokio::join!(clients, trouble);
    let told: Vec<Told> = told.into_iter().map(|client| client.expect("no surprise")).collect();

    let (end, words) = if the_writer_dies { ("error", 20) } else { ("finish", 40) };
    let whole: String = (0..words).map(|n| format!("w{n} ")).collect();
    for client in &told {
        assert_eq!((&client.turn, &client.end), (&told[0].turn, &json!(end)));
        // Who waits for the whole is told of a failure without the text.
        assert!([whole.as_str(), ""].contains(&client.text.as_str()), "{}", client.text);
    }
    assert!(told.iter().filter(|client| client.text == whole).count() > CLIENTS / 2);
    for (what, sql) in [
        ("turns", "SELECT count(*) AS n FROM turns"),
        (
            "requests",
            "SELECT sum(quantity)::bigint AS n FROM usage_ledger WHERE meter = 'requests'",
        ),
        ("answers", "SELECT count(*) AS n FROM usage_ledger WHERE meter = 'output_tokens'"),
    ] {
        assert_eq!(database.number(sql).await, 1, "{what}");
    }
    assert_eq!(provider.calls(), 1);
    let seen: Vec<_> = told.into_iter().map(|client| (client.turn, client.text)).collect();
    let mut wrong = auditor.finish().await;
    wrong.extend(against_readers(&database, &seen).await);
    wrong.extend(against_provider(&database, &provider).await);
    assert_eq!(wrong, Vec::<String>::new());
    database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_repeats_are_one_bill_when_the_node_that_answers_is_killed() {
    one_turn_and_one_bill(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_repeats_are_one_bill_when_another_node_is_killed() {
    one_turn_and_one_bill(false).await;
}
