//! A scripted provider: OpenAI's, Anthropic's and Gemini's real wire formats over real TCP; and OpenAI's for vectors,
//! which need no script.
//!
//! The path that is asked decides the format. Each request takes the next script, or the default one. A script can wait for the test, hang,
//! break the connection or send any bytes; the test sees what was asked, how much was sent, and when
//! docent hung up.

use super::provider_vectors;
use super::provider_wire::Writer;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// One thing the provider does while it answers.
#[derive(Clone, Debug)]
pub enum Step {
    /// A content delta.
    Text(String),
    /// A content delta that says when it is sent, in microseconds since 1970.
    Clock,
    /// A stretch of what the model thinks.
    Thought(String),
    /// A tool is to be called: id, name and JSON of the arguments.
    Call(&'static str, &'static str, &'static str),
    /// Says nothing for so long.
    Pause(Duration),
    /// Waits until the test calls [`Provider::release`] once more.
    Wait,
    /// The answer is complete, or waits for what its calls give.
    Finish,
    /// What it cost: prompt and completion tokens.
    Usage(u64, u64),
    /// Nothing follows, such as `data: [DONE]`.
    Done,
    /// Any bytes, as they are.
    Raw(Vec<u8>),
    /// The same bytes again and again, until docent hangs up.
    Forever(Vec<u8>),
    /// Says nothing more and keeps the connection.
    Hang,
    /// Resets the connection.
    Reset,
}

/// An answer of the provider.
#[derive(Clone, Debug)]
pub struct Script {
    pub status: u16,
    /// Extra header lines, each ending in CRLF.
    pub headers: String,
    pub content_type: &'static str,
    pub steps: Vec<Step>,
    /// False: the request is taken, and never answered.
    pub answers: bool,
}

impl Script {
    /// A whole answer of these deltas, with exact usage.
    pub fn text(deltas: &[&str], input: u64, output: u64) -> Self {
        let mut steps: Vec<Step> = deltas.iter().map(|d| Step::Text((*d).into())).collect();
        steps.extend([Step::Finish, Step::Usage(input, output), Step::Done]);
        Self::steps(steps)
    }

