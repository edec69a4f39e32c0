//! The actor of one live conversation: it decides whether a turn may start, and passes stops on.
//!
//! `handle` is a plain `fn`: it changes state and spawns, it never waits. All I/O is the turn's.

use super::accepted::Refused;
use super::answer::Ends;
use super::open::{NotOpened, Order};
use super::registry::{Registry, SessionKey};
use super::service::ChatParts;
use super::turn::{self, Reply};
use crate::types::TurnId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Without a turn for this long, the actor ends.
const IDLE: Duration = Duration::from_secs(30);

/// What a session can be told.
pub(super) enum Command {
    Start { order: Box<Order>, reply: Reply },
    Stop { turn: TurnId },
}

struct Running {
    turn: TurnId,
    stop: CancellationToken,
    done: JoinHandle<()>,
}

/// The actor.
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) parts: Arc<ChatParts>,
    pub(super) registry: Arc<Registry>,
    pub(super) inbox: mpsc::Receiver<Command>,
    /// Cuts turns short at the end of the drain.
    pub(super) cut: CancellationToken,
}

impl Session {
    /// Lives until it was idle for a while.
    pub(super) async fn run(mut self) {
        let mut running: Option<Running> = None;
        loop {
            tokio::select! {
                biased; // control before data: a stop overtakes the end of a turn
                command = self.inbox.recv() => match command {
                    Some(command) => self.handle(command, &mut running),
                    None => break,
                },
                () = finished(&mut running) => running = None,
                () = tokio::time::sleep(IDLE), if running.is_none() => {
                    // No new sender can be had once this is gone; what was sent before is answered.
                    self.registry.remove(self.key);
                    self.inbox.close();
                }
            }
        }
    }

    fn handle(&self, command: Command, running: &mut Option<Running>) {
        match command {
            Command::Start { reply, .. } if running.is_some() => {
                drop(reply.send(Err(NotOpened::Refused(Refused::TurnInProgress))));
            }
            Command::Start { order, reply } => {
                let stop = CancellationToken::new();
                let ends = Ends { stop: stop.clone(), cut: self.cut.clone() };
                let turn = order.turn;
                let work = turn::run(Arc::clone(&self.parts), *order, ends, reply);
                let done = self.parts.tasks.spawn("turn", work);
                *running = Some(Running { turn, stop, done });
            }
            Command::Stop { turn } => {
                if let Some(running) = running.as_ref().filter(|running| running.turn == turn) {
                    running.stop.cancel();
                }
            }
        }
    }
}

async fn finished(running: &mut Option<Running>) {
    match running {
        // A panic in the turn was counted by `Tasks`; its lease runs out and it is swept.
        Some(running) => drop((&mut running.done).await),
        None => std::future::pending().await,
    }
}
