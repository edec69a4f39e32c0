//! A vendor's HTTP server: real requests over TCP, answered by the vendor's rules, with moods.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A request as it came.
pub struct Request {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Status and JSON.
pub type Response = (u16, Value);

/// What a vendor documents.
pub trait Rules: Send + 'static {
    fn take(&mut self, request: &Request, book: &mut Book) -> Response;
}

/// What a vendor has.
#[derive(Debug, Default)]
pub struct Book {
    /// By id: customer, meter, quantity.
    pub events: BTreeMap<String, (String, String, i64)>,
    /// How many events came that were there already.
    pub again: usize,
    /// Ids of events that it refuses for good.
    pub poison: BTreeSet<String>,
    /// Ids that it knows again.
    pub known: BTreeSet<String>,
    /// What must not happen: a wrong key, a batch too large, an event that is billed twice.
    pub wrong: Vec<String>,
}

impl Book {
    /// Takes an event, if its id is not known.
    pub fn take(&mut self, id: &str, customer: &str, event: &str, quantity: i64) {
        if !self.known.insert(id.to_owned()) {
            self.again += 1;
            return;
        }
        let meter = event.strip_prefix("docent_").unwrap_or(event);
        let taken = (customer.to_owned(), meter.to_owned(), quantity);
        if let Some(before) = self.events.insert(id.to_owned(), taken) {
            self.wrong.push(format!("{id} is billed twice: {before:?}"));
        }
    }

    /// Sums by customer and meter, without those that are zero.
    pub fn sums(&self) -> Vec<String> {
        let mut sums = BTreeMap::<String, i64>::new();
        for (customer, meter, quantity) in self.events.values() {
            *sums.entry(format!("{customer} {meter}")).or_default() += quantity;
        }
        let sums = sums.into_iter().filter(|(_, sum)| *sum != 0);
        sums.map(|(of, sum)| format!("{of} {sum}")).collect()
    }
}

/// What the server does instead of answering by its rules.
#[derive(Clone, Debug)]
pub enum Mood {
    /// It answers by its rules.
    Well,
    /// It refuses with this status and these header lines, each ending in CRLF.
    Down(u16, &'static str),
    /// It takes the request and hangs up without a word.
    Cut,
    /// It takes the request and never answers.
    Hang,
}

struct Shared {
    rules: Mutex<Box<dyn Rules>>,
    book: Mutex<Book>,
    moods: Mutex<VecDeque<Mood>>,
    calls: watch::Sender<usize>,
}

/// The server; it lives as long as its test.
#[derive(Clone)]
pub struct Desk {
    shared: Arc<Shared>,
    pub url: String,
}

impl Desk {
    pub async fn open(rules: impl Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            rules: Mutex::new(Box::new(rules)),
            book: Mutex::default(),
            moods: Mutex::default(),
            calls: watch::channel(0).0,
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&serving)));
            }
        });
        Self { shared, url }
    }

    /// What the next requests meet, in order; then it is well again.
    pub fn mood(&self, moods: impl IntoIterator<Item = Mood>) {
        self.shared.moods.lock().unwrap().extend(moods);
    }

    /// Requests so far.
    pub fn calls(&self) -> usize {
        *self.shared.calls.borrow()
    }

    /// Returns when `n` requests have come.
    pub async fn called(&self, n: usize) {
        let mut calls = self.shared.calls.subscribe();
        crate::support::within("requests", calls.wait_for(|calls| *calls >= n)).await.unwrap();
    }

    /// What it has.
    pub fn book<T>(&self, look: impl FnOnce(&mut Book) -> T) -> T {
        look(&mut self.shared.book.lock().unwrap())
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let mood = shared.moods.lock().unwrap().pop_front().unwrap_or(Mood::Well);
        let by_the_rules = || {
            let mut book = shared.book.lock().unwrap();
            shared.rules.lock().unwrap().take(&request, &mut book)
        };
        let (status, headers, body) = match mood {
            Mood::Down(status, headers) => (status, headers, Value::Null),
            Mood::Well => {
                let (status, body) = by_the_rules();
                (status, "", body)
            }
            Mood::Cut | Mood::Hang => {
                by_the_rules();
                (0, "", Value::Null)
            }
        };
        shared.calls.send_modify(|calls| *calls += 1);
        match mood {
            Mood::Cut => return,
            Mood::Hang => std::future::pending().await,
            Mood::Well | Mood::Down(..) => {}
        }
        let body = if status == 204 { String::new() } else { body.to_string() };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: BTreeMap<String, String> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    let line = lines.first()?.trim_end_matches(" HTTP/1.1").to_owned();
    Some(Request { line, headers, body: String::from_utf8(body).ok()? })
}