    /// A thought, then calls: id, name and JSON of the arguments of each.
    pub fn calls(
        thought: &str,
        calls: &[(&'static str, &'static str, &'static str)],
        input: u64,
        output: u64,
    ) -> Self {
        let mut steps = vec![Step::Thought(thought.into())];
        steps.extend(calls.iter().map(|(id, name, json)| Step::Call(id, name, json)));
        steps.extend([Step::Finish, Step::Usage(input, output), Step::Done]);
        Self::steps(steps)
    }

    /// Any steps, as an event stream.
    pub fn steps(steps: Vec<Step>) -> Self {
        let (headers, content_type) = (String::new(), "text/event-stream");
        Self { status: 200, headers, content_type, steps, answers: true }
    }

    /// No answer at all: not even a status.
    pub fn silence() -> Self {
        Self { answers: false, ..Self::steps(vec![]) }
    }

    /// `n` tokens, one every `pace`, each of which says when it was sent.
    pub fn paced(n: usize, pace: Duration) -> Self {
        let mut steps = vec![[Step::Pause(pace), Step::Clock]; n].concat();
        steps.extend([Step::Finish, Step::Usage(100, n as u64), Step::Done]);
        Self::steps(steps)
    }

    /// A refusal in OpenAI's error shape, which the others' clients read, too.
    pub fn error(status: u16, code: &str) -> Self {
        let body =
            json!({"error": {"message": "scripted", "type": code, "param": null, "code": code}});
        let steps = vec![Step::Raw(body.to_string().into_bytes())];
        Self { status, content_type: "application/json", ..Self::steps(steps) }
    }

    /// `n` tokens; a wait after the first `before` of them.
    pub fn held(n: usize, before: usize) -> Self {
        let mut steps: Vec<Step> = (0..n).map(|i| Step::Text(format!("w{i} "))).collect();
        steps.insert(before, Step::Wait);
        steps.extend([Step::Finish, Step::Usage(100, n as u64), Step::Done]);
        Self::steps(steps)
    }
}

/// A request that was answered with 200, and what was said before it ended.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The last message.
    pub question: String,
    pub text: String,
    /// The last usage that was reported.
    pub usage: Option<(u64, u64)>,
    /// The provider broke it off itself: it may be asked again.
    pub reset: bool,
}

struct Shared {
    scripts: Mutex<VecDeque<Script>>,
    default: Mutex<Script>,
    requests: Mutex<Vec<Value>>,
    answered: Mutex<Vec<Call>>,
    paths: Mutex<Vec<String>>,
    embeddings: Mutex<Vec<Value>>,
    embedding_scripts: Mutex<VecDeque<Script>>,
    moderated: Mutex<Vec<Value>>,
    moderation_scripts: Mutex<VecDeque<Script>>,
    heads: Mutex<Vec<String>>,
    gate: Semaphore,
    open: watch::Sender<usize>,
    waiting: watch::Sender<usize>,
    calls: AtomicUsize,
}

impl Shared {
    /// Notes a call that is answered; returns its place.
    fn begin(&self, call: Call) -> usize {
        let mut answered = self.answered.lock().unwrap();
        answered.push(call);
        answered.len() - 1
    }
}

/// The server; it lives as long as its test.
#[derive(Clone)]
pub struct Provider {
    shared: Arc<Shared>,
    /// What OpenAI's and Anthropic's clients take for a base.
    pub url: String,
    /// What Gemini's takes.
    pub gemini_url: String,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let gemini_url = format!("{url}beta");
        let shared = Arc::new(Shared {
            scripts: Mutex::default(),
            default: Mutex::new(Script::text(&["Forty", "-two", ". [1]"], 120, 7)),
            requests: Mutex::default(),
            answered: Mutex::default(),
            paths: Mutex::default(),
            embeddings: Mutex::default(),
            embedding_scripts: Mutex::default(),
            moderated: Mutex::default(),
            moderation_scripts: Mutex::default(),
            heads: Mutex::default(),
            gate: Semaphore::new(0),
            open: watch::channel(0).0,
            waiting: watch::channel(0).0,
            calls: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    shared.open.send_modify(|n| *n += 1);
                    let _ended = converse(stream, &shared).await;
                    shared.open.send_modify(|n| *n -= 1);
                });
            }
        });
        Self { shared, url, gemini_url }
    }

    /// The next request gets this.
    pub fn next(&self, script: Script) {
        self.shared.scripts.lock().unwrap().push_back(script);
    }

    /// The next request for vectors gets this instead.
    pub fn next_embedding(&self, script: Script) {
        self.shared.embedding_scripts.lock().unwrap().push_back(script);
    }

    /// The next question that is moderated gets this instead.
    pub fn next_moderation(&self, script: Script) {
        self.shared.moderation_scripts.lock().unwrap().push_back(script);
    }

    /// The requests to moderate so far.
    pub fn moderated(&self) -> Vec<Value> {
        self.shared.moderated.lock().unwrap().clone()
    }

    /// The texts of each request for vectors so far.
    pub fn embedded(&self) -> Vec<Vec<String>> {
        let bodies = self.shared.embeddings.lock().unwrap().clone();
        bodies.iter().map(provider_vectors::texts).collect()
    }

    /// Every request without a script of its own gets this.
    pub fn always(&self, script: Script) {
        *self.shared.default.lock().unwrap() = script;
    }

    /// Lets one waiting script go on.
    pub fn release(&self) {
        self.shared.gate.add_permits(1);
    }

    /// Returns when `n` scripts wait at a [`Step::Wait`].
    pub async fn until_waiting(&self, n: usize) {
        self.shared.waiting.subscribe().wait_for(|waiting| *waiting >= n).await.unwrap();
    }

    /// Returns when docent has hung up on every conversation.
    pub async fn until_closed(&self) {
        self.shared.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }

    /// The bodies of all chat requests so far.
    pub fn requests(&self) -> Vec<Value> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The requests that were answered with 200: what is to be paid for.
    pub fn answered(&self) -> Vec<Call> {
        self.shared.answered.lock().unwrap().clone()
    }

    /// The paths of all chat requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.shared.paths.lock().unwrap().clone()
    }

    /// The first lines and headers of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }

    /// How many chat requests there were.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let (asked, body) = read_request(&mut stream).await?;
    let path = asked.split_whitespace().nth(1).unwrap_or_default().to_owned();
    if path.ends_with("/embeddings") {
        return embed(stream, shared, body).await;
    }
    if path.ends_with("/moderations") {
        return moderate(stream, shared, body).await;
    }
    shared.heads.lock().unwrap().push(asked);
    shared.calls.fetch_add(1, Ordering::SeqCst);
    let question = body["messages"].as_array().and_then(|all| all.last()?["content"].as_str());
    let call = Call { question: question.unwrap_or_default().into(), ..Call::default() };
    shared.requests.lock().unwrap().push(body);
    shared.paths.lock().unwrap().push(path.clone());
    let script = shared.scripts.lock().unwrap().pop_front();
    let script = script.unwrap_or_else(|| shared.default.lock().unwrap().clone());
    if !script.answers {
        return hung_up(&mut stream).await;
    }
    stream.set_nodelay(true)?;
    let answered = (script.status == 200).then(|| shared.begin(call));
    // Before it is sent: nobody has heard of what is not noted.
    let note = |what: &dyn Fn(&mut Call)| {
        answered.inspect(|n| what(&mut shared.answered.lock().unwrap()[*n]));
    };
    stream.write_all(head(&script).as_bytes()).await?;
    let mut writer = Writer::new(&path, &script.steps);
    for step in script.steps {
        match step {
            Step::Text(text) => {
                note(&|call| call.text.push_str(&text));
                send(&mut stream, writer.text(&text)).await?;
            }
            Step::Thought(text) => send(&mut stream, writer.thought(&text)).await?,
            Step::Call(id, name, json) => send(&mut stream, writer.call(id, name, json)).await?,
            Step::Clock => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
                let text = format!("{now} ");
                note(&|call| call.text.push_str(&text));
                send(&mut stream, writer.text(&text)).await?;
            }
            Step::Pause(length) => tokio::time::sleep(length).await,
            Step::Finish => send(&mut stream, writer.finish()).await?,
            Step::Usage(input, output) => {
                note(&|call| call.usage = Some((input, output)));
                send(&mut stream, writer.usage(input, output)).await?;
            }
            Step::Done => send(&mut stream, writer.done()).await?,
            Step::Raw(bytes) => stream.write_all(&bytes).await?,
            Step::Wait => {
                shared.waiting.send_modify(|n| *n += 1);
                let outcome = tokio::select! {
                    permit = shared.gate.acquire() => { permit.unwrap().forget(); Ok(()) }
                    gone = hung_up(&mut stream) => gone,
                };
                shared.waiting.send_modify(|n| *n -= 1);
                outcome?;
            }
            Step::Forever(bytes) => loop {
                stream.write_all(&bytes).await?;
            },
            Step::Hang => hung_up(&mut stream).await?,
            Step::Reset => {
                note(&|call| call.reset = true);
                return stream.set_zero_linger();
            }
        }
    }
    stream.shutdown().await
}

