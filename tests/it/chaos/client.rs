//! Somebody who asks one question after the other, loses connections, hangs up, comes back at the
//! offset they had, stops answers, and sometimes never returns.

use super::connection::{Connection, Transport, accepted, is_end};
use crate::support::User;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, Interval, interval};

/// How soon a client tries again.
const AGAIN: Duration = Duration::from_millis(50);

/// What one reader saw of one turn.
pub struct Sight {
    pub user: User,
    pub turn: String,
    /// By offset, as first seen.
    pub parts: BTreeMap<usize, Value>,
    /// The terminal part, unless the reader left for good.
    pub end: Option<Value>,
    /// The text, of those who asked for it whole.
    pub whole: Option<String>,
}

pub struct Client {
    number: usize,
    user: User,
    dice: StdRng,
    again: Interval,
}

impl Client {
    pub fn new(number: usize, user: User, dice: StdRng) -> Self {
        Self { number, user, dice, again: interval(AGAIN) }
    }

    /// Asks until the time is over; returns what was seen.
    pub async fn live(mut self, until: Instant) -> Vec<Sight> {
        let mut sights: Vec<Sight> = Vec::new();
        let mut conversation = None;
        for n in 0.. {
            if Instant::now() >= until {
                break;
            }
            let mut body = json!({"text": format!("Question {n} of {}?", self.number)});
            if let Some(conversation) = conversation.take() {
                body["conversation_id"] = conversation;
            }
            let key = format!("{}-{n}", self.number);
            if self.dice.random_bool(0.2) {
                sights.push(self.ask_whole(&body, &key).await);
                continue;
            }
            let connection = self.ask(&body, &key).await;
            let id = json!(connection.conversation);
            let (turn, companion) = (connection.turn.clone(), self.dice.random_bool(0.4));
            let mut other = Self::new(self.number, self.user.clone(), self.fork());
            let (own, others) = tokio::join!(self.watch(&turn, Some(connection)), async {
                if companion { Some(other.watch(&turn, None).await) } else { None }
            });
            // Who left does not know whether the conversation is free.
            conversation = own.end.as_ref().filter(|_| self.dice.random_bool(0.5)).map(|_| id);
            sights.push(own);
            sights.extend(others);
        }
        sights
    }

    fn fork(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.dice.random())
    }

    fn transport(&mut self) -> Transport {
        if self.dice.random_bool(0.5) { Transport::Sse } else { Transport::WebSocket }
    }

    /// Asks until somebody hears it; the key makes sure that it is asked once.
    async fn ask(&mut self, body: &Value, key: &str) -> Connection {
        loop {
            let transport = self.transport();
            if let Some(connection) = Connection::ask(&self.user, transport, body, key).await {
                return connection;
            }
            self.again.tick().await;
        }
    }

    async fn ask_whole(&mut self, body: &Value, key: &str) -> Sight {
        loop {
            let request = self.user.request(Method::POST, "/v1/chat/send");
            let sent = request.header("idempotency-key", key).body(body.to_string()).send().await;
            if let Some(sight) = self.whole(sent).await {
                return sight;
            }
            self.again.tick().await;
        }
    }

    async fn whole(&self, sent: reqwest::Result<reqwest::Response>) -> Option<Sight> {
        let failed = sent.as_ref().is_ok_and(|response| response.status() == 502);
        let response = if failed { sent.ok()? } else { accepted(sent).await? };
        let answer: Value = serde_json::from_str(&response.text().await.ok()?).ok()?;
        let turn = answer["turn_id"].as_str().expect("a turn").to_owned();
        let error = json!({"type": "error", "errorText": answer["detail"]});
        Some(Sight {
            user: self.user.clone(),
            turn,
            parts: BTreeMap::new(),
            end: failed.then_some(error),
            whole: answer["text"].as_str().map(str::to_owned),
        })
    }

    /// Follows a turn to its end, over as many connections as it takes.
    async fn watch(&mut self, turn: &str, mut connection: Option<Connection>) -> Sight {
        let (user, turn) = (self.user.clone(), turn.to_owned());
        let mut sight = Sight { user, turn, parts: BTreeMap::new(), end: None, whole: None };
        let mut stop_at = self.dice.random_bool(0.1).then(|| self.dice.random_range(0..60));
        loop {
            let next = sight.parts.last_key_value().map_or(0, |(offset, _)| offset + 1);
            if connection.is_none() {
                let transport = self.transport();
                connection = Connection::join(&self.user, transport, &sight.turn, next).await;
            }
            let Some(mut open) = connection.take() else {
                self.again.tick().await;
                continue;
            };
            let patience = self.dice.random_bool(0.5).then(|| self.dice.random_range(0..80));
            while let Some((offset, part)) = open.next().await {
                if is_end(&part) {
                    sight.end = Some(part);
                    return sight;
                }
                sight.parts.insert(offset, part);
                if stop_at.take_if(|at| offset >= *at).is_some() {
                    self.stop(&sight.turn).await;
                }
                if patience.is_some_and(|patience| offset > next + patience) {
                    break;
                }
            }
            if self.dice.random_bool(0.05) {
                return sight;
            }
        }
    }

    /// One try: whether it arrives decides nothing.
    async fn stop(&self, turn: &str) {
        let path = format!("/v1/turns/{turn}/stop");
        if let Ok(response) = self.user.request(Method::POST, &path).send().await {
            let status = response.status().as_u16();
            // 408: it hung while the request was on its way.
            assert!([200, 202, 408, 503].contains(&status), "{status}");
        }
    }
}
