//! What handlers work with.

use super::stream::Patience;
use crate::accounts::{ApiKeys, Directory, Login, Sessions, Tickets};
use crate::chat::Chat;
use crate::cluster::Cluster;
use crate::config::ServerSettings;
use crate::documents::{Catalogue, Progress, Uploads};
use crate::guard::Guard;
use crate::limiter::{Connections, Plans, RateLimiter};
use crate::llm;
use crate::store::Db;
use crate::telemetry::MetricsPage;
use crate::tools::Toolbox;
use crate::vectors::Vectors;
use std::ops::Deref;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The parts, put together by `app`.
pub struct StateParts {
    pub db: Db,
    pub sessions: Sessions,
    pub login: Login,
    pub tickets: Tickets,
    pub keys: ApiKeys,
    pub directory: Directory,
    pub uploads: Uploads,
    pub catalogue: Catalogue,
    pub progress: Progress,
    pub chat: Chat,
    pub vectors: Vectors,
    pub toolbox: Toolbox,
    pub guard: Guard,
    pub cluster: Cluster,
    pub connections: Connections,
    pub limiter: RateLimiter,
    pub plans: Plans,
    pub models: llm::router::Catalogue,
    pub patience: Patience,
    pub metrics: MetricsPage,
    pub settings: ServerSettings,
    /// True for `docent dev`.
    pub dev: bool,
    /// The tenant and address `dev` made.
    pub demo: Option<(String, String)>,
    /// Cancelled when sockets are to close, after running turns have finished.
    pub closing_sockets: CancellationToken,
}

/// Shared by all workers. Cheap to clone.
#[derive(Clone)]
pub struct State(Arc<StateParts>);

impl State {
    /// Shares the parts.
    #[must_use]
    pub fn new(parts: StateParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for State {
    type Target = StateParts;

    fn deref(&self) -> &StateParts {
        &self.0
    }
}