/// Answers a request for vectors.
async fn embed(mut stream: TcpStream, shared: &Shared, body: Value) -> std::io::Result<()> {
    let script = shared.embedding_scripts.lock().unwrap().pop_front();
    let script = script.unwrap_or_else(|| provider_vectors::script(&body));
    shared.embeddings.lock().unwrap().push(body);
    reply(&mut stream, script).await
}

/// Answers a request to moderate: whoever speaks of an attack is flagged.
async fn moderate(mut stream: TcpStream, shared: &Shared, body: Value) -> std::io::Result<()> {
    let inputs = body["input"].as_array().unwrap().clone();
    shared.moderated.lock().unwrap().push(body);
    let script = shared.moderation_scripts.lock().unwrap().pop_front();
    let script = script.unwrap_or_else(|| {
        let judge = |text: &Value| {
            json!({"flagged": text.as_str().unwrap().contains("attack"),
            "categories": {}, "category_scores": {}})
        };
        let results: Vec<Value> = inputs.iter().map(judge).collect();
        let answer = json!({"id": "modr-1", "model": "watch", "results": results});
        let steps = vec![Step::Raw(answer.to_string().into_bytes())];
        Script { content_type: "application/json", ..Script::steps(steps) }
    });
    if !script.answers {
        return hung_up(&mut stream).await;
    }
    reply(&mut stream, script).await
}

/// Sends the bytes of a script.
async fn reply(stream: &mut TcpStream, script: Script) -> std::io::Result<()> {
    stream.write_all(head(&script).as_bytes()).await?;
    for step in script.steps {
        if let Step::Raw(bytes) = step {
            stream.write_all(&bytes).await?;
        }
    }
    stream.shutdown().await
}

fn head(script: &Script) -> String {
    format!(
        "HTTP/1.1 {} Scripted\r\ncontent-type: {}\r\nconnection: close\r\n{}\r\n",
        script.status, script.content_type, script.headers
    )
}

/// Returns when the peer closed.
async fn hung_up(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(0) | Err(_) => Err(std::io::ErrorKind::ConnectionAborted.into()),
        Ok(_) => Ok(()),
    }
}

/// The first line with the headers, and the body.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<(String, Value)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let n = stream.read(&mut piece).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.trim().parse().unwrap());
        if body.len() >= length {
            return Ok((head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null)));
        }
    }
}

async fn send(stream: &mut TcpStream, frames: String) -> std::io::Result<()> {
    stream.write_all(frames.as_bytes()).await
}
