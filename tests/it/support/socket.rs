//! A WebSocket client that speaks `docent.v1`.

use super::schema::check_frame;
use super::within;
use futures_util::{SinkExt, StreamExt};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// An open WebSocket.
pub struct Socket {
    pub stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What the server chose.
    pub protocol: Option<String>,
    /// Frames about conversations that came between others.
    aside: VecDeque<Value>,
}

fn asking(base: &str, protocols: Option<&str>, headers: &[(&'static str, &str)]) -> Request {
    let url = format!("{}/ws/chat", base.replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    if let Some(protocols) = protocols {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

impl Socket {
    /// Connects, offering these subprotocols and sending these headers; the error is the status.
    pub async fn open(
        base: &str,
        protocols: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        match connect_async(asking(base, protocols, headers)).await {
            Ok((stream, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
                Ok(Self::over(stream, protocol))
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no WebSocket and no refusal: {error}"),
        }
    }

    /// Connects and hangs up; returns the headers of the 101.
    pub async fn handshake(base: &str, protocols: Option<&str>) -> HeaderMap {
        let (_hung_up, response) = connect_async(asking(base, protocols, &[])).await.expect("101");
        response.headers().clone()
    }

    /// One that is open already.
    pub fn over(
        stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
        protocol: Option<String>,
    ) -> Self {
        Self { stream, protocol, aside: VecDeque::new() }
    }

    pub async fn send(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame that is not about conversations; a close frame is `{"close": code, "reason": …}`.
    pub async fn next(&mut self) -> Value {
        loop {
            let frame = self.any().await;
            if frame["type"] != "conversation" {
                return frame;
            }
            self.aside.push_back(frame);
        }
    }

    /// The next frame about conversations, also one that came before what was read by [`Self::next`]:
    /// `event` and the frame.
    pub async fn event(&mut self) -> (String, Value) {
        let frame = match self.aside.pop_front() {
            Some(frame) => frame,
            None => self.any().await,
        };
        assert_eq!(frame["type"], "conversation", "{frame}");
        (frame["event"].as_str().unwrap().to_owned(), frame)
    }

    /// The next frame of any type.
    pub async fn any(&mut self) -> Value {
        loop {
            match within("a frame", self.stream.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).unwrap();
                    check_frame(&frame);
                    return frame;
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    let reason: Value = serde_json::from_str(&frame.reason).unwrap_or_default();
                    return json!({"close": u16::from(frame.code), "reason": reason});
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return json!({"close": 1006, "reason": format!("{other:?}")}),
            }
        }
    }

    /// Asks; returns the `accepted` (or `error`) frame.
    pub async fn ask(&mut self, text: &str) -> Value {
        let request = uuid::Uuid::now_v7().to_string();
        self.send(json!({"type": "send", "request_id": request, "text": text})).await;
        let answer = self.next().await;
        assert_eq!(answer["request_id"], request, "{answer}");
        answer
    }

    /// The part frames of a turn up to its terminal part.
    pub async fn turn(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            assert_eq!(frame["type"], "part", "{frame}");
            let kind = frame["part"]["type"].as_str().unwrap().to_owned();
            frames.push(frame);
            if ["finish", "error", "abort"].contains(&kind.as_str()) {
                return frames;
            }
        }
    }
}
