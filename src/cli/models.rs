//! The catalogue of models from the command line.

use super::{Failure, Target, open, say};
use crate::llm::router;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum ModelsCommand {
    /// Add what a catalogue has, and change what is there already; running servers follow within seconds.
    Load {
        /// A file like deploy/models.toml. Default: that one, as it came along.
        file: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(command: ModelsCommand) -> Result<(), Failure> {
    let ModelsCommand::Load { file, target } = command;
    let name = file.as_ref().map_or("deploy/models.toml".into(), |file| file.display().to_string());
    let text = match &file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::Other(format!("{name}: {error}")))?,
        None => router::LIST.to_owned(),
    };
    let db = open(&target).await?;
    let loaded = router::load_models(&db, &text).await;
    let (providers, models, routes) =
        loaded.map_err(|error| Failure::Other(format!("{name}: {error}")))?;
    say(&format!("Loaded {providers} providers, {models} models and {routes} routes."));
    Ok(())
}
