//! What must be true when everything has settled, whatever happened before.

use super::client::Sight;
use super::connection::is_end;
use super::fleet::Fleet;
use crate::support::{Database, User};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A turn as the database has it.
struct Stored {
    state: String,
    text: String,
    /// Its node was killed, and the turn was closed without it.
    orphaned: bool,
}

pub async fn check(sights: &[Sight], fleet: &Fleet<'_>, database: &Database) {
    database
        .until("SELECT (NOT EXISTS (SELECT FROM turns WHERE state = 'running'))::int::bigint AS n")
        .await;
    let stored = stored(database, &fleet.killed).await;
    let seen: BTreeSet<&str> = sights.iter().map(|sight| sight.turn.as_str()).collect();
    let all: BTreeSet<&str> = stored.keys().map(String::as_str).collect();
    assert_eq!(seen, all, "every question became one turn, and every turn was somebody's");
    let mut ahead = 0;
    for turn in seen {
        let stored = &stored[turn];
        let of_turn: Vec<&Sight> = sights.iter().filter(|sight| sight.turn == turn).collect();
        let log = replayed(&of_turn[0].user, fleet, turn).await;
        agrees(&log, stored);
        for sight in of_turn {
            ahead += usize::from(saw(sight, &log, stored));
        }
    }
    let open = "SELECT (SELECT count(*) FROM reservations WHERE state = 'open')
        + (SELECT coalesce(sum(reserved), 0)::bigint FROM billing.quotas_v1) AS n";
    assert_eq!(database.number(open).await, 0, "nothing stays reserved");
    database.check_books().await;
    summarise(sights.len(), ahead, &stored, fleet);
}

async fn stored(database: &Database, killed: &[String]) -> BTreeMap<String, Stored> {
    let rows = database
        .texts(
            "SELECT json_build_array(t.id, t.owner, t.state, t.error_code, m.content, m.status)::text
               AS t FROM turns t
             LEFT JOIN messages m ON m.turn_id = t.id AND m.role = 'assistant'",
        )
        .await;
    let rows = rows.iter().map(|row| {
        let row: Value = serde_json::from_str(row).unwrap();
        let text = |n: usize| row[n].as_str().unwrap_or_default().to_owned();
        assert!(row[4].is_string(), "every answer is stored, and once: {row}");
        assert_eq!(row[2], row[5], "turn and message say the same: {row}");
        let orphaned = text(3) == "interrupted" && killed.contains(&text(1));
        (text(0), Stored { state: text(2), text: text(4), orphaned })
    });
    let turns = rows.clone().count();
    let stored: BTreeMap<_, _> = rows.collect();
    assert_eq!(stored.len(), turns, "one answer a turn");
    stored
}

/// A log by offsets; text that was merged is at its last one.
type Log = BTreeMap<usize, Value>;

/// The log as every node replays it: without a gap, with one terminal part, which is last.
async fn replayed(user: &User, fleet: &Fleet<'_>, turn: &str) -> Log {
    let mut answers = Vec::new();
    for node in &fleet.nodes {
        answers.push(node.user(user).attach(turn, -1).await.answer().await);
    }
    let same = answers.windows(2).all(|pair| pair[0].parts() == pair[1].parts());
    assert!(same, "every node replays the same: {answers:?}");
    let parts = answers[0].events.iter().filter_map(|event| Some((event.offset()?, event.part())));
    parts.collect()
}

fn text_of<'a>(parts: impl IntoIterator<Item = &'a Value>) -> String {
    parts.into_iter().filter_map(|part| part["delta"].as_str()).collect()
}

fn end_of(log: &Log) -> &Value {
    log.last_key_value().expect("a log is not empty").1
}

/// The log and the stored answer say the same.
fn agrees(log: &Log, stored: &Stored) {
    assert_eq!(text_of(log.values()), stored.text);
    let end = match stored.state.as_str() {
        "complete" => "finish",
        "stopped" => "abort",
        _ => "error",
    };
    assert_eq!(end_of(log)["type"], end, "{log:?}");
}

/// What a reader saw is the log: from the start, without a gap (which the connection checks), to the
/// same end. Only where a node was killed may more have been seen than was written down; then what
/// was written is the beginning of it, and the reader was told an end all the same. Returns whether
/// that was so.
fn saw(sight: &Sight, log: &Log, stored: &Stored) -> bool {
    let turn = &sight.turn;
    if let Some(end) = &sight.end {
        assert_eq!(end, end_of(log), "{turn}: the same end for everybody");
    }
    if let Some(text) = &sight.whole {
        let Stored { state, orphaned, .. } = stored;
        assert_eq!(*text, stored.text, "{turn} {state} orphaned={orphaned}");
        assert_ne!(end_of(log)["type"], "error", "{turn}: answered with 200");
        return false;
    }
    let last = log.iter().rfind(|(_, part)| !is_closing(part));
    let closing = last.map_or(0, |(offset, _)| offset + 1);
    let mut ahead = false;
    for (offset, part) in sight.parts.iter().filter(|(_, part)| part["type"] != "text-delta") {
        if log.get(offset) != Some(part) {
            let lost = stored.orphaned && *offset >= closing;
            assert!(lost, "{turn}: {offset} was {part}, is {log:?}");
            ahead = true;
        }
    }
    let seen = text_of(sight.parts.values());
    let told = sight.end.is_some() && !sight.parts.is_empty();
    let right = if told { seen == stored.text } else { stored.text.starts_with(&seen) };
    let lost = stored.orphaned && seen.starts_with(&stored.text);
    assert!(lost || right, "{turn}: {seen:?} is not {:?}", stored.text);
    ahead || !right
}

/// True of what the sweeper writes behind the last part that a dead node had written.
fn is_closing(part: &Value) -> bool {
    let kind = part["type"].as_str().unwrap_or_default();
    is_end(part) || ["text-end", "data-usage", "data-error"].contains(&kind)
}

fn summarise(readers: usize, ahead: usize, stored: &BTreeMap<String, Stored>, fleet: &Fleet<'_>) {
    let count = |state: &str| stored.values().filter(|turn| turn.state == state).count();
    let orphaned = stored.values().filter(|turn| turn.orphaned).count();
    println!(
        "{readers} readers ({ahead} saw more than was written) of {} turns: {} complete, {} stopped, \
         {} failed ({orphaned} of {} killed nodes); {:?}",
        stored.len(),
        count("complete"),
        count("stopped"),
        count("failed"),
        fleet.killed.len(),
        fleet.troubles
    );
}
