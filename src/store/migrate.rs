//! Migrations, embedded in the program and run under a lock, so that several nodes may start at once.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use thiserror::Error;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Any number that nobody else takes an advisory lock on.
const LOCK: i64 = 0x0064_6f63_656e_7421;

/// Why the schema could not be brought up to date.
#[derive(Debug, Error)]
pub enum MigrateError {
    #[error("cannot connect to the database: {0}")]
    Connect(#[from] diesel::ConnectionError),
    #[error("a migration failed: {0}")]
    Migration(String),
    #[error("the migration lock could not be taken: {0}")]
    Lock(#[from] diesel::result::Error),
    #[error("the migration task stopped: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Runs what is pending; returns the versions it ran.
///
/// # Errors
/// With the first migration that failed; earlier ones stay, each ran in its own transaction.
pub async fn migrate(url: &str) -> Result<Vec<String>, MigrateError> {
    locked(url, |conn| {
        let ran = conn.run_pending_migrations(MIGRATIONS)?;
        Ok(ran.iter().map(ToString::to_string).collect())
    })
    .await
}

/// The versions that [`migrate`] would run.
///
/// # Errors
/// When the database cannot be asked.
pub async fn pending(url: &str) -> Result<Vec<String>, MigrateError> {
    locked(url, |conn| {
        let pending = MigrationHarness::<Pg>::pending_migrations(conn, MIGRATIONS)?;
        Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
    })
    .await
}

/// Takes every migration back: for the test that goes up, down and up again.
///
/// # Errors
/// With the first migration that failed.
pub async fn revert_all(url: &str) -> Result<Vec<String>, MigrateError> {
    locked(url, |conn| {
        let reverted = conn.revert_all_migrations(MIGRATIONS)?;
        Ok(reverted.iter().map(ToString::to_string).collect())
    })
    .await
}

type Wrapped = AsyncConnectionWrapper<AsyncPgConnection>;
type Outcome = Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>>;

async fn locked(
    url: &str,
    work: impl FnOnce(&mut Wrapped) -> Outcome + Send + 'static,
) -> Result<Vec<String>, MigrateError> {
    let conn = AsyncPgConnection::establish(url).await?;
    tokio::task::spawn_blocking(move || {
        let mut conn = Wrapped::from(conn);
        // Held until the connection closes at the end of this closure.
        diesel::sql_query(format!("SELECT pg_advisory_lock({LOCK})")).execute(&mut conn)?;
        work(&mut conn).map_err(|error| MigrateError::Migration(error.to_string()))
    })
    .await?
}
