//! What a WebSocket connection knows, and what it does with each frame. It holds no turn; dropping
//! it changes nothing but who watches.

use super::close::Close;
use super::frame::{ClientFrame, SendFrame, ServerFrame, request_id_of};
use crate::accounts::AccountError;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::{
    Accepted, Asked, Batch, Cursor, Refused, Span, Subscription, TurnLog, What, Wishes,
};
use crate::limiter::Connection;
use crate::types::{Ctx, IdempotencyKey, Scope, TurnId};
use actix_ws::{Closed, Session};
use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt, once, unfold};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The server pings this often; clients are told.
pub(super) const PING: Duration = Duration::from_secs(25);
/// Turns followed at once. Full: an error frame.
const MAX_FOLLOWED: usize = 32;

type Asking = BoxFuture<'static, (Option<String>, Result<Accepted, Refused>)>;
type Followed = BoxStream<'static, (TurnId, Heard)>;

/// What comes of a turn that is followed.
pub(super) enum Heard {
    Parts(Batch),
    /// There is always more than was sent, for too long.
    Behind,
    Ended,
}

/// Who is connected, with their place among the connections and what happens to them.
pub(super) struct Person {
    ctx: Ctx,
    _place: Connection,
    pub(super) events: Subscription,
}

/// A connection's state.
pub(super) struct Socket {
    pub(super) state: State,
    pub(super) session: Session,
    pub(super) person: Option<Person>,
    pub(super) asking: FuturesUnordered<Asking>,
    pub(super) followed: SelectAll<Followed>,
    unfollow: HashMap<TurnId, CancellationToken>,
}

impl Socket {
    /// A connection of nobody yet.
    pub(super) fn new(state: State, session: Session) -> Self {
        Self {
            state,
            session,
            person: None,
            asking: FuturesUnordered::new(),
            followed: SelectAll::new(),
            unfollow: HashMap::new(),
        }
    }

    /// Makes it somebody's.
    pub(super) fn enter(&mut self, ctx: Ctx, place: Connection) {
        let events = self.state.chat.events().subscribe(ctx.tenant, ctx.user);
        self.person = Some(Person { ctx, _place: place, events });
    }

    /// True once it is known whose it is.
    pub(super) fn entered(&self) -> bool {
        self.person.is_some()
    }

    /// Sends a text frame.
    pub(super) async fn say(&mut self, json: String) -> Result<(), Option<Close>> {
        let stall = self.state.patience.stall;
        in_time(stall, self.session.text(json)).await
    }

    async fn send(&mut self, frame: &ServerFrame<'_>) -> Result<(), Option<Close>> {
        match serde_json::to_string(frame) {
            Ok(json) => self.say(json).await,
            Err(_) => Ok(()), // our own frames into memory: it cannot fail
        }
    }

    pub(super) async fn pong(&mut self, bytes: &[u8]) -> Result<(), Option<Close>> {
        let stall = self.state.patience.stall;
        in_time(stall, self.session.pong(bytes)).await
    }

    pub(super) async fn ping(&mut self) -> Result<(), Option<Close>> {
        let stall = self.state.patience.stall;
        in_time(stall, self.session.ping(b"")).await
    }

