//! `docent serve`: your PostgreSQL, a server that never starts one.

use super::build::{App, AppOptions};
use super::error::AppError;
use crate::api::Patience;
use crate::config::Settings;
use crate::store;
use crate::types::Secret;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Migrates and serves until SIGTERM or SIGINT; a second one hurries the drain.
///
/// # Errors
/// When it cannot start.
pub async fn serve(settings: Settings) -> Result<(), AppError> {
    let missing = || Secret::new(String::new()); // the settings were checked: they are there
    let database_url = settings.database.url.clone().unwrap_or_else(missing);
    let secret = settings.login.secret.clone().unwrap_or_else(missing);
    for version in store::migrate(database_url.expose()).await? {
        tracing::info!(version, "Migrated the database");
    }
    if !settings.models.has_provider() {
        tracing::warn!("No provider has a key or a base URL: the built-in demo model answers");
    }
    let program = this_program()?;
    let app = App::build(AppOptions {
        settings,
        database_url,
        secret,
        demo: None,
        program,
        patience: Patience::default(),
    })
    .await?;
    tracing::info!(address = %app.address(), "docent is serving");
    let mut signals = Signals::new()?;
    let mut again = Signals::new()?;
    app.run(signals.next(), async move {
        again.next().await; // the first, which began the drain
        again.next().await;
    })
    .await
}

/// Where this program lies: it starts itself again to extract text.
pub(super) fn this_program() -> Result<PathBuf, AppError> {
    let io = |error| AppError::Io { what: "cannot find the path of this program".into(), error };
    std::env::current_exe().map_err(io)
}

/// SIGTERM or SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, AppError> {
        let io = |error| AppError::Io { what: "cannot listen for signals".into(), error };
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(io)?,
            interrupt: signal(SignalKind::interrupt()).map_err(io)?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
