//! An answer as the older API streams it: `delta` events, then `done` with the whole answer, or `error` with a
//! problem.

use super::chat::Asking;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::api::stream::{HEARTBEAT, Watch};
use crate::chat::Cursor;
use crate::types::Ctx;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::json;

/// What is read from until the stream ends.
struct Reading {
    state: State,
    ctx: Ctx,
    asking: Asking,
    cursor: Cursor,
    _place: Watch,
}

pub(super) fn events(
    state: State,
    ctx: Ctx,
    asking: Asking,
    watch: Watch,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let cursor = asking.accepted.log.cursor(0);
    let reading = Reading { state, ctx, asking, cursor, _place: watch };
    unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        let (text, more) = reading.next().await;
        Some((Ok(Bytes::from(text)), more.then_some(reading)))
    })
}

impl Reading {
    /// What to send next, and whether something may follow it.
    async fn next(&mut self) -> (String, bool) {
        if self.cursor.behind_for() > self.state.patience.behind {
            return (event("error", &cut("This stream was read too slowly.")), false);
        }
        tokio::select! {
            biased; // what is there is sent before the stream is closed
            next = tokio::time::timeout(HEARTBEAT, self.cursor.next()) => match next {
                Err(_quiet) => (": hb\n\n".into(), true),
                Ok(Some(batch)) => {
                    let deltas = batch.parts.iter().filter_map(|part| self.asking.hear(part));
                    let deltas: String =
                        deltas.map(|text| event("delta", &json!({"content": text}))).collect();
                    // An empty piece would end the body.
                    (if deltas.is_empty() { ":\n\n".into() } else { deltas }, true)
                }
                Ok(None) => match self.asking.answer(&self.state, self.ctx).await {
                    Ok(answer) => (event("done", &answer), false),
                    Err(problem) => (event("error", &problem), false),
                },
            },
            () = self.state.closing_sockets.cancelled() => {
                (event("error", &cut("The server is restarting.")), false)
            }
        }
    }
}

fn cut(why: &str) -> Problem {
    Problem::new(Code::Unavailable, why)
}

fn event(name: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}
