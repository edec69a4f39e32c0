//! Turns that run on other nodes: their logs, copied from Redis as they are written there, and from
//! the journal in PostgreSQL for what Redis has not. One copy of a turn per node, whoever reads it.

use super::log::TurnLog;
use super::part::Part;
use super::replay::{end_as_stored, load};
use crate::cluster::{Cluster, Listener, Next, Status, end_of};
use crate::runtime::Tasks;
use crate::store::turns::Turn;
use crate::store::{Db, DbError};
use crate::types::{Ctx, TenantId, TurnId, UserId};
use dashmap::DashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the journal is looked at when it is all there is.
const POLL: Duration = Duration::from_millis(300);
/// How often when Redis tells the news: for turns that were closed behind its back.
const CHECK: Duration = Duration::from_secs(2);
/// Missing parts are in the journal half a second after they were written.
const GAP: Duration = Duration::from_millis(200);

/// The copies this node keeps while somebody reads them.
#[derive(Default)]
pub(super) struct Copies {
    logs: DashMap<TurnId, (TenantId, UserId, Weak<TurnLog>)>,
}

impl Copies {
    /// The copy of a user's turn that still runs, if there is one; an ended one is read as it was
    /// written.
    pub(super) fn get(&self, ctx: Ctx, turn: TurnId) -> Option<Arc<TurnLog>> {
        let entry = self.logs.get(&turn)?;
        let (tenant, user, log) = entry.value();
        let log = log.upgrade().filter(|log| !log.ended())?;
        ((*tenant, *user) == (ctx.tenant, ctx.user)).then_some(log)
    }

    /// Keeps `log` up to date until it ends or nobody reads it. When somebody else keeps a copy of
    /// the same turn already, that one is returned instead.
    pub(super) fn follow(&self, parts: Following, log: Arc<TurnLog>) -> Arc<TurnLog> {
        let Following { ctx, db, cluster, tasks } = parts;
        let turn = log.turn();
        let mut entry =
            self.logs.entry(turn).or_insert_with(|| (ctx.tenant, ctx.user, Weak::new()));
        if let Some(known) = entry.2.upgrade() {
            return known;
        }
        entry.2 = Arc::downgrade(&log);
        drop(entry);
        let gap = Arc::new(Notify::new());
        let copy = Copy { log: Arc::downgrade(&log), gap: Arc::clone(&gap) };
        cluster.listen(turn, Box::new(copy));
        let (closing, kept) = (tasks.closing(), Arc::clone(&log));
        tasks.spawn("turn-follower", async move {
            let looking = look_until_ended(&db, &cluster, ctx.tenant, &kept, &gap);
            closing.run_until_cancelled(looking).await;
        });
        log
    }

    /// Forgets what nobody reads.
    pub(super) fn sweep(&self) {
        self.logs.retain(|_, (_, _, log)| log.strong_count() > 0);
    }
}

/// What following needs.
pub(super) struct Following {
    pub(super) ctx: Ctx,
    pub(super) db: Db,
    pub(super) cluster: Cluster,
    pub(super) tasks: Tasks,
}

/// Takes what Redis has.
struct Copy {
    log: Weak<TurnLog>,
    gap: Arc<Notify>,
}

impl Listener for Copy {
    fn entry(&mut self, id: &str, payload: &[u8]) -> Next {
        let Some(log) = self.log.upgrade() else { return Next::Done };
        let Ok(lines) = std::str::from_utf8(payload) else { return Next::More };
        let first = end_of(id).saturating_sub(lines.lines().count());
        if !lines.is_empty() && !log.copy(first, lines) {
            self.gap.notify_one();
        }
        if log.ended() { Next::Done } else { Next::More }
    }

    fn wanted(&self) -> bool {
        self.log.strong_count() > 0
    }
}

async fn look_until_ended(
    db: &Db,
    cluster: &Cluster,
    tenant: TenantId,
    log: &Arc<TurnLog>,
    gap: &Notify,
) {
    while !log.ended() && Arc::strong_count(log) > 1 {
        let pause = if cluster.status() == Status::Connected { CHECK } else { POLL };
        tokio::select! {
            () = log.wait_ended() => return,
            () = gap.notified() => tokio::time::sleep(GAP).await,
            () = tokio::time::sleep(pause) => {}
        }
        if let Err(error) = look(db, tenant, log).await {
            tracing::warn!(turn.id = %log.turn(), %error, "A turn elsewhere could not be followed");
        }
    }
}

async fn look(db: &Db, tenant: TenantId, log: &TurnLog) -> Result<(), DbError> {
    let mut tx = db.tenant(tenant).await?;
    // The state first: a turn that is closed now has all its segments by the time they are read.
    let turn = Turn::find(&mut tx, tenant, log.turn()).await?;
    match turn {
        Some(turn) if turn.state == "running" => load(&mut tx, tenant, log).await?,
        Some(turn) => end_as_stored(&mut tx, &turn, log).await?,
        None => log.append(&Part::Error { error_text: "The conversation was deleted.".into() }),
    }
    tx.commit().await
}
