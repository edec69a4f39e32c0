//! `docent embeddings`: which embedding model a tenant has, and moving it to another. A running server does the
//! work: keys are there.

use super::{Failure, Target, open, say};
use crate::accounts::Directory;
use crate::documents::{self, MoveError};
use crate::store::DbError;
use crate::store::embedding_models::EmbeddingModel;
use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum EmbeddingsCommand {
    /// The embedding models that there are.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Which one a tenant has, and how far its move is.
    Status {
        /// Slug or id.
        tenant: String,
        #[command(flatten)]
        target: Target,
    },
    /// Move a tenant to another; said again, what was given up is tried again.
    Move {
        /// Slug or id.
        tenant: String,
        /// As `docent embeddings list` names it, or its provider.
        #[arg(long)]
        to: String,
        /// Fewer than the model has, where it can be shortened.
        #[arg(long)]
        dimensions: Option<i32>,
        #[command(flatten)]
        target: Target,
    },
    /// Take a move back that has not ended.
    Cancel {
        /// Slug or id.
        tenant: String,
        #[command(flatten)]
        target: Target,
    },
}

impl From<MoveError> for Failure {
    fn from(error: MoveError) -> Self {
        match error {
            MoveError::Db(error) => error.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

pub(super) async fn run(command: EmbeddingsCommand) -> Result<(), Failure> {
    match command {
        EmbeddingsCommand::List { target } => {
            let mut tx = open(&target).await?.system().await?;
            for model in EmbeddingModel::list(&mut tx).await.map_err(DbError::from)? {
                say(&format!("{}  {} of {}", model.name, model.model, model.provider));
            }
        }
        EmbeddingsCommand::Status { tenant, target } => {
            let db = open(&target).await?;
            let tenant = Directory::new(db.clone()).find(&tenant).await?;
            let mut tx = db.tenant(tenant.id).await?;
            say_status(&documents::move_status(&mut tx, tenant.id).await?);
        }
        EmbeddingsCommand::Move { tenant, to, dimensions, target } => {
            let db = open(&target).await?;
            let tenant = Directory::new(db.clone()).find(&tenant).await?;
            let model = documents::find_model(&db, &to, dimensions).await?;
            let mut tx = db.tenant(tenant.id).await?;
            let queued = documents::start_move(&mut tx, tenant.id, &model).await?;
            tx.commit().await?;
            say(&format!("{queued} documents will be embedded by a running server."));
        }
        EmbeddingsCommand::Cancel { tenant, target } => {
            let db = open(&target).await?;
            let tenant = Directory::new(db.clone()).find(&tenant).await?;
            let mut tx = db.tenant(tenant.id).await?;
            documents::cancel_move(&mut tx, tenant.id).await?;
            tx.commit().await?;
            say(&format!("{} stays where it is.", tenant.slug));
        }
    }
    Ok(())
}

fn say_status(status: &documents::Moved) {
    let name = |model: &Option<EmbeddingModel>| model.as_ref().map(|model| model.name.clone());
    let model = name(&status.model).unwrap_or_else(|| "the server's default".to_owned());
    say(&format!("Questions are answered by {model}."));
    if let Some(next) = name(&status.next) {
        let progress = &status.progress;
        let (done, left, failed) = (progress.done, progress.left, progress.failed);
        say(&format!("On the way to {next}: {done} documents done, {left} left, {failed} failed."));
        if let Some(error) = &progress.last_error {
            say(&format!("The last failure: {error}."));
        }
    }
    if status.tidying {
        say("Vectors that are not needed any more are being deleted.");
    }
}
