//! A Redis of a test's own: real, empty at each start, and gone with the test.

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;

static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();

/// A `redis-server` that can be stopped, restarted and paused under the feet of those who use it.
pub struct Redis {
    pub url: String,
    port: u16,
    server: Option<Server>,
}

/// The process, and its log, which must not be closed while it writes.
struct Server {
    child: Child,
    _log: Lines<BufReader<ChildStdout>>,
}

impl Redis {
    /// Starts one, and returns when it takes connections.
    pub async fn start() -> Self {
        // Below the ports that the kernel gives away: after a stop nobody takes ours.
        loop {
            let port = rand::random_range(10_000..30_000);
            if let Some(server) = serve(port).await {
                let url = format!("redis://127.0.0.1:{port}/0");
                return Self { url, port, server: Some(server) };
            }
        }
    }

    /// Kills it: connections end, and what it held is gone.
    pub async fn stop(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.child.kill().await.unwrap();
    }

    /// Kills it if it runs, and starts it again on the same port with nothing in it.
    pub async fn restart(&mut self) {
        if self.server.is_some() {
            self.stop().await;
        }
        self.server = Some(serve(self.port).await.expect("the port is still free"));
    }

    /// Freezes it: connections stay, and nothing is answered. Returns when it is frozen.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends a command; returns the first line of the answer.
    pub async fn say(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        BufReader::new(stream).lines().next_line().await.unwrap().expect("an answer")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        let id = self.server.as_ref().and_then(|server| server.child.id()).expect("it runs");
        Pid::from_raw(id.try_into().unwrap()).unwrap()
    }
}

/// A server on this port; none if somebody else has it.
async fn serve(port: u16) -> Option<Server> {
    let program = PROGRAM
        .get_or_init(async || docent::dev::redis_server().await.unwrap_or_else(|e| panic!("{e}")))
        .await;
    let mut child = Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = log.next_line().await.unwrap() {
        if line.contains("Ready to accept connections") {
            return Some(Server { child, _log: log });
        }
        if line.contains("Address already in use") {
            return None;
        }
    }
    panic!("{} ended before it listened", program.display());
}
