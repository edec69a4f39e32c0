//! One WebSocket connection: frames in, parts out, a heartbeat. It holds no turn; dropping it
//! changes nothing but who watches.

use super::close::Close;
use super::frame::{ClientFrame, SendFrame, ServerFrame, request_id_of};
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::{Accepted, Asked, Batch, Cursor, Refused, Span, TurnLog};
use crate::types::{Ctx, IdempotencyKey, Question, TurnId};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseReason, Session};
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt, once, unfold};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

/// The server pings this often; clients are told.
const PING: Duration = Duration::from_secs(25);
/// Without any frame for this long, the peer is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// A frame that cannot be written for this long: the reader is too slow.
const STALL: Duration = Duration::from_secs(30);
/// Who it is must be said by then.
const AUTH: Duration = Duration::from_secs(10);
/// Turns followed at once. Full: an error frame.
const MAX_FOLLOWED: usize = 32;

type Asking = BoxFuture<'static, (Option<String>, Result<Accepted, Refused>)>;
/// Batches of a turn; `None` once it ended.
type Followed = BoxStream<'static, (TurnId, Option<Batch>)>;

/// A connection's state.
pub(super) struct Socket {
    state: State,
    session: Session,
    ctx: Option<Ctx>,
    asking: FuturesUnordered<Asking>,
    followed: SelectAll<Followed>,
    unfollow: HashMap<TurnId, CancellationToken>,
}

impl Socket {
    pub(super) fn new(state: State, session: Session, ctx: Option<Ctx>) -> Self {
        Self {
            state,
            session,
            ctx,
            asking: FuturesUnordered::new(),
            followed: SelectAll::new(),
            unfollow: HashMap::new(),
        }
    }

    async fn send(&mut self, frame: &ServerFrame<'_>) -> Result<(), Option<Close>> {
        let Ok(json) = serde_json::to_string(frame) else { return Ok(()) };
        match tokio::time::timeout(STALL, self.session.text(json)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(None),
            Err(_stalled) => Err(Some(Close::TooSlow)),
        }
    }

    async fn send_batch(&mut self, turn_id: TurnId, batch: &Batch) -> Result<(), Option<Close>> {
        for Span { first, last: offset, part } in batch.spans() {
            let first_offset = (first < offset).then_some(first);
            if let Ok(part) = serde_json::from_slice::<&RawValue>(&part) {
                self.send(&ServerFrame::Part { turn_id, first_offset, offset, part }).await?;
            }
        }
        Ok(())
    }

    async fn fail(
        &mut self,
        request_id: Option<String>,
        turn_id: Option<TurnId>,
        problem: Problem,
    ) -> Result<(), Option<Close>> {
        self.send(&ServerFrame::Error { request_id, turn_id, problem }).await
    }

    fn follow(&mut self, log: &Arc<TurnLog>, from: usize) {
        let turn = log.turn();
        let token = CancellationToken::new();
        // Attaching again replaces what was followed before: no part comes twice.
        if let Some(before) = self.unfollow.insert(turn, token.clone()) {
            before.cancel();
        }
        let batches = unfold(log.cursor(from), |mut cursor: Cursor| async move {
            let batch = cursor.next().await?;
            Some(((cursor.log().turn(), Some(batch)), cursor))
        });
        let to_the_end = batches.chain(once(ready((turn, None))));
        self.followed.push(to_the_end.take_until(token.cancelled_owned()).boxed());
    }

    async fn heard(&mut self, text: &str) -> Result<(), Option<Close>> {
        let frame = match serde_json::from_str::<ClientFrame>(text) {
            Ok(frame) => frame,
            Err(error) => {
                let request_id = request_id_of(text);
                let problem = Problem::invalid(format!("The frame is not as documented: {error}."));
                return self.fail(request_id, None, problem).await;
            }
        };
        match (frame, self.ctx) {
            (ClientFrame::Ping, _) => self.send(&ServerFrame::Pong).await,
            (ClientFrame::Auth { token }, _) => match self.state.sessions.authenticate(&token) {
                Ok(ctx)
                    if self
                        .ctx
                        .is_none_or(|old| (old.tenant, old.user) == (ctx.tenant, ctx.user)) =>
                {
                    self.ctx = Some(ctx);
                    self.ready().await
                }
                _ => Err(Some(Close::Unauthenticated)),
            },
            (_, None) => Err(Some(Close::Unauthenticated)),
            (ClientFrame::Send(asked), Some(ctx)) => self.ask(ctx, asked).await,
            (ClientFrame::Attach { turn_id, after }, Some(ctx)) => {
                self.attach(ctx, turn_id, after).await
            }
            (ClientFrame::Stop { turn_id }, Some(ctx)) => {
                match self.state.chat.stop(ctx, turn_id).await {
                    Ok(Some(_)) => Ok(()),
                    Ok(None) => self.fail(None, Some(turn_id), Problem::not_found("turn")).await,
                    Err(error) => self.fail(None, Some(turn_id), error.into()).await,
                }
            }
        }
    }

