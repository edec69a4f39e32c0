//! Readers that stop reading, and readers that are too many: the turn, the others and the memory do
//! not notice, and who comes back has missed nothing.

use crate::support::{
    Answer, RawFrame, RawSocket, Script, Socket, Step, Stream, User, World, WorldOptions, frame,
    within,
};
use docent::api::Patience;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Readers that stop.
const SLOW: usize = 5;
const WORDS: usize = 8_000;
/// What a reader's kernel takes ahead, about.
const WINDOW: u32 = 4096;
/// The server's send buffer.
const KERNEL: usize = 256 * 1024;

/// Half a megabyte of text that JSON writes in three.
fn word(n: usize) -> String {
    format!("{n:05}{}", "\u{1}".repeat(59))
}

/// A server on which a person has places for the slow ones and one more.
async fn world(patience: Patience) -> World {
    let places = ("CONNECTIONS_PER_USER", (SLOW + 1).to_string());
    World::with(WorldOptions { settings: vec![places], patience, ..WorldOptions::default() }).await
}

/// Begins the long answer, which waits after its first word.
async fn begin(world: &World, user: &User) -> Stream {
    let mut steps: Vec<Step> = (0..WORDS).map(|n| Step::Text(word(n))).collect();
    steps.insert(1, Step::Wait);
    steps.extend([Step::Finish, Step::Usage(10, 20), Step::Done]);
    world.provider.next(Script::steps(steps));
    let mut stream = user.stream(json!({"text": "Count far."})).await;
    stream.until_text("00000").await;
    stream
}

/// Who reads is not disturbed by who does not: the answer comes whole, ends, and is stored.
async fn ends(world: &World, user: &User, mut asked: Stream) -> Answer {
    let (turn, conversation) = (asked.turn(), asked.conversation());
    world.provider.release();
    let rest = asked.rest().await;
    assert_eq!(rest[rest.len() - 2].part()["type"], "finish");
    let stored = &user.messages(&conversation).await[1];
    let whole: String = (0..WORDS).map(word).collect();
    assert_eq!((&stored["status"], &stored["text"]), (&json!("complete"), &json!(whole)));
    world.database.check_books().await;
    let answer = Answer { turn, conversation, events: rest };
    assert!(whole.ends_with(&text_of(answer.events.iter().map(|event| event.part()))));
    answer
}

/// Returns when the server has given the slow readers up: a person has all places for others.
async fn until_given_up(user: &User) {
    let mut open = Vec::new();
    let given_up = async {
        while open.len() <= SLOW {
            match Socket::open(&user.base, Some(&user.offer().await), &[]).await {
                Ok(socket) => open.push(socket),
                Err(status) => assert_eq!(status, 429),
            }
        }
    };
    within("the places of slow readers", given_up).await;
}

fn text_of(parts: impl Iterator<Item = Value>) -> String {
    parts.filter_map(|part| part["delta"].as_str().map(String::from)).collect()
}

/// What a reader that left with `seen` up to `offset` reads after it came back is the rest.
async fn comes_back(user: &User, turn: &str, seen: &str, offset: i64) {
    let rest = user.attach(turn, offset).await.rest().await;
    let whole: String = (0..WORDS).map(word).collect();
    let read = format!("{seen}{}", text_of(rest.iter().map(|event| event.part())));
    assert!(read == whole, "nothing is missing and nothing comes twice after {offset}");
    assert_eq!(rest.last().unwrap().data, "[DONE]");
}

