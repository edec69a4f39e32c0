//! Servers in Python that docent is measured beside. pip installs what they need beside the build, once for each
//! list of pins.

use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
/// A worker that is silent for so many seconds is replaced. It is five usually, which is soon on a full machine.
const PATIENCE: &str = "60";
/// What it keeps, and its copy of docent's chunks.
pub(crate) const SCHEMA: &str = include_str!("schema.sql");

/// A server with its workers. It ends with us.
pub(crate) struct Peer {
    child: Child,
    pub(crate) address: String,
}

impl Peer {
    /// The same turn, written with `FastAPI`. It has twenty connections to PostgreSQL, as docent has.
    pub(crate) async fn fastapi(
        provider: &str,
        database: &str,
        workers: usize,
    ) -> Result<Self, String> {
        let connections = (20 / workers).to_string();
        let environment = [
            ("OPENAI_BASE_URL", provider),
            ("DATABASE_URL", database),
            ("CONNECTIONS", connections.as_str()),
        ];
        let workers = workers.to_string();
        let program = ["uvicorn", "fastapi_turn:app", "--loop", "uvloop", "--http", "httptools"];
        let quiet = ["--no-access-log", "--log-level", "warning"];
        let workers = ["--workers", &workers, "--timeout-worker-healthcheck", PATIENCE];
        let arguments = [&program[..], &quiet, &workers].concat();
        Self::start("requirements.txt", &arguments, &environment).await
    }

    /// `LiteLLM`'s proxy, set up as its documentation advises for production.
    pub(crate) async fn litellm(provider: &str, workers: usize) -> Result<Self, String> {
        let environment = [
            ("OPENAI_BASE_URL", provider),
            ("LITELLM_MODE", "PRODUCTION"),
            ("LITELLM_LOG", "ERROR"),
            // It asks nobody about prices.
            ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        ];
        let workers = workers.to_string();
        let program = ["litellm.proxy.proxy_cli", "--config", "litellm.yaml"];
        let workers = ["--num_workers", &workers, "--timeout_worker_healthcheck", PATIENCE];
        let arguments = [&program[..], &workers].concat();
        Self::start("requirements-litellm.txt", &arguments, &environment).await
    }

    /// Runs a module of Python with what `pins` lists, and returns when it takes connections.
    async fn start(
        pins: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        let python = installed(pins).await?;
        let free = TcpListener::bind("127.0.0.1:0").await.map_err(said)?;
        let address = free.local_addr().map_err(said)?;
        drop(free);
        let mut child = Command::new(python)
            .arg("-m")
            .args(arguments)
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .current_dir(FOLDER)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(environment.iter().copied())
            .stdout(std::process::Stdio::null())
            .spawn()
            .map_err(said)?;
        let mut look = tokio::time::interval(Duration::from_millis(100));
        while TcpStream::connect(address).await.is_err() {
            look.tick().await;
            if let Some(status) = child.try_wait().map_err(said)? {
                return Err(format!("it ended with {status}"));
            }
        }
        Ok(Self { child, address: address.to_string() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Returns when it is gone.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        self.child.wait().await.expect("it ends");
    }

    /// Not at once: it ends its workers first.
    fn terminate(&self) {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _asked = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// A Python that has the packages of a list of pins.
async fn installed(pins: &str) -> Result<PathBuf, String> {
    let list = Path::new(FOLDER).join(pins);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peer-{pins}"));
    let (python, done) = (home.join("bin/python"), home.join("installed.txt"));
    let wanted = std::fs::read(&list).map_err(said)?;
    if std::fs::read(&done).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home)).await?;
    let install = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "-r"];
    run(Command::new(&python).args(install).arg(list)).await?;
    std::fs::write(done, wanted).map_err(said)?;
    Ok(python)
}

async fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().await.map_err(said)?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}

fn said(error: impl Display) -> String {
    error.to_string()
}
