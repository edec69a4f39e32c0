//! Server-sent events as a client reads them.

use super::schema::check_part;
use super::within;
use futures_util::{Stream as _, StreamExt};
use serde_json::Value;
use std::pin::Pin;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: String,
}

impl Event {
    /// The part, if the data is one.
    pub fn part(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }

    /// The offset in the id `<turn>.<offset>`.
    pub fn offset(&self) -> Option<usize> {
        self.id.as_deref()?.rsplit_once('.')?.1.parse().ok()
    }
}

/// However much of a text came in one event: the pieces of each text as one, with the last id.
/// Readers of a turn saw the same when these are the same.
pub fn joined(events: &[Event]) -> Vec<Event> {
    let mut out: Vec<(Event, Value)> = Vec::new();
    for event in events {
        let part = event.part();
        let last = out.last_mut();
        match last.and_then(|(last, before)| join(before, &part).then_some(last)) {
            Some(last) => last.id.clone_from(&event.id),
            None => out.push((event.clone(), part)),
        }
    }
    let told = |(event, part): (Event, Value)| match part["type"] == "text-delta" {
        true => Event { data: part.to_string(), ..event },
        false => event,
    };
    out.into_iter().map(told).collect()
}

/// The same of parts.
pub fn joined_parts(parts: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for part in parts {
        if !out.last_mut().is_some_and(|last| join(last, &part)) {
            out.push(part);
        }
    }
    out
}

/// Appends `part` to `before`, when both are pieces of the same text.
fn join(before: &mut Value, part: &Value) -> bool {
    let delta = |part: &Value| part["type"] == "text-delta";
    if !delta(before) || !delta(part) || before["id"] != part["id"] {
        return false;
    }
    let text = [before["delta"].as_str().unwrap(), part["delta"].as_str().unwrap()].concat();
    before["delta"] = text.into();
    true
}

type Bytes = Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>;

/// A response that streams.
pub struct Stream {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    bytes: Bytes,
    buffer: String,
    /// What was no event: comments, and when to come back.
    aside: String,
}

impl Stream {
    pub fn new(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes: Bytes = Box::pin(response.bytes_stream());
        let _bounds = bytes.size_hint();
        Self { status, headers, bytes, buffer: String::new(), aside: String::new() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn turn(&self) -> String {
        self.header("x-turn-id").into()
    }

    pub fn conversation(&self) -> String {
        self.header("x-conversation-id").into()
    }

    /// The events in what was read of a response; other lines (headers, chunk sizes) are skipped.
    pub fn events_in(text: &str) -> Vec<Event> {
        text.split("\n\n").filter_map(event_in).collect()
    }

    /// The next event with data; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let event = event_in(block);
                if event.is_none() {
                    self.aside.push_str(block);
                    self.aside.push('\n');
                }
                self.buffer = rest.to_owned();
                match event {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let piece = within("an event", self.bytes.next()).await?.ok()?;
            self.buffer.push_str(std::str::from_utf8(&piece).expect("events end at characters"));
        }
    }

    /// What was said besides events since the stream began, a line each.
    pub fn asides(&self) -> Vec<&str> {
        self.aside.lines().collect()
    }

    /// Reads until a text delta contains `text`; returns all events so far.
    pub async fn until_text(&mut self, text: &str) -> Vec<Event> {
        let mut seen = Vec::new();
        loop {
            let event = self.next().await.expect("the text comes before the end");
            let found = event.part()["delta"].as_str().is_some_and(|d| d.contains(text));
            seen.push(event);
            if found {
                return seen;
            }
        }
    }

    /// Reads to the end.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            seen.push(event);
        }
        seen
    }

    /// Reads a turn to its end.
    pub async fn answer(mut self) -> Answer {
        let (turn, conversation) = (self.turn(), self.conversation());
        let events = self.rest().await;
        Answer { turn, conversation, events }
    }
}

/// The event of a block of lines, when it has data.
fn event_in(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        block.lines().find_map(|l| l.strip_prefix(&prefix)).map(String::from)
    };
    Some(Event { id: field("id"), event: field("event"), data: field("data")? })
}

/// A whole turn as a client saw it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub turn: String,
    pub conversation: String,
    pub events: Vec<Event>,
}

impl Answer {
    /// All parts, the pieces of each text joined; checked: offsets without a gap but for text that
    /// was merged, one terminal part, last, then `[DONE]`.
    pub fn parts(&self) -> Vec<Value> {
        let (done, parts) = self.events.split_last().expect("a stream is not empty");
        assert_eq!(done.data, "[DONE]", "a stream ends with [DONE]");
        let mut next = 0;
        for event in parts {
            let offset = event.offset().expect("a part has an offset");
            let merged = offset > next && event.part()["type"] == "text-delta";
            assert!(offset == next || merged, "offsets have no gap: {next}, then {event:?}");
            next = offset + 1;
        }
        let parts = joined_parts(parts.iter().map(Event::part));
        parts.iter().for_each(check_part);
        let terminal = |part: &&Value| {
            ["finish", "error", "abort"].contains(&part["type"].as_str().unwrap_or_default())
        };
        assert_eq!(parts.iter().filter(terminal).count(), 1, "one terminal part: {parts:?}");
        assert!(parts.last().as_ref().is_some_and(terminal), "the terminal part is last");
        parts
    }

    /// Asserts that `seen` is how this began.
    pub fn begins_with(&self, seen: &[Event]) {
        let mut seen = joined(seen);
        let last = seen.pop().expect("something was seen");
        let all = joined(&self.events);
        assert_eq!(all[..seen.len()], seen);
        match last.part()["delta"].as_str() {
            Some(text) => {
                let whole = all[seen.len()].part();
                assert!(whole["delta"].as_str().unwrap().starts_with(text), "{text}, {whole}");
            }
            None => assert_eq!(all[seen.len()], last),
        }
    }

    /// The parts of a kind.
    pub fn of(&self, kind: &str) -> Vec<Value> {
        self.parts().into_iter().filter(|part| part["type"] == kind).collect()
    }

    /// finish, error or abort.
    pub fn end(&self) -> String {
        self.parts().last().expect("there is a part")["type"].as_str().unwrap().into()
    }

    /// The answer's text.
    pub fn text(&self) -> String {
        let deltas = self.of("text-delta");
        deltas.iter().map(|part| part["delta"].as_str().unwrap()).collect()
    }

    /// The passages, in order.
    pub fn citations(&self) -> Vec<Value> {
        self.of("data-citation").into_iter().map(|part| part["data"].clone()).collect()
    }

    /// The bill.
    pub fn usage(&self) -> Value {
        self.of("data-usage").first().map_or(Value::Null, |part| part["data"].clone())
    }
}
