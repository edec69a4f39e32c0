//! Clients that know nothing of docent: `websockets` for Python, `curl`, and a browser's `EventSource`.

use crate::support::{Browser, Client, Event, Relay, Script, Stream, User, World, joined, within};
use serde_json::json;
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

#[tokio::test(flavor = "multi_thread")]
async fn websockets_for_python_ask_come_back_and_stop() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(6, 3));
    world.provider.next(Script::held(50, 3));
    let lets_go = async {
        world.provider.until_waiting(2).await;
        world.provider.release(); // the one that was asked first
    };
    let plays = Client::Python.runs(include_str!("../clients/socket.py"), &[], &anna);
    let (said, ()) = tokio::join!(plays, lets_go);
    world.provider.until_closed().await;
    let expected = json!({"protocol": "docent.v1", "heartbeat": 25_000, "pong": "pong",
        "refused": ["r1", "invalid_request"], "again": 401,
        "counted": "w0 w1 w2 w3 w4 w5 ", "stopped": ["w0 w1 w2 ", "abort"]});
    assert_eq!(said, expected);
    world.database.check_books().await;
}

/// `curl -N`, whose output is read as it comes.
struct Curl {
    child: Child,
    said: String,
}

impl Curl {
    fn run(user: &User, path: &str, more: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.args(["-sN", "--fail-with-body", "--noproxy", "*", "-H"]);
        command.arg(format!("Authorization: Bearer {}", user.token));
        command.args(more).arg(format!("{}{path}", user.base));
        let child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("curl");
        Self { child, said: String::new() }
    }

