//! A scripted HTTP server on a real socket, for tests of clients.
//!
//! Each connection gets the next [`Reply`]: steps of bytes, silence or a reset. Requests are kept
//! for inspection, and a connection that the client closed is reported.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// What happens on one connection after its request was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Bytes(Vec<u8>),
    Pause(Duration),
    /// Wait until the client closes.
    Hang,
    /// Close so that the client sees a reset.
    Reset,
}

impl Reply {
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self { steps: vec![Step::Bytes(bytes.as_ref().to_vec())] }
    }

    pub(crate) fn json(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::raw(format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    /// Headers of an event stream that ends with the connection.
    pub(crate) fn sse() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    }

    pub(crate) fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Bytes(bytes.as_ref().to_vec()));
        self
    }

    /// Silence, for tests of deadlines only.
    pub(crate) fn pause(mut self, length: Duration) -> Self {
        self.steps.push(Step::Pause(length));
        self
    }

    pub(crate) fn hang(mut self) -> Self {
        self.steps.push(Step::Hang);
        self
    }

    pub(crate) fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }
}

/// The running server; dropping it closes every connection.
pub(crate) struct Script {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    closed: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Script {
    /// One reply per connection, in order; further connections are dropped at once.
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (closed, watch) = watch::channel(0);
        let seen = Arc::clone(&requests);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let closed = Arc::new(closed);
            for reply in replies {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket, reply, Arc::clone(&seen), Arc::clone(&closed)));
            }
            drop(listener);
            while connections.join_next().await.is_some() {}
        });
        Self { address, requests, closed: watch, _tasks: tasks }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Head and body of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The JSON body of request number `n`.
    pub(crate) fn body(&self, n: usize) -> serde_json::Value {
        let requests = self.requests();
        serde_json::from_str(requests[n].split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Resolves when `count` hanging connections were closed by the client.
    pub(crate) async fn closed(&mut self, count: usize) {
        self.closed.wait_for(|closed| *closed >= count).await.unwrap();
    }
}

async fn serve(
    mut socket: TcpStream,
    reply: Reply,
    requests: Arc<Mutex<Vec<String>>>,
    closed: Arc<watch::Sender<usize>>,
) {
    socket.set_nodelay(true).unwrap();
    let request = read_request(&mut socket).await;
    requests.lock().unwrap().push(request);
    for step in reply.steps {
        match step {
            Step::Bytes(bytes) => {
                if socket.write_all(&bytes).await.is_err() {
                    break;
                }
                // Separate segments: what the client reads in one go is up to the kernel else.
                tokio::task::yield_now().await;
            }
            Step::Pause(length) => sleep(length).await,
            Step::Hang => {
                let mut rest = [0; 64];
                while matches!(socket.read(&mut rest).await, Ok(1..)) {}
                closed.send_modify(|closed| *closed += 1);
            }
            Step::Reset => {
                socket.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let read = socket.read(&mut buffer).await.unwrap_or(0);
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if read == 0 {
                return text;
            }
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if read == 0 || body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}
