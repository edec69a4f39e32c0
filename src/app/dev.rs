//! `docent dev`: one command, nothing to set up. It brings its own PostgreSQL and runs the same
//! server as `serve` on it.

use super::build::{App, AppOptions};
use super::demo::{DEMO_EMAIL, DEMO_TENANT, seed, take_over};
use super::error::AppError;
use super::serve::{Signals, this_program};
use crate::api::Patience;
use crate::config::Settings;
use crate::dev::{Cluster, Options};
use crate::runtime::Tasks;
use crate::store::{self, Db, DbOptions};
use crate::types::Secret;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DATABASE: &str = "docent";
/// Somebody who presses Ctrl-C does not want to wait two minutes.
const DRAIN: Duration = Duration::from_secs(5);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct DevOptions {
    pub data_dir: PathBuf,
    /// Begin with an empty database.
    pub fresh: bool,
}

/// Runs until Ctrl-C, then stops everything it started.
///
/// # Errors
/// When it cannot start; the error says what to do.
pub async fn dev(mut settings: Settings, options: DevOptions) -> Result<(), AppError> {
    let mut signals = Signals::new()?;
    let mut again = Signals::new()?;
    let io = |what: String| move |error| AppError::Io { what, error };
    fs::create_dir_all(&options.data_dir)
        .map_err(io(format!("cannot make {}", options.data_dir.display())))?;
    let secret = match settings.login.secret.clone() {
        Some(secret) => secret,
        None => kept_secret(&options.data_dir)?,
    };
    let cluster = match settings.database.url {
        Some(_) => None,
        None => {
            let folder = options.data_dir.join("postgres");
            let cluster = Cluster::start(Options::new(folder).fresh(options.fresh)).await?;
            cluster.create_database_if_missing(DATABASE).await?;
            Some(cluster)
        }
    };
    let url = match (&cluster, &settings.database.url) {
        (Some(cluster), _) => Secret::new(cluster.url(DATABASE)),
        (None, Some(url)) => url.clone(),
        (None, None) => Secret::new(String::new()),
    };
    let kept_url = options.data_dir.join("database-url");
    write_private(&kept_url, url.expose())?;
    if settings.server.host != "127.0.0.1" {
        tracing::warn!(
            "`dev` shows login codes to everybody who can reach it: it is for trying out"
        );
    }
    settings.chat.data_dir.clone_from(&options.data_dir);
    settings.server.drain_timeout = settings.server.drain_timeout.min(DRAIN);
    let started = start(settings, url, secret, cluster.is_some()).await;
    let outcome = match started {
        Ok(app) => {
            let data = cluster.as_ref().map_or("your DATABASE_URL".into(), |cluster| {
                cluster.data_dir().display().to_string()
            });
            banner(app.address(), &data, &kept_url);
            app.run(signals.next(), async move {
                again.next().await; // the first, which began the drain
                again.next().await;
            })
            .await
        }
        Err(error) => Err(error),
    };
    if let Some(cluster) = cluster {
        cluster.stop().await;
    }
    outcome
}

async fn start(
    settings: Settings,
    database_url: Secret,
    secret: Secret,
    alone: bool,
) -> Result<App, AppError> {
    store::migrate(database_url.expose()).await?;
    let tasks = Tasks::current();
    let db = DbOptions {
        url: database_url.expose().to_owned(),
        max_connections: 2,
        acquire: Duration::from_secs(10),
    };
    let db = Db::open(&db, &tasks);
    seed(&db).await?;
    if alone {
        take_over(&db).await?;
    }
    let demo = Some((DEMO_TENANT.to_owned(), DEMO_EMAIL.to_owned()));
    let program = this_program()?;
    let patience = Patience::default();
    App::build(AppOptions { settings, database_url, secret, demo, program, patience }).await
}

/// The secret of this data folder, made on the first start: sessions survive a restart.
fn kept_secret(folder: &Path) -> Result<Secret, AppError> {
    let path = folder.join("secret");
    if let Ok(kept) = fs::read_to_string(&path)
        && kept.trim().len() >= 32
    {
        return Ok(Secret::new(kept));
    }
    let bytes: [u8; 32] = rand::random();
    let fresh: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&path, &fresh)?;
    Ok(Secret::new(fresh))
}

fn write_private(path: &Path, text: &str) -> Result<(), AppError> {
    let io = |error| AppError::Io { what: format!("cannot write {}", path.display()), error };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)
}

fn banner(address: SocketAddr, data: &str, kept_url: &Path) {
    let text = format!(
        "\n  docent is ready:  http://{address}\n\n\
         \x20 log in     tenant {DEMO_TENANT}, e-mail {DEMO_EMAIL}; the page offers the code\n\
         \x20 data       {data}\n\
         \x20 database   psql \"$(cat {})\"\n\
         \x20 API        http://{address}/docs\n\
         \x20 stop       Ctrl-C\n\n",
        kept_url.display()
    );
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush())); // nobody may be reading
}
