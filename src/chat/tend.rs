//! What a node does for its turns twice a second: it renews its lease, looks for stops, settles what
//! waits in files, and closes the turns of nodes that died.

use super::recovery::close_orphans;
use super::service::Core;
use super::turn::commit;
use crate::store::DbError;
use crate::store::nodes::{self, LEASE_SECONDS};
use crate::store::turns;
use crate::types::TurnId;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_millis(500);

/// A database that hangs is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tends turns until `left`.
pub(super) async fn tend(core: &Arc<Core>, left: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    while left.run_until_cancelled(tick.tick()).await.is_some() {
        if let Err(error) = DbError::after(PATIENCE, once(core)).await {
            tracing::warn!(%error, "Turns could not be tended; trying again");
            *core.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }
}

async fn once(core: &Arc<Core>) -> Result<(), DbError> {
    core.live.sweep();
    core.copies.sweep();
    let running = core.live.running(); // before asking: each of them has its row
    let mut tx = core.db.system().await?;
    nodes::renew(&mut tx, core.node).await?;
    let own = nodes::turns_of(&mut tx, core.node).await?;
    // A turn that panicked, or whose opening was committed without our being told.
    let ours = |id: TurnId| core.live.works_on(id) || core.unsettled.contains(id);
    let strays: Vec<TurnId> = own.iter().map(|turn| turn.id).filter(|id| !ours(*id)).collect();
    if !strays.is_empty() {
        let disowned = turns::disown(&mut tx, core.node, &strays).await?;
        tracing::warn!(turns = disowned, "Gave up turns that nobody runs");
    }
    tx.commit().await?;
    own.iter().filter(|turn| turn.stop_requested).for_each(|turn| core.live.stop(turn.id));
    // Closed by a node that took us for dead: nobody will hear the rest. Those that we have just
    // settled ourselves are over, and do not notice.
    let lost = running.iter().filter(|id| own.iter().all(|turn| turn.id != **id));
    lost.for_each(|id| core.live.cut(*id));
    settle_unsettled(core).await?;
    if !failed_lately(core) {
        close_orphans(core).await?;
    }
    Ok(())
}

/// While the database was away no node could renew its lease: they get the time of one to do so.
fn failed_lately(core: &Core) -> bool {
    let failed_at = *core.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
    failed_at.is_some_and(|at| at.elapsed().as_secs_f64() < LEASE_SECONDS)
}

/// Settles the turns that wait in files.
async fn settle_unsettled(core: &Arc<Core>) -> Result<(), DbError> {
    for id in core.unsettled.turns() {
        let files = Arc::clone(core);
        let loaded = tokio::task::spawn_blocking(move || files.unsettled.load(id)).await;
        let outcome = match loaded {
            Ok(Ok(settlement)) => commit(&core.db, &settlement).await.map(drop),
            _ => {
                tracing::error!(turn.id = %id, "The file of an unsettled turn cannot be read");
                core.unsettled.set_aside(id);
                continue;
            }
        };
        match outcome {
            Ok(()) => core.unsettled.remove(id), // or somebody else closed it
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::error!(turn.id = %id, %error, "An unsettled turn cannot be settled");
                core.unsettled.set_aside(id);
            }
        }
    }
    Ok(())
}
