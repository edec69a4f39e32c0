//! A turn as server-sent events: the AI SDK's UI Message Stream with our offsets as event ids, or what another
//! [`Wire`] makes of it.

use super::close::SPREAD_MS;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::{Batch, Cursor};
use crate::limiter::Connection;
use crate::types::{ConversationId, Ctx, TurnId};
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::ready;
use futures_util::stream::unfold;
use futures_util::{Stream, TryStreamExt};
use std::io::Write;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a comment says that the connection lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

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

/// How a turn is written for one kind of client.
pub(crate) trait Wire: 'static {
    /// Sent at once, so that proxies and clients see that the stream is open.
    fn begin(&self) -> Bytes;
    /// What is new.
    fn batch(&mut self, batch: &Batch) -> Bytes;
    /// After the terminal part.
    fn end(&self) -> Bytes;
    /// Instead of the rest.
    fn cut(&self, why: Cut) -> Bytes;
}

/// Why a stream ends before its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The reader never catches up.
    TooSlow,
    /// This server stops.
    Restarting,
}

/// The AI SDK's UI Message Stream.
struct UiMessages(TurnId);

impl Wire for UiMessages {
    fn begin(&self) -> Bytes {
        Bytes::from_static(b"retry: 1000\n: ok\n\n")
    }

    fn batch(&mut self, batch: &Batch) -> Bytes {
        encode(self.0, batch)
    }

    fn end(&self) -> Bytes {
        Bytes::from_static(b"data: [DONE]\n\n")
    }

    /// No [DONE]: the client resumes after the last id it has; when the server stops on another node, and
    /// not all clients at once.
    fn cut(&self, why: Cut) -> Bytes {
        match why {
            Cut::TooSlow => Bytes::new(),
            Cut::Restarting => {
                Bytes::from(format!("retry: {}\n\n", rand::random_range(0..=SPREAD_MS)))
            }
        }
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
    head.insert_header(("x-vercel-ai-ui-message-stream", "v1"));
    if let Some(conversation) = conversation {
        head.insert_header(("x-conversation-id", conversation.to_string()));
    }
    wire_response(head, cursor, UiMessages(turn), watch)
}

/// The same in another wire format.
pub(crate) fn wire_response(
    head: &mut HttpResponseBuilder,
    cursor: Cursor,
    wire: impl Wire,
    watch: Watch,
) -> HttpResponse {
    let turn = cursor.log().turn();
    head.insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header(("x-accel-buffering", "no"))
        .insert_header(("x-turn-id", turn.to_string()));
    head.streaming(events(cursor, wire, watch))
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

fn events(
    cursor: Cursor,
    wire: impl Wire,
    watch: Watch,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let state = (cursor, wire, Step::Begin, (watch, Open::new()));
    let steps = unfold(state, |(mut cursor, mut wire, step, held)| async move {
        let (bytes, step) = match step {
            Step::Begin => (wire.begin(), Step::Parts),
            Step::Parts if cursor.behind_for() > held.0.behind => {
                metrics::counter!("docent_slow_readers_total", "transport" => "sse").increment(1);
                (wire.cut(Cut::TooSlow), Step::End)
            }
            Step::Parts => tokio::select! {
                biased; // what is there is sent before the stream is closed
                next = tokio::time::timeout(HEARTBEAT, cursor.next()) => match next {
                    Err(_quiet) => (Bytes::from_static(b": hb\n\n"), Step::Parts),
                    Ok(Some(batch)) => (wire.batch(&batch), Step::Parts),
                    Ok(None) => (wire.end(), Step::End),
                },
                () = held.0.closing.cancelled() => (wire.cut(Cut::Restarting), Step::End),
            },
            Step::End => return None,
        };
        Some((Ok(bytes), (cursor, wire, step, held)))
    });
    // An empty piece would end the body.
    steps.try_filter(|bytes: &Bytes| ready(!bytes.is_empty()))
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
        let mut events = pin!(events(log.cursor(0), UiMessages(log.turn()), watch));
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
