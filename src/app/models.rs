//! Which models answer and embed, from the settings.

use crate::config::ModelSettings;
use crate::embedding::Spaces;
use crate::guard::Moderator;
use crate::llm::router::Catalogue;
use crate::net::{self, ClientOptions, Clients};
use crate::store::Db;
use crate::types::Secret;

use super::error::AppError;

/// The models of this server.
pub(super) struct Models {
    pub(super) catalogue: Catalogue,
    pub(super) spaces: Spaces,
    pub(super) moderator: Option<Moderator>,
}

impl Models {
    pub(super) async fn open(
        db: &Db,
        settings: &ModelSettings,
        secret: &Secret,
    ) -> Result<Self, AppError> {
        let client = net::client(&ClientOptions::default())?;
        let spaces = Spaces::open(db, client.clone(), settings.clone()).await?;
        let judge = |moderation| Moderator::new(client.clone(), moderation);
        let moderator = settings.moderation.as_ref().map(judge);
        let clients = Clients::new(ClientOptions::default())?;
        let catalogue = Catalogue::new(db.clone(), clients, settings.clone(), secret);
        Ok(Self { catalogue, spaces, moderator })
    }
}
