//! Several nodes that meet in Redis: a turn is where its readers are, whichever node runs it.

use crate::recovery::{expire_leases, left_behind};
use crate::support::{Database, Event, Gate, Node, Provider, Redis, Script, Stream, User, within};
use serde_json::{Value, json};

/// Two nodes, their Redis, and somebody who knows both.
struct Nodes {
    redis: Redis,
    database: Database,
    provider: Provider,
    first: Node,
    second: Node,
    /// At the first node.
    anna: User,
    /// The same person at the second.
    anna_too: User,
}

impl Nodes {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Nodes that have these settings, too.
    async fn with(settings: &[(&str, &str)]) -> Self {
        let redis = Redis::start().await;
        let (database, provider, anna) = left_behind().await;
        let env = [&[("REDIS_URL", redis.url.as_str())], settings].concat();
        let first = Node::with(&database, &provider, &env).await;
        let second = Node::with(&database, &provider, &env).await;
        let (anna, anna_too) = (first.user(&anna), second.user(&anna));
        Self { redis, database, provider, first, second, anna, anna_too }
    }

    /// A turn at the first node that waits after twenty of forty words, and was read so far.
    async fn ask(&self) -> Stream {
        self.ask_and_read().await.0
    }

    /// The same, with what was read.
    async fn ask_and_read(&self) -> (Stream, Vec<Event>) {
        self.provider.next(Script::held(40, 20));
        let mut stream = self.anna.stream(json!({"text": "Count."})).await;
        let seen = stream.until_text("w19").await;
        (stream, seen)
    }
}

