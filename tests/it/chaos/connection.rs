//! One connection that follows one turn, over either transport. It may break at any moment.

use crate::support::{Socket, Stream, User};
use futures_util::SinkExt;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

#[derive(Clone, Copy, Debug)]
pub enum Transport {
    Sse,
    WebSocket,
}

enum Wire {
    Sse(Box<Stream>),
    WebSocket(Box<Socket>),
}

/// An open one.
pub struct Connection {
    wire: Wire,
    pub turn: String,
    pub conversation: String,
    /// The offset that must come next.
    expected: usize,
}

/// True of a part that ends a turn.
pub fn is_end(part: &Value) -> bool {
    ["finish", "error", "abort"].contains(&part["type"].as_str().unwrap_or_default())
}

/// What a client may hear when a node is busy, draining, or still thought to answer: nothing but a
/// reason to try again.
pub fn is_passing(status: u64, body: &Value) {
    let code = body["code"].as_str().unwrap_or_default();
    assert!(matches!((status, code), (503, "unavailable") | (409, "turn_in_progress")), "{body}");
}

/// The response, unless it is a reason to try again.
pub async fn accepted(sent: reqwest::Result<Response>) -> Option<Response> {
    let response = sent.ok()?;
    let status = response.status().as_u16();
    match status {
        200 => return Some(response),
        408 => return None, // it hung while the request was on its way
        _ => {}
    }
    let body = response.text().await.ok()?;
    is_passing(status.into(), &serde_json::from_str(&body).expect("a problem"));
    None
}

impl Connection {
    /// Asks; the turn runs when there is a connection. None: not heard, try again.
    pub async fn ask(user: &User, transport: Transport, body: &Value, key: &str) -> Option<Self> {
        match transport {
            Transport::Sse => {
                let request = user.request(Method::POST, "/v1/chat/stream");
                let request = request.header("idempotency-key", key).body(body.to_string());
                let stream = Stream::new(accepted(request.send().await).await?);
                let (turn, conversation) = (stream.turn(), stream.conversation());
                Some(Self { wire: Wire::Sse(Box::new(stream)), turn, conversation, expected: 0 })
            }
            Transport::WebSocket => {
                let mut frame = body.clone();
                frame["type"] = json!("send");
                frame["idempotency_key"] = json!(key);
                let mut socket = open(user, frame).await?;
                let answer = heard(&mut socket).await?;
                if answer["type"] == "error" {
                    is_passing(answer["problem"]["status"].as_u64()?, &answer["problem"]);
                    return None;
                }
                assert_eq!(answer["type"], "accepted", "{answer}");
                let text = |name: &str| answer[name].as_str().expect("an id").to_owned();
                let (turn, conversation) = (text("turn_id"), text("conversation_id"));
                let wire = Wire::WebSocket(Box::new(socket));
                Some(Self { wire, turn, conversation, expected: 0 })
            }
        }
    }

    /// Joins a turn at `from`. None: try again.
    pub async fn join(user: &User, transport: Transport, turn: &str, from: usize) -> Option<Self> {
        let after = i64::try_from(from).unwrap() - 1;
        let wire = match transport {
            Transport::Sse => {
                let path = format!("/v1/turns/{turn}/stream?after={after}");
                let sent = user.request(Method::GET, &path).send().await;
                Wire::Sse(Box::new(Stream::new(accepted(sent).await?)))
            }
            Transport::WebSocket => {
                let frame = json!({"type": "attach", "turn_id": turn, "after": after});
                Wire::WebSocket(Box::new(open(user, frame).await?))
            }
        };
        Some(Self { wire, turn: turn.into(), conversation: String::new(), expected: from })
    }

    /// The next part, with its offset; none when the connection broke. Nothing is repeated and
    /// nothing is missing, but that who is ahead of the log is told the end out of turn.
    pub async fn next(&mut self) -> Option<(usize, Value)> {
        let (offset, part) = match &mut self.wire {
            Wire::Sse(stream) => {
                let event = stream.next().await?;
                (event.offset().expect("the end comes before [DONE]"), event.part())
            }
            Wire::WebSocket(socket) => {
                let frame = heard(socket).await?;
                if frame["type"] == "error" {
                    is_passing(frame["problem"]["status"].as_u64()?, &frame["problem"]);
                    return None;
                }
                assert_eq!(
                    (&frame["type"], &frame["turn_id"]),
                    (&json!("part"), &json!(self.turn))
                );
                let offset = frame["offset"].as_u64().expect("an offset");
                (usize::try_from(offset).unwrap(), frame["part"].clone())
            }
        };
        let ahead = is_end(&part) && offset < self.expected;
        // Text that a slow reader had to catch up with comes as one part, at its last offset.
        let merged = offset > self.expected && part["type"] == "text-delta";
        let fits = offset == self.expected || merged || ahead;
        assert!(fits, "{offset}, not {}: {part}", self.expected);
        self.expected = offset + 1;
        Some((offset, part))
    }
}

/// A WebSocket that is logged in and has sent one frame.
async fn open(user: &User, frame: Value) -> Option<Socket> {
    let url = format!("{}/ws/chat", user.base.replace("http://", "ws://"));
    let (stream, _) = connect_async(url).await.ok()?;
    let mut socket = Socket::over(stream, None);
    let auth = json!({"type": "auth", "token": user.token});
    socket.stream.send(Message::text(auth.to_string())).await.ok()?;
    assert_eq!(heard(&mut socket).await?["type"], "ready");
    socket.stream.send(Message::text(frame.to_string())).await.ok()?;
    Some(socket)
}

/// The next frame; none when the connection ended in a way that asks to come back.
async fn heard(socket: &mut Socket) -> Option<Value> {
    let frame = socket.next().await;
    match frame["close"].as_u64() {
        None => Some(frame),
        Some(1006 | 1012) => None,
        Some(_) => panic!("{frame}"),
    }
}
