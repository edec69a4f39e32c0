//! Puts the parts together and binds the port; running is another step, so that a test, too, can
//! bind port 0, read the address back and speak HTTP to the real server.

use super::error::AppError;
use super::listener;
use super::models::Models;
use super::shutdown::drain;
use crate::accounts::{ApiKeys, Directory, KnownKeys, Login, LoginParts, Sessions, Tickets};
use crate::api::{self, Patience, State, StateParts};
use crate::auth::{AccessTokens, Keys};
use crate::chat::{Chat, ChatParts};
use crate::cluster::Cluster;
use crate::config::Settings;
use crate::documents::extract::Extractor;
use crate::documents::{Catalogue, Ingestor, Mover, Progress, Uploads};
use crate::export::{Exporter, Pace, Vendor};
use crate::guard::Guard;
use crate::jobs::Queue;
use crate::limiter::{Connections, Plans, RateLimiter};
use crate::llm::router::{Router, Vault};
use crate::mail::Mailer;
use crate::metering;
use crate::net::Egress;
use crate::retrieval::Retriever;
use crate::runtime::Tasks;
use crate::store::{Db, DbOptions};
use crate::telemetry::MetricsPage;
use crate::text::tokens;
use crate::tools::Toolbox;
use crate::types::{NodeId, Secret};
use crate::vectors::Vectors;
use crate::worker;
use actix_cors::Cors;
use actix_web::HttpServer;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::header::HeaderName;
use actix_web::middleware::{Condition, from_fn};
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What the settings do not say.
pub struct AppOptions {
    pub settings: Settings,
    pub database_url: Secret,
    pub secret: Secret,
    /// The demo tenant's slug and the demo user's address, in `dev`.
    pub demo: Option<(String, String)>,
    /// This program, which is also the one that extracts text.
    pub program: PathBuf,
    /// With slow readers; tests have less.
    pub patience: Patience,
}

/// A server that is bound and not yet running.
pub struct App {
    server: Server,
    address: SocketAddr,
    pub(super) parts: Running,
}

/// What shutting down needs.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) handle: ServerHandle,
    pub(super) chat: Chat,
    pub(super) queue: Queue,
    pub(super) tasks: Tasks,
    pub(super) closing_sockets: CancellationToken,
    pub(super) drain_timeout: Duration,
}

