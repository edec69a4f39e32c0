//! The command line.

mod embeddings;
mod export;
mod models;

use crate::accounts::{self, Directory, NewTenant};
use crate::api;
use crate::app::{AppError, DevOptions, dev, serve};
use crate::config::{Layers, NAMES, Settings};
use crate::documents::extract::{Format, run_child};
use crate::metering;
use crate::runtime::Tasks;
use crate::store::{self, Db, DbOptions};
use crate::telemetry::{self, Logging};
use crate::types::Role;
use clap::{Args, Parser, Subcommand};
use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Chat that answers from your own documents.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Settings come from flags, the environment, .env and \
docent.toml, in this order; .env.example lists them all."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try docent: starts its own PostgreSQL, a demo tenant and a demo model.
    Dev {
        /// Port of the server.
        #[arg(long)]
        port: Option<u16>,
        /// Where everything is kept.
        #[arg(long, default_value = ".docent")]
        data_dir: PathBuf,
        /// Throw the data away and start over.
        #[arg(long)]
        fresh: bool,
    },
    /// Serve on your PostgreSQL (`DATABASE_URL`).
    Serve {
        #[arg(long)]
        host: Option<String>,
        #[arg(long)]
        port: Option<u16>,
    },
    /// Bring the database up to date, and exit.
    Migrate(Target),
    /// Tenants.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// People.
    #[command(subcommand)]
    User(UserCommand),
    /// The ledger's way to billing systems.
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// The bill.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Which models there are.
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Which embedding model a tenant's documents have.
    #[command(subcommand)]
    Embeddings(embeddings::EmbeddingsCommand),
    /// What models cost.
    #[command(subcommand)]
    Prices(PricesCommand),
    /// Print the API's description.
    Openapi,
    /// Read a document from standard input and print its text as JSON.
    #[command(hide = true)]
    Extract { format: Format },
}

/// Which database.
#[derive(Args)]
struct Target {
    /// Default: `DATABASE_URL`, or the one of a running `docent dev` in this folder.
    #[arg(long)]
    database_url: Option<String>,
    /// The folder of `docent dev`.
    #[arg(long, default_value = ".docent")]
    data_dir: PathBuf,
}

#[derive(Subcommand)]
enum TenantCommand {
    /// Make a tenant with a default assistant.
    Create {
        /// a-z, 0-9 and -.
        slug: String,
        /// Default: the slug.
        #[arg(long)]
        name: Option<String>,
        /// free, pro or enterprise.
        #[arg(long, default_value = "free")]
        plan: String,
        /// Let anybody with an e-mail address in, as a member.
        #[arg(long)]
        allow_signup: bool,
        /// Its days and months are those of the bill: Europe/Vienna, for instance.
        #[arg(long, default_value = "UTC")]
        time_zone: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Subcommand)]
enum PricesCommand {
    /// Add what is new in a list like deploy/prices.toml; a version that is there never changes.
    Load {
        file: PathBuf,
        /// The own prices of one tenant: slug or id.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// Add a person to a tenant.
    Add {
        /// Slug or id.
        tenant: String,
        email: String,
        /// owner, admin, member or billing.
        #[arg(long, default_value = "member")]
        role: Role,
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// Check the books: hashes, numbers, costs, sums and counters. Exits with 1 when something is wrong.
    Verify {
        /// Only this tenant: slug or id.
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        target: Target,
    },
}

/// Runs the program; 2 is "the settings are wrong", 1 any other failure.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Extract { format } = command {
        return run_child(format); // before a runtime exists: it lowers its own limits
    }
    // The listener has a thread for each core, and answers stream there: what is left is the databases' and jobs'.
    let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let threads = cores.div_ceil(2);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start: {error}")),
    };
    match runtime.block_on(run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Settings(text)) => fail(2, &text),
        Err(Failure::Other(text)) => fail(1, &text),
    }
}

enum Failure {
    Settings(String),
    Other(String),
}

impl<E: Into<AppError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into().to_string())
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    drop(writeln!(std::io::stderr(), "docent: {}", text.trim_end()));
    ExitCode::from(code)
}

fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}")); // a closed pipe is the reader's choice
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev { port, data_dir, fresh } => {
            let (settings, _logging) =
                settings(flags([("PORT", port.map(|port| port.to_string()))]), true)?;
            Ok(dev(settings, DevOptions { data_dir, fresh }).await?)
        }
        Command::Serve { host, port } => {
            let port = port.map(|port| port.to_string());
            let (settings, _logging) = settings(flags([("HOST", host), ("PORT", port)]), false)?;
            Ok(serve(settings).await?)
        }
        Command::Migrate(target) => {
            let ran = store::migrate(&database_url(&target)?).await?;
            say(&format!("The database is up to date; {} migrations were run.", ran.len()));
            Ok(())
        }
        Command::Tenant(TenantCommand::Create {
            slug,
            name,
            plan,
            allow_signup,
            time_zone,
            target,
        }) => {
            let db = open(&target).await?;
            let name = name.unwrap_or_else(|| slug.clone());
            let new = NewTenant { slug, name, plan, allow_signup, time_zone };
            let tenant = accounts::create_tenant(&db, new).await?;
            say(&format!("Made tenant {} ({}).", tenant.slug, tenant.id));
            Ok(())
        }
        Command::User(UserCommand::Add { tenant, email, role, name, target }) => {
            let db = open(&target).await?;
            let tenant = Directory::new(db.clone()).find(&tenant).await?;
            let user = accounts::add_user(&db, &tenant, &email, &name, role).await?;
            say(&format!("Added {} ({}) as {}.", user.email, user.id, user.role));
            Ok(())
        }
        Command::Export(command) => export::run(command).await,
        Command::Embeddings(command) => embeddings::run(command).await,
        Command::Models(command) => models::run(command).await,
        Command::Ledger(LedgerCommand::Verify { tenant, target }) => {
            verify_ledger(&open(&target).await?, tenant).await
        }
        Command::Prices(PricesCommand::Load { file, tenant, target }) => {
            load_prices(&open(&target).await?, &file, tenant).await
        }
        Command::Openapi => {
            let json = api::document().to_pretty_json();
            say(&json.map_err(|error| Failure::Other(error.to_string()))?);
            Ok(())
        }
        Command::Extract { .. } => Ok(()), // ran before the runtime was made
    }
}

async fn load_prices(db: &Db, file: &Path, tenant: Option<String>) -> Result<(), Failure> {
    let unreadable = |error| Failure::Other(format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let tenant = match tenant {
        Some(name) => Some(Directory::new(db.clone()).find(&name).await?.id),
        None => None,
    };
    let loaded = metering::load_prices(db, &text, tenant).await;
    let added = loaded.map_err(|error| Failure::Other(format!("{}: {error}", file.display())))?;
    say(&format!("Added {added} prices."));
    Ok(())
}

async fn verify_ledger(db: &Db, tenant: Option<String>) -> Result<(), Failure> {
    let tenant = match tenant {
        Some(name) => Some(Directory::new(db.clone()).find(&name).await?.id),
        None => None,
    };
    let report = metering::verify(db, tenant).await?;
    for difference in &report.differences {
        say(difference);
    }
    if report.found > 0 {
        return Err(Failure::Other(format!("the books are wrong: {} differences", report.found)));
    }
    say(&format!("{} rows of {} tenants verified", report.rows, report.tenants));
    Ok(())
}

fn flags<const N: usize>(given: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn settings(flags: BTreeMap<String, String>, dev: bool) -> Result<(Settings, Logging), Failure> {
    let layers = Layers::new(flags).with_environment().with_files(Path::new("."), NAMES);
    let settings = Settings::load(layers, dev).map_err(|problems| {
        Failure::Settings(format!("these settings need a change:\n{problems}"))
    })?;
    let logging = telemetry::init_logging(&settings.log, settings.log_format);
    Ok((settings, logging.map_err(Failure::Settings)?))
}

/// The flag, the environment and files, or what a `docent dev` in this folder wrote down.
fn database_url(target: &Target) -> Result<String, Failure> {
    let given = flags([("DATABASE_URL", target.database_url.clone())]);
    let mut layers = Layers::new(given).with_environment().with_files(Path::new("."), NAMES);
    let kept = || std::fs::read_to_string(target.data_dir.join("database-url")).ok();
    layers.text("DATABASE_URL").or_else(kept).ok_or_else(|| {
        Failure::Settings(
            "set DATABASE_URL or pass --database-url (or run this beside a running `docent dev`)"
                .into(),
        )
    })
}

async fn open(target: &Target) -> Result<Db, Failure> {
    let url = database_url(target)?;
    if !store::pending(&url).await?.is_empty() {
        let text = "the database is not up to date: run `docent migrate` first";
        return Err(Failure::Other(text.into()));
    }
    let options = DbOptions { url, max_connections: 2, acquire: Duration::from_secs(5) };
    Ok(Db::open(&options, &Tasks::current()))
}
