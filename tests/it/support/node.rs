//! A server as a process of its own, to be killed.

use super::world::{SECRET, client};
use super::{Database, Provider, User};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// `docent serve` in a process.
pub struct Node {
    pub base: String,
    child: Child,
    _data_dir: tempfile::TempDir,
    log: Lines<BufReader<ChildStderr>>,
}

impl Node {
    /// Starts one on a migrated database and returns when it listens.
    pub async fn start(database: &Database, provider: &Provider) -> Self {
        Self::with(database, provider, &[]).await
    }

    /// Starts one that has these settings, too.
    pub async fn with(database: &Database, provider: &Provider, env: &[(&str, &str)]) -> Self {
        let data_dir = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_docent"))
            .args(["serve", "--host", "127.0.0.1", "--port", "0"])
            .env_clear()
            .env("DATABASE_URL", &database.url)
            .env("DOCENT_SECRET", SECRET)
            .env("OPENAI_BASE_URL", &provider.url)
            .env("CHAT_MODEL", "gpt-4o-mini")
            .env("EMBEDDING_MODEL", "hashed-ngram-384")
            .env("DATABASE_CONNECTIONS", "8")
            .env("DATABASE_WAIT", "30")
            .env("DRAIN_TIMEOUT", "5")
            .env("DATA_DIR", data_dir.path())
            .envs(env.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("it listens before it ends");
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["message"] == "docent is serving" {
                let base = format!("http://{}", line["address"].as_str().unwrap());
                return Self { base, child, _data_dir: data_dir, log };
            }
        }
    }

    /// The same person on this node: sessions hold on every node.
    pub fn user(&self, user: &User) -> User {
        User { base: self.base.clone(), http: client(), ..user.clone() }
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Freezes it.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// SIGTERM; returns the exit code and what it logged since it started.
    pub async fn terminate(mut self) -> (Option<i32>, Vec<String>) {
        self.signal(Signal::TERM);
        let mut lines = Vec::new();
        while let Ok(Some(line)) = self.log.next_line().await {
            lines.push(line);
        }
        (self.child.wait().await.unwrap().code(), lines)
    }
}
