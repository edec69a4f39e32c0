//! A turn as server-sent events: the AI SDK's UI Message Stream with our offsets as event ids.

use crate::chat::{Batch, Cursor};
use crate::types::{ConversationId, TurnId};
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use std::io::Write;
use std::time::Duration;

/// How often a comment says that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What ends every stream after its terminal part.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// The response that streams what `cursor` reads. `head` has status and extra headers.
pub(crate) fn response(
    head: &mut HttpResponseBuilder,
    cursor: Cursor,
    conversation: Option<ConversationId>,
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
    head.streaming(events(cursor))
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

fn events(cursor: Cursor) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    unfold((cursor, Step::Begin, Open::new()), |(mut cursor, step, open)| async move {
        let (bytes, step) = match step {
            // Sent at once, so that proxies and clients see that the stream is open.
            Step::Begin => (Bytes::from_static(b"retry: 1000\n: ok\n\n"), Step::Parts),
            Step::Parts => match tokio::time::timeout(HEARTBEAT, cursor.next()).await {
                Err(_quiet) => (Bytes::from_static(b": hb\n\n"), Step::Parts),
                Ok(Some(batch)) => (encode(cursor.log().turn(), &batch), Step::Parts),
                Ok(None) => (Bytes::from_static(DONE), Step::End),
            },
            Step::End => return None,
        };
        Some((Ok(bytes), (cursor, step, open)))
    })
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
