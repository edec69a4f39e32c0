//! The turns that run on this node, and those that just ended.

use super::answer::{End, Ends};
use super::log::TurnLog;
use super::settle::last_parts;
use crate::types::{Ctx, TurnId};
use dashmap::{DashMap, DashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an ended log stays in memory; later it is read from the database, byte for byte.
const RETENTION: Duration = Duration::from_secs(30);

/// A turn with its log.
#[derive(Clone)]
pub(super) struct LiveTurn {
    pub(super) ctx: Ctx,
    pub(super) log: Arc<TurnLog>,
    pub(super) ends: Ends,
    ended_at: Option<Instant>,
    /// A document was deleted while it ran: its log may quote it, and nobody gets it once it ended.
    forget: bool,
}

/// All of them, by id.
#[derive(Default)]
pub(super) struct LiveTurns {
    turns: DashMap<TurnId, LiveTurn>,
    /// Being opened: their rows may be there already.
    opening: DashSet<TurnId>,
}

impl LiveTurns {
    pub(super) fn begin(&self, id: TurnId) {
        self.opening.insert(id);
    }

    /// It was not opened.
    pub(super) fn give_up(&self, id: TurnId) {
        self.opening.remove(&id);
    }

    pub(super) fn insert(&self, ctx: Ctx, log: Arc<TurnLog>, ends: Ends) {
        let id = log.turn();
        self.turns.insert(id, LiveTurn { ctx, log, ends, ended_at: None, forget: false });
        self.opening.remove(&id);
        metrics::gauge!("docent_turns_running").increment(1.0);
    }

    /// The turn, if it is this user's.
    pub(super) fn get(&self, ctx: Ctx, id: TurnId) -> Option<LiveTurn> {
        self.turns
            .get(&id)
            .filter(|turn| (turn.ctx.tenant, turn.ctx.user) == (ctx.tenant, ctx.user))
            .filter(|turn| !(turn.forget && turn.log.ended()))
            .map(|turn| turn.clone())
    }

    pub(super) fn mark_ended(&self, id: TurnId) {
        if let Some(mut turn) = self.turns.get_mut(&id) {
            turn.ended_at = Some(Instant::now());
            metrics::gauge!("docent_turns_running").decrement(1.0);
        }
    }

    /// A turn whose task is over without having ended it (it panicked): its readers are told, and
    /// nobody runs it any more, so that it is swept and billed.
    pub(super) fn abandon(&self, id: TurnId) {
        self.opening.remove(&id);
        let open = self.turns.remove_if(&id, |_, turn| turn.ended_at.is_none());
        if let Some((_, turn)) = open {
            let end = End::interrupted("Something went wrong here. Ask again in a moment.");
            turn.log.append_all(&last_parts(&end, None));
            metrics::gauge!("docent_turns_running").decrement(1.0);
        }
    }

    /// Keeps the log of a turn to those who read it until it ends: it quotes a document that was
    /// deleted. The turn itself stays known until its task is over.
    pub(super) fn forget(&self, id: TurnId) {
        if let Some(mut turn) = self.turns.get_mut(&id) {
            turn.forget = true;
        }
    }

    /// Stops a turn, whoever asked.
    pub(super) fn stop(&self, id: TurnId) {
        if let Some(turn) = self.turns.get(&id) {
            turn.ends.stop.cancel();
        }
    }

    /// Cuts a turn short that is not ours any more.
    pub(super) fn cut(&self, id: TurnId) {
        if let Some(turn) = self.turns.get(&id) {
            turn.ends.cut.cancel();
        }
    }

    /// True of a turn that this node works on.
    pub(super) fn works_on(&self, id: TurnId) -> bool {
        self.opening.contains(&id)
            || self.turns.get(&id).is_some_and(|turn| turn.ended_at.is_none())
    }

    /// True once a turn's clients have been told its end, though its task may not be over yet.
    pub(super) fn told(&self, id: TurnId) -> bool {
        self.turns.get(&id).is_some_and(|turn| turn.log.ended())
    }

    /// Those that still run.
    pub(super) fn running(&self) -> Vec<TurnId> {
        self.turns.iter().filter(|turn| turn.ended_at.is_none()).map(|turn| *turn.key()).collect()
    }

    /// Forgets what ended a while ago.
    pub(super) fn sweep(&self) {
        self.turns.retain(|_, turn| turn.ended_at.is_none_or(|at| at.elapsed() < RETENTION));
    }

    /// Forgets ended logs at once, and running ones when they end: they may quote a document that
    /// was deleted.
    pub(super) fn forget_ended(&self) {
        self.turns.retain(|_, turn| {
            turn.forget = true;
            turn.ended_at.is_none()
        });
    }
}