fn kinds(events: &[Event]) -> Vec<Value> {
    events.iter().map(|event| event.part()["type"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_read_on_every_node_from_every_offset() {
    let nodes = Nodes::start().await;
    let (mut here, seen) = nodes.ask_and_read().await;
    let turn = here.turn();
    let mut there = nodes.anna_too.attach(&turn, -1).await;
    let mut theirs = there.until_text("w19").await;
    let places: Vec<_> = (0..seen.len()).step_by(3).collect();
    let mut late = Vec::new();
    for n in &places {
        let offset = i64::try_from(seen[*n].offset().unwrap()).unwrap();
        late.push(nodes.anna_too.attach(&turn, offset).await);
    }
    let middle = seen.len() / 2;
    let mut socket = nodes.anna_too.socket().await;
    let after = seen[middle].offset().unwrap();
    socket.send(json!({"type": "attach", "turn_id": turn, "after": after})).await;
    nodes.provider.release();
    let mine = [seen.clone(), here.rest().await].concat();
    theirs.extend(there.rest().await);
    let whole: String = (0..40).map(|n| format!("w{n} ")).collect();
    assert_eq!((text(&mine), text(&theirs)), (whole.clone(), whole.clone()));
    assert_eq!(mine.last(), theirs.last());
    let rest = |n: usize| whole[text(&seen[..=n]).len()..].to_owned();
    for (n, mut reader) in places.into_iter().zip(late) {
        assert_eq!(text(&reader.rest().await), rest(n), "from place {n}");
    }
    let frames = socket.turn().await;
    let deltas = frames.iter().filter_map(|frame| frame["part"]["delta"].as_str());
    assert_eq!(deltas.collect::<String>(), rest(middle));
    nodes.database.check_books().await;
}

fn delta(event: &Event) -> String {
    event.part()["delta"].as_str().unwrap_or_default().to_owned()
}

fn text(events: &[Event]) -> String {
    events.iter().map(delta).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_reach_other_nodes_before_the_journal_has_them() {
    let nodes = Nodes::start().await;
    let gate = Gate::at(&nodes.database, "BEFORE INSERT ON turn_segments", "true").await;
    let here = nodes.ask().await;
    let mut there = nodes.anna_too.attach(&here.turn(), -1).await;
    there.until_text("w19").await;
    let journaled = "SELECT count(*) AS n FROM turn_segments";
    assert_eq!(nodes.database.number(journaled).await, 0);
    gate.open().await;
    nodes.provider.release();
    assert!(text(&there.rest().await).ends_with("w39 "));
    nodes.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_travels_to_the_node_that_runs_the_turn() {
    let nodes = Nodes::start().await;
    let mut here = nodes.ask().await;
    assert_eq!(nodes.anna_too.stop(&here.turn()).await, 202);
    let rest = here.rest().await;
    assert_eq!(kinds(&rest)[..3], ["text-end", "data-usage", "abort"].map(Value::from));
    nodes.provider.until_closed().await;
    assert_eq!(nodes.anna_too.stop(&here.turn()).await, 200, "again is no error");
    nodes.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_dies_its_readers_elsewhere_miss_nothing_and_are_told() {
    let nodes = Nodes::start().await;
    let here = nodes.ask().await;
    let (turn, conversation) = (here.turn(), here.conversation());
    let mut there = nodes.anna_too.attach(&turn, -1).await;
    let mut seen = there.until_text("w19").await;
    nodes.first.kill().await; // its lease runs out in earnest
    let rest = there.rest().await;
    let end = ["text-end", "data-usage", "data-error", "error"].map(Value::from);
    assert_eq!(kinds(&rest)[..4], end);
    seen.extend(rest);
    let again = nodes.anna_too.attach(&turn, -1).await.answer().await;
    assert_eq!(text(&again.events), text(&seen));
    assert_eq!(again.of("data-error")[0]["data"]["retryable"], true);
    assert_eq!(again.usage()["provenance"], "estimated");
    let stored = &nodes.anna_too.messages(&conversation).await[1];
    assert_eq!((&stored["status"], &stored["text"]), (&json!("failed"), &json!(text(&seen))));
    nodes.provider.always(Script::text(&["Once more."], 5, 3));
    let retry = nodes.anna_too.ask_in(&conversation, "Count again.").await;
    assert_eq!(retry.end(), "finish");
    nodes.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_takes_nothing_of_the_others_with_it() {
    let nodes = Nodes::start().await;
    let mut here = nodes.ask().await;
    nodes.second.kill().await;
    expire_leases_of_the_dead(&nodes.database).await;
    nodes.provider.release();
    assert_eq!(kinds(&here.rest().await).iter().rev().nth(1), Some(&json!("finish")));
    nodes.database.check_books().await;
}

/// All leases end; those who live renew theirs within half a second.
async fn expire_leases_of_the_dead(database: &Database) {
    let alive = "SELECT count(*) AS n FROM nodes WHERE lease_until > now()";
    database.run("UPDATE nodes SET lease_until = now() - interval '1 s'").await;
    database.until(alive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_taken_for_dead_adds_nothing() {
    let nodes = Nodes::start().await;
    let mut here = nodes.ask().await;
    let turn = here.turn();
    nodes.first.pause();
    expire_leases(&nodes.database).await;
    let there = nodes.anna_too.attach(&turn, -1).await.answer().await;
    assert_eq!(there.end(), "error");
    nodes.provider.release(); // twenty more words for a turn that is closed
    nodes.first.resume();
    let rest = here.rest().await;
    let terminal = ["finish", "error", "abort"].map(Value::from);
    let ends = kinds(&rest).into_iter().filter(|kind| terminal.contains(kind)).count();
    assert_eq!(ends, 1, "whoever read at that node is told once: {rest:?}");
    let after = nodes.anna_too.attach(&turn, -1).await.answer().await;
    assert_eq!(after.events, there.events, "the log stays as it was closed");
    nodes.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_chat_goes_on_and_it_comes_back() {
    let mut nodes = Nodes::start().await;
    let mut here = nodes.ask().await;
    let turn = here.turn();
    let mut there = nodes.anna_too.attach(&turn, -1).await;
    there.until_text("w19").await;
    nodes.redis.stop().await;
    let (status, ready) = nodes.anna.get("/readyz").await;
    assert_eq!((status, &ready["redis"]), (200, &json!("away")));
    let mut joined = nodes.anna_too.attach(&turn, -1).await;
    nodes.provider.release();
    let (mine, theirs) = (text(&here.rest().await), text(&there.rest().await));
    assert_eq!(mine, theirs, "the journal in PostgreSQL has it all");
    joined.until_text("w39").await;
    assert_eq!(nodes.anna.ask("And without Redis?").await.end(), "finish");
    nodes.redis.restart().await;
    while nodes.anna_too.get("/readyz").await.1["redis"] != "connected" {}
    while nodes.anna.get("/readyz").await.1["redis"] != "connected" {}
    let here = nodes.ask().await;
    nodes.anna_too.attach(&here.turn(), -1).await.until_text("w19").await;
    assert_eq!(nodes.anna_too.stop(&here.turn()).await, 202);
    assert_eq!(nodes.anna.attach(&here.turn(), -1).await.answer().await.end(), "abort");
    nodes.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_holds_nobody_up() {
    let nodes = Nodes::start().await;
    nodes.redis.pause();
    let answer = nodes.anna.ask("Who answers?").await;
    assert_eq!(answer.end(), "finish");
    let elsewhere = nodes.anna_too.attach(&answer.turn, -1).await.answer().await;
    assert_eq!(elsewhere.text(), answer.text());
    assert_eq!(nodes.anna.get("/readyz").await.1["redis"], "away");
    nodes.redis.resume();
    while nodes.anna.get("/readyz").await.1["redis"] != "connected" {}
    nodes.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_no_writes_is_as_good_as_none() {
    let nodes = Nodes::start().await;
    assert_eq!(nodes.redis.say("CONFIG SET maxmemory 1").await, "+OK");
    let mut here = nodes.ask().await;
    assert_eq!(nodes.anna.get("/readyz").await.1["redis"], "away");
    let mut there = nodes.anna_too.attach(&here.turn(), -1).await;
    there.until_text("w19").await;
    nodes.provider.release();
    assert_eq!(text(&here.rest().await), text(&there.rest().await));
    assert_eq!(nodes.redis.say("CONFIG SET maxmemory 0").await, "+OK");
    while nodes.anna.get("/readyz").await.1["redis"] != "connected" {}
    nodes.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_on_another_node_joins_the_same_turn() {
    let nodes = Nodes::start().await;
    nodes.provider.next(Script::held(6, 3));
    let question = json!({"text": "Count."});
    let mut first = nodes.anna.stream_once("k", question.clone()).await;
    let mut seen = first.until_text("w2").await;
    let mut repeat = nodes.anna_too.stream_once("k", question).await;
    assert_eq!((repeat.status, repeat.turn()), (200, first.turn()));
    nodes.provider.release();
    seen.extend(first.rest().await);
    assert_eq!(text(&repeat.rest().await), text(&seen));
    assert_eq!(nodes.provider.calls(), 1);
    let (status, problem) = nodes
        .anna_too
        .post(
            "/v1/chat/stream",
            json!({"text": "Me, too.", "conversation_id": first.conversation()}),
        )
        .await;
    assert_ne!(status, 409, "it has ended: {problem}");
    nodes.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_on_two_nodes_agree() {
    let nodes = Nodes::start().await;
    let mut tab = nodes.anna_too.socket().await;
    let here = nodes.ask().await;
    let conversation = json!(here.conversation());
    for event in ["created", "turn_started"] {
        let (said, frame) = tab.event().await;
        assert_eq!((said.as_str(), &frame["conversation_id"]), (event, &conversation));
    }
    assert_eq!(nodes.anna.stop(&here.turn()).await, 202);
    let (said, frame) = tab.event().await;
    assert_eq!((said.as_str(), &frame["state"]), ("turn_ended", &json!("stopped")));
    let path = format!("/v1/conversations/{}", here.conversation());
    assert_eq!(nodes.anna.patch(&path, json!({"title": "Numbers"})).await.0, 200);
    let (said, frame) = tab.event().await;
    assert_eq!((said.as_str(), &frame["title"]), ("renamed", &json!("Numbers")));
    let last = nodes.anna.messages(&here.conversation()).await[1]["id"].clone();
    let branch = nodes.anna.put(&format!("{path}/branch"), json!({"message_id": last})).await;
    assert_eq!(branch.0, 200);
    let (said, frame) = tab.event().await;
    assert_eq!((said.as_str(), &frame["message_id"]), ("branched", &last));
}

/// Asks until there is a place: a server learns that a client has left when it next reads.
async fn until_admitted(user: &User) {
    let asking = async { while user.stream(json!({"text": "Now?"})).await.status != 200 {} };
    within("a place", asking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_on_all_nodes() {
    let mut nodes = Nodes::with(&[("CONNECTIONS_PER_USER", "2")]).await;
    let first = nodes.anna.socket().await;
    let _second = nodes.anna_too.socket().await;
    for user in [&nodes.anna, &nodes.anna_too] {
        let (status, problem) = user.refused(json!({"text": "And a third?"})).await;
        assert_eq!((status, &problem["code"]), (429, &json!("too_many_connections")));
    }
    drop(first);
    until_admitted(&nodes.anna_too).await;
    nodes.redis.stop().await;
    let _here = nodes.anna.socket().await; // the second and the third: each node counts its own
    until_admitted(&nodes.anna_too).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_for_all_nodes_together() {
    let mut nodes = Nodes::start().await;
    nodes.database.run("UPDATE plans SET user_requests_per_minute = 4").await;
    for user in [&nodes.anna, &nodes.anna_too, &nodes.anna, &nodes.anna_too] {
        let stream = user.stream(json!({"text": "Well?"})).await;
        assert_eq!(stream.status, 200);
        assert!(stream.header("ratelimit").contains("user-requests"));
    }
    for user in [&nodes.anna, &nodes.anna_too] {
        let (status, problem) = user.refused(json!({"text": "And?"})).await;
        assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
        let wait = problem["retry_after_ms"].as_u64().unwrap();
        assert!((1..=15_000).contains(&wait), "one more comes every 15 s: {wait}");
    }
    nodes.redis.stop().await;
    let alone = nodes.anna.stream(json!({"text": "Alone?"})).await;
    assert_eq!(alone.status, 200, "each node counts its own: two of four here");
    assert!(!alone.header("ratelimit").contains("\"user-requests\";r=0;"), "and tells it");
}

/// What each node says is left of the user's tokens.
async fn tokens_left(nodes: &Nodes) -> [u32; 2] {
    let left = async |user: &User| {
        let answer = user.request(reqwest::Method::GET, "/v1/me").send().await.unwrap();
        let left = answer.headers()["ratelimit"].to_str().unwrap().to_owned();
        let (_, left) = left.split_once("\"user-tokens\";r=").unwrap();
        left.split(';').next().unwrap().parse().unwrap()
    };
    [left(&nodes.anna).await, left(&nodes.anna_too).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_turn_used_is_corrected_for_all_nodes_together() {
    let mut nodes = Nodes::start().await;
    nodes.database.run("UPDATE plans SET user_tokens_per_minute = 2500").await;
    let held = nodes.ask().await;
    assert!(tokens_left(&nodes).await.iter().all(|left| *left < 1_500), "as was estimated");
    let (status, problem) = nodes.anna_too.refused(json!({"text": "And?"})).await;
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")));
    nodes.provider.release();
    held.answer().await;
    let left = tokens_left(&nodes).await;
    assert!(left.iter().all(|left| *left > 2_300), "140 were used: {left:?}");

    for user in [&nodes.anna_too, &nodes.anna] {
        assert_eq!(user.ask("And now?").await.end(), "finish");
    }
    nodes.provider.next(Script::text(&["Much."], 2_400, 100));
    nodes.anna_too.ask("How much?").await;
    let (status, _) = nodes.anna.refused(json!({"text": "Still?"})).await;
    assert_eq!(status, 429, "the other node took all that there was");

    nodes.redis.stop().await;
    assert_eq!(nodes.anna.ask("Alone?").await.end(), "finish", "each node counts its own");
    let left = tokens_left(&nodes).await;
    assert!(left[0] > 2_000 && left[1] < 1_500, "corrected here, and still owed there: {left:?}");
}
