//! The WebSocket's description: all that it describes is sent. That all that is sent is described, every test with a
//! socket sees.

use crate::support::{Script, Socket, Step, User, World, WorldOptions, within};
use docent::api;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What this story has not, and where it is.
const ELSEWHERE: &[(&str, &str)] = &[
    ("event missed", "for readers that do not read: src/chat/feed.rs"),
    ("part tool-output-available", "assistants with tools of their own: tools.rs"),
    ("part tool-output-error", "the same"),
    ("part data-approval", "the same"),
];

/// Every frame, event and part that is described.
fn described() -> BTreeSet<String> {
    let document = api::asyncapi();
    let sent = document["operations"]["send"]["messages"].as_array().unwrap().iter();
    let names = sent.map(|sent| sent["$ref"].as_str().unwrap().rsplit('/').next().unwrap());
    let mut all: BTreeSet<String> = names.map(|name| format!("frame {name}")).collect();
    for (what, schema, tag) in [("event", "ConversationEvent", "event"), ("part", "Part", "type")] {
        let variants = document["components"]["schemas"][schema]["oneOf"].as_array().unwrap();
        let word = |one: &Value| one["properties"][tag]["enum"][0].as_str().unwrap().to_owned();
        all.extend(variants.iter().map(|one| format!("{what} {}", word(one))));
    }
    all
}

/// A socket, and all that was heard on it.
struct Listener {
    socket: Socket,
    heard: BTreeSet<String>,
}

impl Listener {
    /// Listens until a frame has this at `pointer`; returns it.
    async fn until(&mut self, pointer: &str, word: &str) -> Value {
        within(word, self.listen(pointer, word)).await // pings do not count
    }

    async fn listen(&mut self, pointer: &str, word: &str) -> Value {
        loop {
            let frame = self.socket.any().await;
            let kind = |value: &Value| value.as_str().unwrap().to_owned();
            self.heard.insert(format!("frame {}", kind(&frame["type"])));
            match frame["type"].as_str() {
                Some("part") => self.heard.insert(format!("part {}", kind(&frame["part"]["type"]))),
                Some("conversation") => {
                    self.heard.insert(format!("event {}", kind(&frame["event"])))
                }
                _ => false,
            };
            if frame.pointer(pointer).is_some_and(|found| found == word) {
                return frame;
            }
        }
    }

    async fn ask(&mut self, end: &str) -> Value {
        self.socket.send(json!({"type": "send", "text": "How long is the notice period?"})).await;
        let accepted = self.until("/type", "accepted").await;
        self.until("/part/type", end).await;
        accepted
    }
}

async fn two_models(world: &World) {
    let model = |id: &str| json!({"id": id, "provider": "openai", "context_window": 8000, "max_output": 500});
    let route = json!({"name": "default", "models": ["one", "two"], "after_cut": "continue"});
    for (what, body) in [("models", model("one")), ("models", model("two")), ("routes", route)] {
        let put = world.http.put(format!("{}/v1/operator/{what}", world.base));
        let put =
            put.bearer_auth("the-operators-own-token").header("content-type", "application/json");
        assert!(put.body(body.to_string()).send().await.unwrap().status().is_success());
    }
}

async fn listening(anna: &User) -> Listener {
    let socket = Socket::open(&anna.base, Some("docent.v1"), &[]).await.unwrap();
    let mut listener = Listener { socket, heard: BTreeSet::new() };
    listener.socket.send(json!({"type": "ping"})).await;
    listener.until("/type", "pong").await;
    listener.socket.send(json!({"type": "auth", "token": anna.token})).await;
    listener.until("/type", "ready").await;
    listener
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_described_is_sent() {
    let settings = vec![("OPERATOR_TOKEN", "the-operators-own-token".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    two_models(&world).await;
    let anna = world.user("anna@acme.test").await;
    let file = anna.has_document("a.txt", b"The notice period is ninety days.").await;
    let mut listener = listening(&anna).await;

    let accepted = listener.ask("finish").await;
    world.provider.next(Script::held(9, 3));
    listener.socket.send(json!({"type": "send", "text": "Count."})).await;
    let running = listener.until("/type", "accepted").await;
    listener.until("/part/delta", "w2 ").await;
    listener.socket.send(json!({"type": "stop", "turn_id": running["turn_id"]})).await;
    listener.until("/part/type", "abort").await;
    world.provider.next(Script::calls("Hm.", &[("c1", "add", r#"{"a":1}"#)], 20, 4));
    listener.ask("finish").await;
    world.provider.next(Script::steps(vec![Step::Text("It begins ".into()), Step::Reset]));
    listener.ask("finish").await;
    world.provider.always(Script::error(400, "bad"));
    listener.ask("error").await;
    listener.socket.send(json!({"type": "dance"})).await;
    listener.until("/type", "error").await;

    let conversation = accepted["conversation_id"].as_str().unwrap();
    let path = format!("/v1/conversations/{conversation}");
    anna.patch(&path, json!({"title": "Notice"})).await;
    listener.until("/event", "renamed").await;
    let answer = anna.messages(conversation).await[1]["id"].clone();
    anna.put(&format!("{path}/branch"), json!({"message_id": answer})).await;
    listener.until("/event", "branched").await;
    // The answer quotes it, so its log is gone.
    anna.delete(&format!("/v1/files/{}", file["id"].as_str().unwrap())).await;
    listener.socket.send(json!({"type": "attach", "turn_id": accepted["turn_id"]})).await;
    listener.until("/part/type", "data-snapshot").await;
    listener.until("/part/type", "finish").await;
    anna.request(Method::DELETE, &path).send().await.unwrap();
    listener.until("/event", "deleted").await;

    let mut expected = described();
    for (what, _why) in ELSEWHERE {
        assert!(expected.remove(*what), "{what} is described");
    }
    assert_eq!(listener.heard, expected);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_served_to_everybody() {
    let world = World::start().await;
    let served = world.http.get(format!("{}/asyncapi.json", world.base)).send().await.unwrap();
    assert_eq!(served.status(), 200);
    let served: Value = serde_json::from_str(&served.text().await.unwrap()).unwrap();
    assert_eq!(served, api::asyncapi());
}