    pub(super) async fn followed(
        &mut self,
        turn: TurnId,
        what: Heard,
    ) -> Result<(), Option<Close>> {
        match what {
            Heard::Parts(batch) => self.send_batch(turn, &batch).await,
            Heard::Behind => Err(Some(Close::TooSlow)),
            Heard::Ended => {
                self.unfollow.remove(&turn);
                Ok(())
            }
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
        let behind = self.state.patience.behind;
        let batches = unfold(log.cursor(from), move |mut cursor: Cursor| async move {
            let batch = cursor.next().await?;
            let what = match cursor.behind_for() > behind {
                true => Heard::Behind,
                false => Heard::Parts(batch),
            };
            Some(((turn, what), cursor))
        });
        let to_the_end = batches.chain(once(ready((turn, Heard::Ended))));
        self.followed.push(to_the_end.take_until(token.cancelled_owned()).boxed());
    }

    pub(super) async fn heard(&mut self, text: &str) -> Result<(), Option<Close>> {
        let frame = match serde_json::from_str::<ClientFrame>(text) {
            Ok(frame) => frame,
            Err(error) => {
                let request_id = request_id_of(text);
                let problem = Problem::invalid(format!("The frame is not as documented: {error}."));
                return self.fail(request_id, None, problem).await;
            }
        };
        match (frame, self.still().await?) {
            (ClientFrame::Ping, _) => self.send(&ServerFrame::Pong).await,
            (ClientFrame::Auth { token }, _) => self.authenticate(&token).await,
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

    /// Who is connected, as they are now: a key may have been revoked since.
    pub(super) async fn still(&mut self) -> Result<Option<Ctx>, Option<Close>> {
        let Some(person) = &mut self.person else { return Ok(None) };
        match self.state.sessions.again(person.ctx).await {
            Ok(ctx) => person.ctx = ctx,
            Err(AccountError::Db(_)) => {} // without the database they are answered nothing, either
            Err(_revoked) => return Err(Some(Close::Unauthenticated)),
        }
        Ok(Some(person.ctx))
    }

    async fn authenticate(&mut self, token: &str) -> Result<(), Option<Close>> {
        let denied = |_wrong| Some(Close::Unauthenticated);
        let ctx = self.state.sessions.authenticate(token).await.map_err(denied)?;
        if !ctx.within_scope(Scope::Chat) {
            return Err(Some(Close::Scope));
        }
        match &mut self.person {
            Some(person) if (person.ctx.tenant, person.ctx.user) != (ctx.tenant, ctx.user) => {
                return Err(Some(Close::Unauthenticated));
            }
            Some(person) => person.ctx = ctx,
            None => {
                let place = self.state.connections.open(ctx).await;
                self.enter(ctx, place.map_err(|_full| Some(Close::TooMany))?);
            }
        }
        self.ready().await
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

    /// True while it follows no turn and asks for none.
    pub(super) fn idle(&self) -> bool {
        self.asking.is_empty() && self.followed.is_empty()
    }

    fn full(&self) -> bool {
        self.asking.len() + self.followed.len() >= MAX_FOLLOWED
    }

    pub(super) async fn ready(&mut self) -> Result<(), Option<Close>> {
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

    pub(super) async fn answered(
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

/// Waits for a place in the queue of frames to the peer.
async fn in_time(
    stall: Duration,
    sent: impl Future<Output = Result<(), Closed>>,
) -> Result<(), Option<Close>> {
    match tokio::time::timeout(stall, sent).await {
        Ok(sent) => sent.map_err(|_closed| None),
        Err(_stalled) => Err(Some(Close::TooSlow)),
    }
}

fn parse(frame: SendFrame) -> Result<Asked, Problem> {
    let SendFrame { conversation_id, text, edit_of, regenerate, .. } = &frame;
    let what = What::parse(*conversation_id, text.as_deref(), *edit_of, *regenerate)?;
    let (name, key) = match &frame.idempotency_key {
        Some(key) => ("idempotency_key", Some(key)),
        None => ("request_id", frame.request_id.as_ref()), // a repeat of a request is a repeat
    };
    let key = key.map(|key| IdempotencyKey::parse(key)).transpose();
    let key = key.map_err(|error| Problem::invalid(format!("`{name}`: {error}.")))?;
    let SendFrame { assistant, draft, .. } = frame;
    Ok(Asked { what, assistant, draft, idempotency_key: key, wishes: Wishes::default() })
}

fn too_many() -> Problem {
    Problem::invalid(format!("A connection follows {MAX_FOLLOWED} running turns at most."))
}
