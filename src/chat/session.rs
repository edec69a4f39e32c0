//! The actor of one live conversation: it alone decides whether a turn may start in it.
//!
//! `handle` is a plain `fn`: it changes state and spawns, it never waits. All I/O is the turn's. A
//! stop does not pass through here: it cancels the turn's token, which no full mailbox can delay.

use super::accepted::Refused;
use super::admission::Place;
use super::answer::Ends;
use super::open::{NotOpened, Order};
use super::registry::{Registry, SessionKey};
use super::service::Core;
use super::turn::{self, Reply};
use crate::limiter::Charge;
use crate::types::TurnId;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Without a turn for this long, the actor ends.
const IDLE: Duration = Duration::from_secs(30);

/// Asks the actor to start a turn.
pub(super) struct Start {
    pub(super) order: Box<Order>,
    pub(super) reply: Reply,
    /// Kept until the turn is over.
    pub(super) place: Place,
    pub(super) charge: Charge,
    /// Where the asker is: the turn streams there.
    pub(super) near: Handle,
}

struct Running {
    turn: TurnId,
    done: JoinHandle<()>,
}

/// The actor.
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) core: Arc<Core>,
    pub(super) registry: Arc<Registry>,
    pub(super) inbox: mpsc::Receiver<Start>,
    /// Cuts turns short at the end of the drain.
    pub(super) cut: CancellationToken,
}

impl Session {
    /// Lives until it was idle for a while, or the server closes.
    pub(super) async fn run(mut self) {
        let closing = self.core.tasks.closing();
        let mut running: Option<Running> = None;
        loop {
            tokio::select! {
                biased; // the end of a turn before the start of the next
                turn = finished(&mut running) => {
                    self.core.live.abandon(turn); // nothing to do, unless it panicked
                    running = None;
                }
                start = self.inbox.recv() => match start {
                    Some(start) => self.handle(start, &mut running),
                    None => break,
                },
                () = tokio::time::sleep(IDLE), if running.is_none() => self.close(),
                () = closing.cancelled(), if running.is_none() => break,
            }
        }
    }

    /// What was sent before is still answered; what is sent later finds no actor, or a new one.
    fn close(&mut self) {
        self.inbox.close();
        self.registry.remove_closed(self.key);
    }

    fn handle(&self, start: Start, running: &mut Option<Running>) {
        // A client that saw the end may ask again at once, before the task that told it is over.
        let busy = running.as_ref().is_some_and(|running| !self.core.live.told(running.turn));
        if busy {
            // The asker may have left; then nobody needs the answer.
            drop(start.reply.send(Err(NotOpened::Refused(Refused::TurnInProgress))));
            return;
        }
        let ends = Ends { stop: CancellationToken::new(), cut: self.cut.child_token() };
        let turn = start.order.turn;
        let work = turn::run(Arc::clone(&self.core), start, ends);
        *running = Some(Running { turn, done: self.core.tasks.spawn("turn", work) });
    }
}

async fn finished(running: &mut Option<Running>) -> TurnId {
    match running {
        Some(Running { turn, done }) => {
            drop(done.await);
            *turn
        }
        None => std::future::pending().await,
    }
}
