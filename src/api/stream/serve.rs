//! The loop of one WebSocket connection: frames in, parts and events out, a heartbeat, the goodbye.

use super::close::Close;
use super::socket::{PING, Person, Socket};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseReason};
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at, sleep_until};

/// Without any frame for this long, the peer is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Who it is must be said by then.
const AUTH: Duration = Duration::from_secs(10);

/// When the server is to stop, connections that follow nothing are closed within this time, not all
/// at once; the others when their turns have ended.
const LEAVE: Duration = Duration::from_secs(2);

/// Serves the connection until either side ends it.
pub(super) async fn run(mut socket: Socket, mut frames: AggregatedMessageStream) {
    let gauge = metrics::gauge!("docent_connections", "transport" => "websocket");
    gauge.increment(1.0);
    let mut farewell = socket.session.clone();
    // Takes the close frame's place in the queue: it can be said to a peer that does not read, too.
    drop(poll_fn(|context| farewell.poll_ready_unpin(context)).await);
    let close = serve(&mut socket, &mut frames).await.err().flatten();
    if close == Some(Close::TooSlow) {
        metrics::counter!("docent_slow_readers_total", "transport" => "websocket").increment(1);
    }
    drop(farewell.close(close.map(CloseReason::from)).await);
    gauge.decrement(1.0);
}

async fn serve(
    socket: &mut Socket,
    frames: &mut AggregatedMessageStream,
) -> Result<(), Option<Close>> {
    let (draining, closing) = (socket.state.chat.drain(), socket.state.closing_sockets.clone());
    let mut leave_at = None;
    let auth_deadline = Instant::now() + AUTH;
    let mut ping = interval_at(Instant::now() + PING, PING);
    let mut heard_at = Instant::now();
    if socket.entered() {
        socket.ready().await?;
    }
    loop {
        let unknown = !socket.entered();
        let leaving = leave_at.filter(|_| socket.idle());
        tokio::select! {
            biased;
            frame = frames.recv() => {
                heard_at = Instant::now();
                match frame {
                    Some(Ok(AggregatedMessage::Text(text))) => socket.heard(&text).await?,
                    Some(Ok(AggregatedMessage::Ping(bytes))) => socket.pong(&bytes).await?,
                    Some(Ok(AggregatedMessage::Pong(_))) => {}
                    Some(Ok(AggregatedMessage::Binary(_))) => return Err(Some(Close::TextOnly)),
                    Some(Ok(AggregatedMessage::Close(reason))) => return Err(echo(reason)),
                    Some(Err(error)) => {
                        let close = Some(Close::from(&error));
                        return Err(closed_before(frames).map_or(close, echo));
                    }
                    None => return Ok(()),
                }
            }
            // Before the parts: a turn that began elsewhere is known before it is over.
            event = next_event(&mut socket.person) => socket.say(event.to_string()).await?,
            Some((request_id, outcome)) = socket.asking.next() => {
                socket.answered(request_id, outcome).await?;
            }
            Some((turn, what)) = socket.followed.next() => socket.followed(turn, what).await?,
            _ = ping.tick() => {
                if heard_at.elapsed() > SILENCE {
                    return Err(Some(Close::Silent));
                }
                socket.still().await?;
                socket.ping().await?;
            }
            () = sleep_until(auth_deadline), if unknown => return Err(Some(Close::AuthDeadline)),
            () = draining.cancelled(), if leave_at.is_none() => {
                leave_at = Some(Instant::now() + LEAVE.mul_f64(rand::random()));
            }
            () = sleep_until(leaving.unwrap_or(auth_deadline)), if leaving.is_some() => {
                return Err(Some(Close::Restarting));
            }
            () = closing.cancelled() => return Err(Some(Close::Restarting)),
        }
    }
}

/// The next frame about the person's conversations; never of nobody's.
async fn next_event(person: &mut Option<Person>) -> Arc<str> {
    match person {
        Some(person) => person.events.next().await,
        None => std::future::pending().await,
    }
}

/// A goodbye is answered with its own code.
fn echo(reason: Option<CloseReason>) -> Option<Close> {
    reason.map(|reason| Close::Echo(reason.code.into()))
}

/// The goodbye that the peer said before what cannot be read: a mistake in the same bytes is reported
/// first, though what comes after a goodbye does not count.
fn closed_before(frames: &mut AggregatedMessageStream) -> Option<Option<CloseReason>> {
    while let Some(Some(Ok(message))) = frames.recv().now_or_never() {
        if let AggregatedMessage::Close(reason) = message {
            return Some(reason);
        }
    }
    None
}