/// Reads what was sent before the end: the text, the last offset, and the end.
async fn reads_on(socket: &mut RawSocket) -> (String, i64, RawFrame) {
    let (mut text, mut offset) = (String::new(), 0);
    loop {
        let frame = match socket.next().await {
            RawFrame::Text(frame) => serde_json::from_str::<Value>(&frame).unwrap(),
            RawFrame::Ping(_) => continue,
            end => return (text, offset, end),
        };
        offset = frame["offset"].as_i64().unwrap_or(offset);
        text.push_str(frame["part"]["delta"].as_str().unwrap_or_default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_stop_reading_are_closed_and_resume() {
    // Never broken by the kernel: they read again late, on a slow machine very late.
    let (stall, untaken) = (Duration::from_millis(300), Duration::from_secs(3600));
    let world = world(Patience { stall, untaken, ..Patience::default() }).await;
    let anna = world.user("anna@acme.test").await;
    let asked = begin(&world, &anna).await;
    let attach = json!({"type": "attach", "turn_id": asked.turn()}).to_string();
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut socket = RawSocket::with_window(&anna, Some(WINDOW)).await;
        socket.send(&frame(0x81, attach.as_bytes())).await;
        let first = socket.next().await;
        assert!(matches!(&first, RawFrame::Text(text) if text.contains("start")), "{first:?}");
        slow.push(socket);
    }
    let answer = ends(&world, &anna, asked).await;
    until_given_up(&anna).await;
    for mut socket in slow {
        let (text, offset, close) = reads_on(&mut socket).await;
        let RawFrame::Close(code, reason) = close else { panic!("{close:?}") };
        assert_eq!(code, Some(1013));
        assert!(reason.contains(r#""reconnect":true"#), "{reason}");
        // The queue of frames, the same again in the response's buffer, and the kernels'.
        let most = 2 * 32 * 17 * 1024 + KERNEL + 16 * 1024;
        assert!(socket.bytes_read <= most, "of 3 MB were taken for it: {}", socket.bytes_read);
        comes_back(&anna, &answer.turn, &text, offset).await;
    }
}

/// Joins a turn with the smallest window there is, and reads the status alone.
async fn joins_and_stops_reading(user: &User, turn: &str) -> TcpStream {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(WINDOW).unwrap();
    let address = user.base.trim_start_matches("http://").parse().unwrap();
    let mut stream = tcp.connect(address).await.unwrap();
    let token = &user.token;
    let request = format!(
        "GET /v1/turns/{turn}/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    within("a response", stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_reads_are_broken_and_resume() {
    let untaken = Duration::from_secs(1);
    let world = world(Patience { untaken, ..Patience::default() }).await;
    let anna = world.user("anna@acme.test").await;
    let asked = begin(&world, &anna).await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(joins_and_stops_reading(&anna, &asked.turn()).await);
    }
    let answer = ends(&world, &anna, asked).await;
    until_given_up(&anna).await;
    for mut stream in slow {
        let mut bytes = Vec::new();
        // An end, or a reset: it broke.
        drop(within("the end of a stream", stream.read_to_end(&mut bytes)).await);
        assert!(bytes.len() < KERNEL, "{}", bytes.len());
        let read = String::from_utf8_lossy(&bytes);
        assert!(!read.contains("[DONE]"));
        // The last event may be cut.
        let (whole, _cut) = read.rsplit_once("\n\n").expect("something came");
        let events = Stream::events_in(whole);
        let offset = events.last().and_then(|event| event.offset()).unwrap();
        let text = text_of(events.iter().map(|event| event.part()));
        comes_back(&anna, &answer.turn, &text, i64::try_from(offset).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_catches_up_is_sent_away_and_gets_there_in_steps() {
    let patience = Patience { behind: Duration::ZERO, ..Patience::default() };
    let world = World::with(WorldOptions { patience, ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(5000, 0));
    world.provider.release();
    let (status, whole) = anna.post("/v1/chat/send", json!({"text": "Count far."})).await;
    assert_eq!(status, 200, "{whole}");
    let turn = whole["turn_id"].as_str().unwrap();
    let (mut text, mut offset, mut steps) = (String::new(), -1, 0);
    loop {
        let events = anna.attach(turn, offset).await.rest().await;
        text.push_str(&text_of(events.iter().map(|event| event.part())));
        steps += 1;
        match events.last().unwrap().offset() {
            Some(last) => offset = i64::try_from(last).unwrap(),
            None => break, // [DONE]
        }
    }
    assert_eq!(text, whole["text"]);
    assert!(steps > 2, "5000 parts are not one batch: {steps}");
    let mut socket = anna.socket().await;
    socket.send(json!({"type": "attach", "turn_id": turn})).await;
    let close = socket.next().await;
    assert_eq!((&close["close"], &close["reason"]["reconnect"]), (&json!(1013), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_so_many_connections() {
    let two = ("CONNECTIONS_PER_USER", "2".to_owned());
    let world = World::with(WorldOptions { settings: vec![two], ..WorldOptions::default() }).await;
    let (anna, ben) = (world.user("anna@acme.test").await, world.user("ben@acme.test").await);
    world.provider.next(Script::held(6, 3));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    let socket = anna.socket().await;
    let refused = anna.stream(json!({"text": "Me, too?"})).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "5"));
    let (status, problem) = anna.refused(json!({"text": "Me, too?"})).await;
    assert_eq!((status, &problem["code"]), (429, &json!("too_many_connections")));
    assert_eq!(anna.attach(&stream.turn(), -1).await.status, 429);
    let with_ticket = Socket::open(&anna.base, Some(&anna.offer().await), &[]).await;
    assert_eq!(with_ticket.err(), Some(429));
    let mut later = Socket::open(&anna.base, None, &[]).await.unwrap();
    later.send(json!({"type": "auth", "token": anna.token})).await;
    let close = later.next().await;
    assert_eq!((&close["close"], &close["reason"]["reconnect"]), (&json!(4429), &json!(true)));
    let mut bens = ben.socket().await;
    assert_eq!(bens.ask("And I?").await["type"], "accepted", "others have places of their own");
    assert_eq!(anna.get("/v1/conversations").await.0, 200, "only what stays open is counted");
    drop(socket);
    while anna.attach(&stream.turn(), -1).await.status == 429 {}
    world.provider.release();
    assert_eq!(stream.rest().await.last().unwrap().data, "[DONE]");
    bens.turn().await;
    assert_eq!(world.provider.calls(), 2, "what was refused was not asked");
}
