//! The durable copy of a running turn's log: one more cursor, written down twice a second.
//!
//! After a crash it is what clients resume from and what the turn is billed by. It never holds the
//! stream up: when the database is away, parts wait in the log and are written when it is back.

use super::log::TurnLog;
use super::service::ChatParts;
use super::step::{Steps, json};
use crate::store::turns::{self, Turn};
use crate::store::{Conn, Db, DbError, segments};
use crate::types::{NodeId, TenantId};
use futures_util::try_join;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

const EVERY: Duration = Duration::from_millis(500);
/// The end of a turn waits for a write: not for ever, when the database hangs.
const TRY: Duration = Duration::from_secs(2);

/// Writes one turn's log.
pub(super) struct Journal {
    db: Db,
    node: NodeId,
    tenant: TenantId,
    log: Arc<TurnLog>,
    steps: Steps,
    /// The steps as they were written down last.
    known: Value,
}

impl Journal {
    pub(super) fn new(
        parts: &ChatParts,
        tenant: TenantId,
        log: Arc<TurnLog>,
        steps: Steps,
    ) -> Self {
        let (db, node) = (parts.db.clone(), parts.node);
        Self { db, node, tenant, log, steps, known: Value::Null }
    }

    /// Writes until `finish` is sent or dropped; returns the first offset that is not written.
    pub(super) async fn run(mut self, mut finish: oneshot::Receiver<()>) -> usize {
        let mut written = 0;
        loop {
            tokio::select! {
                _ = &mut finish => return written,
                () = tokio::time::sleep(EVERY) => {}
            }
            let (text, next) = self.log.lines_from(written);
            if !text.is_empty() {
                match DbError::after(TRY, self.write(written, &text)).await {
                    Ok(()) => written = next,
                    Err(error) => {
                        tracing::warn!(turn.id = %self.log.turn(), %error,
                            "The turn's log could not be written down; trying again");
                    }
                }
            }
        }
    }

    async fn write(&mut self, offset: usize, text: &str) -> Result<(), DbError> {
        let turn = self.log.turn();
        let first = async |conn: &Conn| Turn::hold(conn, self.tenant, turn, self.node).await;
        let (tx, held) = self.db.tenant_with(self.tenant, first).await?;
        if !held? {
            return Ok(()); // closed by somebody who took us for dead: their log stays as it is
        }
        let steps = json(&self.steps.all());
        let offset = i32::try_from(offset).unwrap_or(i32::MAX);
        let changed = (steps != self.known).then(|| steps.clone());
        let note = async |conn: &Conn| match changed {
            Some(steps) => turns::set_steps(conn, self.tenant, turn, steps).await,
            None => Ok(()),
        };
        tx.commit_with(async |conn: &Conn| {
            try_join!(note(conn), segments::insert(conn, self.tenant, turn, offset, text))
        })
        .await?;
        self.known = steps;
        Ok(())
    }
}