impl App {
    /// Builds everything and starts the background work; the database must be migrated.
    ///
    /// # Errors
    /// When something is missing or unsafe; the error says what to do.
    #[expect(clippy::too_many_lines, reason = "the one list of what the server is made of")]
    pub async fn build(options: AppOptions) -> Result<Self, AppError> {
        let AppOptions { settings, database_url, secret, demo, program, patience } = options;
        let tasks = Tasks::current();
        let metrics = MetricsPage::install();
        let db = DbOptions {
            url: database_url.expose().to_owned(),
            max_connections: settings.database.connections,
            acquire: settings.database.wait,
        };
        let db = Db::open(&db, &tasks);
        db.check_isolation().await?;
        // The tokenizer takes a moment to load: not on the first question's time.
        drop(tokio::task::spawn_blocking(|| tokens::count("")));
        // What the operator changed of a version that is ours stays theirs.
        if let Err(error) = metering::load_prices(&db, metering::LIST, None).await {
            tracing::warn!(%error, "The list of prices that comes along was not added");
        }
        let models = Models::open(&db, &settings.models, &secret).await?;
        let node = NodeId::new();
        let queue = Queue::new(db.clone(), node);
        let progress = Progress::default();
        let cluster = match &settings.cluster.redis_url {
            Some(url) => Cluster::join(url, node, &tasks)?,
            None => Cluster::default(),
        };
        models.catalogue.join(&cluster);
        let (limiter, plans) = (RateLimiter::new(cluster.clone()), Plans::new(db.clone()));
        let retention = settings.chat.retention;
        let connections = Connections::new(settings.chat.connections_per_user, cluster.clone());
        let retriever = Retriever::new(db.clone(), models.spaces.clone());
        let egress = Egress::new(&settings.egress_allow);
        let toolbox = Toolbox::new(db.clone(), retriever.clone(), egress, Vault::new(&secret));
        let guard = Guard::new(models.moderator.clone());
        let chat = Chat::new(ChatParts {
            db: db.clone(),
            cluster: cluster.clone(),
            tasks: tasks.clone(),
            node,
            settings: settings.chat,
            catalogue: models.catalogue.clone(),
            router: Router::default(),
            max_output_tokens: settings.models.max_output_tokens,
            toolbox: toolbox.clone(),
            guard: guard.clone(),
            retriever,
            limiter: limiter.clone(),
            plans: plans.clone(),
        });
        let vectors = Vectors::new(
            db.clone(),
            tasks.clone(),
            models.spaces.clone(),
            limiter.clone(),
            plans.clone(),
        );
        let keys = Keys::derive(&secret);
        let known_keys = KnownKeys::new(db.clone());
        let sessions = Sessions::new(db.clone(), AccessTokens::new(&keys)?, known_keys.clone());
        let directory = Directory::new(db.clone());
        let login = Login::new(LoginParts {
            db: db.clone(),
            keys,
            directory: directory.clone(),
            sessions: sessions.clone(),
            mailer: Mailer::new(&settings.mail)?,
            tasks: tasks.clone(),
            codes_per_quarter_hour: settings.login.codes_per_quarter_hour,
            reveal_codes: settings.dev,
        });
        let ingestor = Ingestor {
            db: db.clone(),
            queue: queue.clone(),
            extractor: Arc::new(Extractor::new(program, settings.ingest_concurrency)),
            spaces: models.spaces.clone(),
            progress: progress.clone(),
        };
        let mover = Mover::new(db.clone(), queue.clone(), models.spaces);
        worker::run_ingestion(&tasks, &ingestor, &mover, settings.ingest_concurrency);
        worker::run_moves(&tasks, mover);
        chat.join().await?;
        let janitor = worker::Janitor {
            db: db.clone(),
            limiter: limiter.clone(),
            plans: plans.clone(),
            models: models.catalogue.clone(),
            toolbox: toolbox.clone(),
            guard: guard.clone(),
            login: login.clone(),
            keys: known_keys.clone(),
            metrics: metrics.clone(),
            retention,
        };
        worker::run_janitor(&tasks, janitor);
        for vendor in Vendor::of(&settings.exports)? {
            let exporter = Exporter::new(db.clone(), node, vendor, Pace::default());
            worker::run_exporter(&tasks, exporter);
        }
        let retention_months = settings.ledger.retention_months;
        worker::run_sealer(&tasks, worker::Sealer { db: db.clone(), retention_months });
        let closing_sockets = CancellationToken::new();
        let drain_timeout = settings.server.drain_timeout;
        let state = State::new(StateParts {
            tickets: Tickets::new(db.clone(), known_keys.clone()),
            keys: ApiKeys::new(db.clone(), known_keys),
            uploads: Uploads::new(db.clone(), queue.clone(), progress.clone()),
            catalogue: Catalogue::new(db.clone()),
            models: models.catalogue,
            vectors,
            toolbox: toolbox.clone(),
            guard,
            connections,
            limiter,
            plans,
            patience,
            settings: settings.server,
            dev: settings.dev,
            closing_sockets: closing_sockets.clone(),
            chat: chat.clone(),
            cluster,
            db,
            sessions,
            login,
            directory,
            progress,
            metrics,
            demo,
        });
        let (server, address) = bind(state)?;
        let handle = server.handle();
        let parts = Running { handle, chat, queue, tasks, closing_sockets, drain_timeout };
        Ok(Self { server, address, parts })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then drains; `hurry` ends the waiting for running turns.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), AppError> {
        let mut serving = std::pin::pin!(self.server);
        let mut drained = std::pin::pin!(async {
            shutdown.await;
            drain(&self.parts, hurry).await;
        });
        let io = |error| AppError::Io { what: "the server stopped".into(), error };
        tokio::select! {
            ended = &mut serving => {
                // Stopping the listener is a step of the drain: the steps after it remain.
                if self.parts.chat.draining() {
                    drained.await;
                }
                ended.map_err(io)
            }
            () = &mut drained => serving.await.map_err(io),
        }
    }
}

fn bind(state: State) -> Result<(Server, SocketAddr), AppError> {
    let wanted = format!("{}:{}", state.settings.host, state.settings.port);
    let listen = |error| AppError::Listen { address: wanted.clone(), error };
    let listener = listener::listen(&wanted, state.patience.untaken).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let workers = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .wrap(Condition::new(!state.settings.allowed_origins.is_empty(), cors(&state)))
            .wrap(from_fn(api::tell_rates))
            .wrap(from_fn(api::observe))
            .configure(api::configure(state.clone()))
    })
    .workers(workers)
    .max_connections(listener::most_connections(workers))
    // Without it a token waits up to 40 ms for the acknowledgement of the one before.
    .tcp_nodelay(true)
    .keep_alive(Duration::from_secs(75))
    .client_request_timeout(Duration::from_secs(5))
    .shutdown_timeout(5) // running turns have been waited for by then
    .disable_signals()
    .listen(listener)
    .map_err(listen)?
    .run();
    Ok((server, address))
}

fn cors(state: &State) -> Cors {
    let exposed = [
        "x-request-id",
        "x-turn-id",
        "x-conversation-id",
        "ratelimit",
        "ratelimit-policy",
        "docent-quota",
        "content-disposition",
        "etag",
        "retry-after",
        // What OpenAI's clients read.
        "x-should-retry",
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ];
    let mut cors = Cors::default()
        .allow_any_method()
        .allow_any_header()
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(3600);
    for origin in &state.settings.allowed_origins {
        cors = cors.allowed_origin(origin);
    }
    cors
}
