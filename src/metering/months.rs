//! What the turn of a month brings: tables for those to come, an end for the one that is over, and a
//! way out for those that are no longer kept.

use crate::store::ledger_months::{self, Month};
use crate::store::ledger_state::{self, Duty};
use crate::store::{Db, DbError};
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::SimpleAsyncConnection;

/// Makes the tables of this month and the next two.
///
/// # Errors
/// When the database cannot be asked, or others held the tables for too long.
pub async fn make_months(db: &Db) -> Result<(), DbError> {
    for ahead in 0..3 {
        let mut tx = db.owner().await?;
        if !ledger_state::take_duty(&mut tx, Duty::Months).await? {
            return Ok(());
        }
        match ledger_months::make(&mut tx, ahead).await {
            Ok(_made_or_there) => tx.commit().await?,
            // They are billed, sealed and checked all the same; only retention does not see them.
            Err(Error::DatabaseError(DatabaseErrorKind::CheckViolation, _)) => tracing::error!(
                months.ahead = ahead,
                "Rows of a month came before its tables were made: they stay in usage_ledger_other, \
                 and that month cannot be taken out; docs/ledger.md says how to move them"
            ),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Closes the months that are over; returns how many.
///
/// # Errors
/// When the database cannot be asked.
pub async fn close_months(db: &Db) -> Result<i64, DbError> {
    let mut tx = db.ledger().await?;
    if !ledger_state::take_duty(&mut tx, Duty::Months).await? {
        return Ok(0);
    }
    let closed = ledger_months::close(&mut tx).await?;
    tx.commit().await?;
    if closed > 0 {
        tracing::info!(months.closed = closed, "Months were closed");
    }
    Ok(closed)
}

/// Takes out of the ledger what is older than `kept` months; returns how many months that were. Nothing
/// is deleted: their tables stay beside it.
///
/// # Errors
/// When the database cannot be asked, or others held the tables for too long.
pub async fn retain(db: &Db, kept: u32) -> Result<usize, DbError> {
    let mut tx = db.owner().await?;
    let old = ledger_months::older_than(&mut tx, i32::try_from(kept).unwrap_or(i32::MAX)).await?;
    tx.commit().await?;
    let mut taken = 0;
    for month in old {
        taken += usize::from(take_out(db, month).await?);
    }
    Ok(taken)
}

async fn take_out(db: &Db, month: Month) -> Result<bool, DbError> {
    let mut tx = db.owner().await?;
    if !ledger_state::take_duty(&mut tx, Duty::Seal).await? {
        return Ok(false); // the next time
    }
    month.hold(&mut tx).await?;
    tx.batch_execute("SET LOCAL ROLE docent_ledger").await?;
    if !month.is_done(&mut tx).await? {
        tracing::info!(month = %month.month, "A month that is old enough has rows that still count: it stays");
        tx.commit().await?; // the duty is free for others at once
        return Ok(false);
    }
    month.write_off(&mut tx).await?;
    tx.batch_execute("SET LOCAL ROLE NONE").await?;
    month.detach(&mut tx).await?;
    tx.commit().await?;
    tracing::info!(month = %month.month, "A month was taken out of the ledger");
    Ok(true)
}
