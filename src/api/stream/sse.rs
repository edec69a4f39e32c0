//! A turn as server-sent events: the AI SDK's UI Message Stream with our offsets as event ids.

use super::close::SPREAD_MS;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::{Batch, Cursor};
use crate::limiter::Connection;
use crate::types::{ConversationId, Ctx, TurnId};
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use std::io::Write;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a comment says that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What ends every stream after its terminal part.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// What a stream holds and keeps to while it is open.
pub(crate) struct Watch {
    _place: Connection,
    /// How long the reader may be behind without catching up.
    behind: Duration,
    /// The server stops, and its own turns have ended: what is still followed runs elsewhere.
    closing: CancellationToken,
}

impl Watch {
    /// Takes a place among the person's connections.
    pub(crate) async fn open(state: &State, ctx: Ctx) -> Result<Self, Problem> {
        let place = state.connections.open(ctx).await?;
        let closing = state.closing_sockets.clone();
        Ok(Self { _place: place, behind: state.patience.behind, closing })
    }
}

/// The response that streams what `cursor` reads. `head` has status and extra headers.
pub(crate) fn response(
    head: &mut HttpResponseBuilder,
    cursor: Cursor,
    conversation: Option<ConversationId>,
    watch: Watch,
) -> HttpResponse {
    let turn = cursor.log().turn();
    head.insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header(("x-accel-buffering", "no"))
        .insert_header(("x-vercel-ai-ui-message-stream", "v1"))
        .insert_header(("x-turn-id", turn.to_string()));
    if let Some(conversation) = conversation {
        head.insert_header(("x-conversation-id", conversation.to_string()));
    }
    head.streaming(events(cursor, watch))
}

enum Step {
    Begin,
    Parts,
    End,
}

/// Counts itself in the gauge while it lives, and so until the client left.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!("docent_connections", "transport" => "sse").increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("docent_connections", "transport" => "sse").decrement(1.0);
    }
}

fn events(cursor: Cursor, watch: Watch) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    unfold((cursor, Step::Begin, (watch, Open::new())), |(mut cursor, step, held)| async move {
        let (bytes, step) = match step {
            // Sent at once, so that proxies and clients see that the stream is open.
            Step::Begin => (Bytes::from_static(b"retry: 1000\n: ok\n\n"), Step::Parts),
            // No [DONE]: the client resumes after the last id it has.
            Step::Parts if cursor.behind_for() > held.0.behind => {
                metrics::counter!("docent_slow_readers_total", "transport" => "sse").increment(1);
                return None;
            }
            Step::Parts => tokio::select! {
                biased; // what is there is sent before the stream is closed
                next = tokio::time::timeout(HEARTBEAT, cursor.next()) => match next {
                    Err(_quiet) => (Bytes::from_static(b": hb\n\n"), Step::Parts),
                    Ok(Some(batch)) => (encode(cursor.log().turn(), &batch), Step::Parts),
                    Ok(None) => (Bytes::from_static(DONE), Step::End),
                },
                () = held.0.closing.cancelled() => (come_back(), Step::End),
            },
            Step::End => return None,
        };
        Some((Ok(bytes), (cursor, step, held)))
    })
}

/// No [DONE]: the client resumes on another node, and not all clients at once.
fn come_back() -> Bytes {
    Bytes::from(format!("retry: {}\n\n", rand::random_range(0..=SPREAD_MS)))
}

fn encode(turn: TurnId, batch: &Batch) -> Bytes {
    const OVERHEAD: usize = 64;
    let spans = batch.spans();
    let size = spans.iter().map(|span| span.part.len() + OVERHEAD).sum();
    let mut out = BytesMut::with_capacity(size).writer();
    for span in spans {
        // Writing into memory cannot fail.
        drop(write!(out, "id: {turn}.{}\ndata: ", span.last));
        drop(out.write_all(&span.part));
        drop(out.write_all(b"\n\n"));
    }
    out.into_inner().freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Part, TurnLog};
    use crate::cluster::Cluster;
    use crate::limiter::Connections;
    use crate::types::{Role, TenantId, UserId};
    use futures_util::StreamExt;
    use std::pin::pin;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn only_a_reader_that_never_catches_up_is_let_go() {
        let log = TurnLog::new(TurnId::new());
        let fill = || (0..5000).for_each(|_| log.append(&Part::delta("x".into())));
        let ctx = Ctx::new(TenantId::new(), UserId::new(), Role::Member);
        let place = Connections::new(1, Cluster::default()).open(ctx).await.ok().unwrap();
        let closing = CancellationToken::new();
        let watch = Watch { _place: place, behind: MINUTE, closing };
        let mut events = pin!(events(log.cursor(0), watch));
        events.next().await; // the head
        for _ in 0..2 {
            fill();
            events.next().await;
            tokio::time::advance(MINUTE).await;
            for _ in 0..4 {
                assert!(events.next().await.is_some(), "it catches up within the time");
            }
        }
        fill();
        events.next().await;
        tokio::time::advance(MINUTE).await;
        fill();
        events.next().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(events.next().await.is_none(), "no [DONE]: it resumes");
    }
}