    /// Reads until this was said.
    async fn until(&mut self, words: &str) {
        let mut bytes = [0; 4096];
        while !self.said.contains(words) {
            let n = self.child.stdout.as_mut().unwrap().read(&mut bytes);
            let n = within(words, n).await.unwrap();
            assert_ne!(n, 0, "it ended: {}", self.said);
            self.said.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
    }

    /// Ctrl-C: what was said till then.
    async fn cut(mut self) -> Vec<Event> {
        self.child.kill().await.unwrap();
        Stream::events_in(self.said.rsplit_once("\n\n").unwrap().0)
    }

    /// Reads to the end.
    async fn rest(mut self) -> Vec<Event> {
        self.child.stdout.take().unwrap().read_to_string(&mut self.said).await.unwrap();
        assert!(self.child.wait().await.unwrap().success(), "{}", self.said);
        Stream::events_in(&self.said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_streams_and_goes_on_after_the_last_id_that_it_has() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(6, 3));
    let mut curl = Curl::run(&anna, "/v1/chat/stream", &["-d", r#"{"text": "Count."}"#]);
    curl.until("w2").await;
    let mut seen = curl.cut().await;
    let last = seen.last().unwrap().id.clone().unwrap();
    let (turn, _) = last.split_once('.').unwrap();
    let header = format!("Last-Event-ID: {last}");
    let curl = Curl::run(&anna, &format!("/v1/turns/{turn}/stream"), &["-H", &header]);
    world.provider.release();
    seen.extend(curl.rest().await);
    let replay = anna.attach(turn, -1).await.answer().await;
    assert_eq!(joined(&seen), joined(&replay.events));
    assert_eq!(replay.text(), "w0 w1 w2 w3 w4 w5 ");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_streams_a_chat_completion() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::held(6, 3));
    let body = json!({"model": "gpt-4o-mini", "stream": true,
        "messages": [{"role": "user", "content": "Count."}]});
    let json = ["-H", "Content-Type: application/json", "-d", &body.to_string()];
    let mut curl = Curl::run(&anna, "/v1/chat/completions", &json);
    curl.until("w2").await;
    world.provider.release();
    let mut events = curl.rest().await;
    assert_eq!(events.pop().unwrap().data, "[DONE]");
    let delta = |event: &Event| event.part()["choices"][0]["delta"]["content"].clone();
    let text: String =
        events.iter().filter_map(|event| delta(event).as_str().map(String::from)).collect();
    assert_eq!(text, "w0 w1 w2 w3 w4 w5 ");
    world.database.check_books().await;
}

/// The address of an event stream with a ticket for it.
async fn with_ticket(user: &User, thing: &str, events: &str) -> String {
    let (status, said) = user.post(&format!("{thing}/ticket"), json!({})).await;
    assert_eq!((status, &said["expires_in"]), (200, &json!(900)), "{said}");
    format!("{thing}/{events}?ticket={}", said["ticket"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streams_ticket_opens_that_stream_as_often_as_it_breaks_and_nothing_else() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let (program, key) = anna.key(json!({"name": "page", "scopes": ["chat"]})).await;
    let (one, other) = (anna.ask("One?").await, anna.ask("Two?").await);
    let file = anna.has_document("a.txt", b"The notice period is ninety days.").await;
    let open = async |path: &str| {
        Stream::new(world.http.get(format!("{}{path}", world.base)).send().await.unwrap())
    };
    let turn = format!("/v1/turns/{}", one.turn);
    let path = with_ticket(&anna, &turn, "stream").await;
    for _ in 0..2 {
        assert_eq!(open(&path).await.answer().await.parts(), one.parts());
    }
    let (_, ticket) = path.split_once("?ticket=").unwrap();
    let last = one.events[one.events.len() - 2].id.clone().unwrap();
    let again = world.http.get(format!("{}{path}", world.base)).header("last-event-id", last);
    assert_eq!(
        again.send().await.unwrap().status(),
        204,
        "it has everything: it need not come back"
    );

    let thing = format!("/v1/files/{}", file["id"].as_str().unwrap());
    let events = with_ticket(&anna, &thing, "events").await;
    assert_eq!(open(&events).await.rest().await.pop().unwrap().part()["status"], "ready");
    for path in [
        format!("/v1/turns/{}/stream?ticket={ticket}", other.turn),
        format!("{thing}/events?ticket={ticket}"),
        format!("{turn}/receipt?ticket={ticket}"),
        format!("/v1/me?ticket={ticket}"),
        format!("{turn}/stream?ticket="),
    ] {
        assert_eq!(open(&path).await.status, 401, "{path}");
    }
    let stop = world.http.post(format!("{}{turn}/stop?ticket={ticket}", world.base));
    assert_eq!(stop.send().await.unwrap().status(), 401);
    let offer = format!("docent.v1, ticket.{}", ticket.replacen("st_", "wt_", 1));
    let socket = crate::support::Socket::open(&world.base, Some(&offer), &[]).await;
    assert_eq!(socket.err(), Some(401), "it opens no WebSocket");

    let programs = with_ticket(&program, &turn, "stream").await;
    assert_eq!(open(&programs).await.status, 200);
    anna.delete(&format!("/v1/api-keys/{}", key["id"].as_str().unwrap())).await;
    assert_eq!(open(&programs).await.status, 401, "its key was revoked");
    world.database.run("UPDATE ws_tickets SET expires_at = expires_at - interval '900 s'").await;
    assert_eq!(open(&path).await.status, 401, "its time is over");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_event_source_comes_back_by_itself_and_leaves_when_it_has_everything() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let relay = Relay::to(&world.base).await;
    world.provider.next(Script::held(6, 3));
    let mut asked = anna.stream(json!({"text": "Count."})).await;
    asked.until_text("w2").await;
    let path = with_ticket(&anna, &format!("/v1/turns/{}", asked.turn()), "stream").await;
    let browser = Browser::open(&relay.base).await;
    let script = "
        const heard = document.body.appendChild(document.createElement('p'));
        heard.dataset.testid = 'heard';
        const source = new EventSource(arguments[0]);
        source.onopen = () => { heard.dataset.opened = Number(heard.dataset.opened ?? 0) + 1; };
        source.onmessage = ({ data }) => {
          if (data !== '[DONE]') heard.textContent += JSON.parse(data).delta ?? '';
        };
        source.onerror = () => { heard.dataset.state = source.readyState; };";
    browser.run(script, vec![path.into()]).await;
    browser.find("//*[@data-testid='heard'][.='w0 w1 w2 ']").await;
    relay.cut();
    browser.find("//*[@data-testid='heard'][@data-opened='2']").await;
    world.provider.release();
    // Nobody closes it: after the end it asks once more, and is told that nothing follows.
    browser.find("//*[@data-testid='heard'][@data-state='2'][.='w0 w1 w2 w3 w4 w5 ']").await;
    assert_eq!(asked.rest().await.pop().unwrap().data, "[DONE]");
    assert_eq!(world.provider.calls(), 1);
}
