//! A server with its database and its provider, in this process, on a port of its own.

use super::{Database, Provider, User};
use docent::accounts::{NewTenant, create_tenant};
use docent::api::Patience;
use docent::app::{App, AppOptions};
use docent::config::{Layers, Settings};
use docent::runtime::Tasks;
use docent::store::{Db, DbOptions};
use docent::types::Secret;
use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How a world differs from the usual one.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Settings by name, as in the environment.
    pub settings: Vec<(&'static str, String)>,
    /// The plan of the tenants.
    pub plan: &'static str,
    /// False: the built-in demo model answers.
    pub provider: bool,
    /// With slow readers.
    pub patience: Patience,
}

impl Default for WorldOptions {
    fn default() -> Self {
        let patience = Patience::default();
        Self { settings: Vec::new(), plan: "enterprise", provider: true, patience }
    }
}

/// The world of one test. Dropping it shuts the server down as SIGTERM would.
pub struct World {
    pub base: String,
    pub database: Database,
    pub provider: Provider,
    pub http: reqwest::Client,
    plan: &'static str,
    _data_dir: tempfile::TempDir,
    shutdown: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

/// The secret of every test server.
pub const SECRET: &str = "a secret for tests that is long enough";

impl World {
    pub async fn start() -> Self {
        Self::with(WorldOptions::default()).await
    }

    pub async fn with(options: WorldOptions) -> Self {
        Self::on(Database::fresh().await, Provider::start().await, options).await
    }

    /// A server on a database that is there already: a second node, or a restart.
    pub async fn on(database: Database, provider: Provider, options: WorldOptions) -> Self {
        let data_dir = tempfile::tempdir().expect("a folder");
        let mut given: BTreeMap<String, String> = BTreeMap::from([
            ("PORT".into(), "0".into()),
            ("DATABASE_CONNECTIONS".into(), "8".into()),
            // A test machine may be slow; being refused for that is not what is tested.
            ("DATABASE_WAIT".into(), "30".into()),
            ("DRAIN_TIMEOUT".into(), "5".into()),
            ("EMBEDDING_MODEL".into(), "hashed-ngram-384".into()),
            ("DATA_DIR".into(), data_dir.path().display().to_string()),
        ]);
        if options.provider {
            given.insert("OPENAI_BASE_URL".into(), provider.url.clone());
            given.insert("CHAT_MODEL".into(), "gpt-4o-mini".into());
        }
        for (name, value) in &options.settings {
            given.insert((*name).into(), value.clone());
        }
        let settings = Settings::load(Layers::new(given), true).expect("the settings are right");
        let options_for_app = AppOptions {
            settings,
            database_url: Secret::new(&database.url),
            secret: Secret::new(SECRET),
            demo: None,
            program: env!("CARGO_BIN_EXE_docent").into(),
            patience: options.patience,
        };
        let (shutdown, stop) = oneshot::channel();
        let (ready, address) = oneshot::channel();
        let server = std::thread::spawn(move || serve(options_for_app, ready, stop));
        let base = format!("http://{}", address.await.expect("the server starts"));
        let http = client();
        let (shutdown, server) = (Some(shutdown), Some(server));
        let plan = options.plan;
        Self { base, database, provider, http, plan, _data_dir: data_dir, shutdown, server }
    }

    /// A person of a tenant, logged in; both are made when they are not there. The address's host
    /// names the tenant: `anna@acme.test` belongs to `acme`.
    pub async fn user(&self, email: &str) -> User {
        let slug = email.split_once('@').unwrap().1.split_once('.').unwrap().0;
        self.ensure_tenant(slug).await;
        User::log_in(&self.base, &self.http, slug, email).await
    }

    /// The same person, when they come back to this server: a session holds on every node.
    pub fn back(&self, user: &User) -> User {
        User { base: self.base.clone(), http: self.http.clone(), ..user.clone() }
    }

    async fn ensure_tenant(&self, slug: &str) {
        let there = format!("SELECT count(*) AS n FROM tenants WHERE slug = '{slug}'");
        if self.database.number(&there).await == 1 {
            return;
        }
        let new = NewTenant {
            slug: slug.into(),
            name: slug.into(),
            plan: self.plan.into(),
            allow_signup: true,
            time_zone: "UTC".into(),
        };
        create_tenant(&self.db(), new).await.expect("a tenant can be made");
    }

    /// The store as the program sees it.
    pub fn db(&self) -> Db {
        let options = DbOptions {
            url: self.database.url.clone(),
            max_connections: 2,
            acquire: Duration::from_secs(10),
        };
        Db::open(&options, &Tasks::current())
    }

    /// Shuts down as SIGTERM would, and returns when the server is gone.
    pub async fn stop(mut self) {
        drop(self.shutdown.take());
        let server = self.server.take().expect("it runs");
        tokio::task::spawn_blocking(move || server.join().expect("the server ends in peace"))
            .await
            .unwrap();
    }

    /// Begins the shutdown and does not wait.
    pub fn begin_shutdown(&mut self) {
        drop(self.shutdown.take());
    }
}

/// A client without the defaults that hide things.
pub fn client() -> reqwest::Client {
    docent::net::client(&docent::net::ClientOptions::default()).expect("a client")
}

fn serve(
    options: AppOptions,
    ready: oneshot::Sender<std::net::SocketAddr>,
    stop: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let app = App::build(options).await.expect("the server can be built");
        ready.send(app.address()).expect("the test waits");
        let stopped = async { drop(stop.await) };
        app.run(stopped, std::future::pending()).await.expect("the server runs");
    });
}