    async fn ask(&mut self, ctx: Ctx, frame: SendFrame) -> Result<(), Option<Close>> {
        let request_id = frame.request_id.clone();
        let asked = if self.full() { Err(too_many()) } else { parse(frame) };
        match asked {
            Ok(asked) => {
                let chat = self.state.chat.clone();
                let asking = async move { (request_id, chat.ask(ctx, asked).await) };
                self.asking.push(asking.boxed());
                Ok(())
            }
            Err(problem) => self.fail(request_id, None, problem).await,
        }
    }

    fn full(&self) -> bool {
        self.asking.len() + self.followed.len() >= MAX_FOLLOWED
    }

    async fn ready(&mut self) -> Result<(), Option<Close>> {
        let heartbeat_ms = u64::try_from(PING.as_millis()).unwrap_or_default();
        self.send(&ServerFrame::Ready { heartbeat_ms }).await
    }

    async fn attach(
        &mut self,
        ctx: Ctx,
        turn: TurnId,
        after: Option<i64>,
    ) -> Result<(), Option<Close>> {
        if self.full() {
            return self.fail(None, Some(turn), too_many()).await;
        }
        match self.state.chat.attach(ctx, turn).await {
            Ok(Some(log)) => {
                self.follow(&log, crate::api::v1::resume_from(after));
                Ok(())
            }
            Ok(None) => self.fail(None, Some(turn), Problem::not_found("turn")).await,
            Err(error) => self.fail(None, Some(turn), error.into()).await,
        }
    }

    async fn answered(
        &mut self,
        request_id: Option<String>,
        outcome: Result<Accepted, Refused>,
    ) -> Result<(), Option<Close>> {
        match outcome {
            Ok(Accepted { turn, conversation, log, .. }) => {
                let frame = ServerFrame::Accepted {
                    request_id,
                    turn_id: turn,
                    conversation_id: conversation,
                };
                self.send(&frame).await?;
                self.follow(&log, 0);
                Ok(())
            }
            Err(refused) => self.fail(request_id, None, refused.into()).await,
        }
    }
}

fn parse(frame: SendFrame) -> Result<Asked, Problem> {
    let question = Question::parse(&frame.text)?;
    let key = frame.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
    let key = key.map_err(|error| Problem::invalid(format!("`idempotency_key`: {error}.")))?;
    Ok(Asked {
        conversation: frame.conversation_id,
        assistant: frame.assistant,
        question,
        idempotency_key: key,
    })
}

fn too_many() -> Problem {
    Problem::invalid(format!("A connection follows {MAX_FOLLOWED} running turns at most."))
}

/// Serves the connection until either side ends it.
pub(super) async fn run(mut socket: Socket, mut frames: AggregatedMessageStream) {
    let gauge = metrics::gauge!("docent_connections", "transport" => "websocket");
    gauge.increment(1.0);
    let close = serve(&mut socket, &mut frames).await.err().flatten();
    let reason = close.map(CloseReason::from);
    // The peer may not read any more: do not wait for it.
    drop(tokio::time::timeout(Duration::from_secs(1), socket.session.close(reason)).await);
    gauge.decrement(1.0);
}

async fn serve(
    socket: &mut Socket,
    frames: &mut AggregatedMessageStream,
) -> Result<(), Option<Close>> {
    let closing = socket.state.closing_sockets.clone();
    let auth_deadline = Instant::now() + AUTH;
    let mut ping = interval_at(Instant::now() + PING, PING);
    let mut heard_at = Instant::now();
    if socket.ctx.is_some() {
        socket.ready().await?;
    }
    loop {
        tokio::select! {
            biased;
            frame = frames.recv() => {
                heard_at = Instant::now();
                match frame {
                    Some(Ok(AggregatedMessage::Text(text))) => socket.heard(&text).await?,
                    Some(Ok(AggregatedMessage::Ping(bytes))) => {
                        socket.session.pong(&bytes).await.map_err(|_closed| None)?;
                    }
                    Some(Ok(AggregatedMessage::Pong(_))) => {}
                    Some(Ok(AggregatedMessage::Binary(_))) => return Err(Some(Close::TextOnly)),
                    Some(Ok(AggregatedMessage::Close(_))) | None => return Ok(()),
                    Some(Err(error)) => return Err(Some(Close::from(&error))),
                }
            }
            Some((request_id, outcome)) = socket.asking.next() => {
                socket.answered(request_id, outcome).await?;
            }
            Some((turn, batch)) = socket.followed.next() => match batch {
                Some(batch) => socket.send_batch(turn, &batch).await?,
                None => drop(socket.unfollow.remove(&turn)),
            },
            _ = ping.tick() => {
                if heard_at.elapsed() > SILENCE {
                    return Err(Some(Close::Silent));
                }
                socket.session.ping(b"").await.map_err(|_closed| None)?;
            }
            () = sleep_until(auth_deadline), if socket.ctx.is_none() => {
                return Err(Some(Close::AuthDeadline));
            }
            () = closing.cancelled() => return Err(Some(Close::Restarting)),
        }
    }
}
