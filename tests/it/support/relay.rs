//! A network between a client and a server, which can be cut, and which outlives the server.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on, on a port of its own.
pub struct Relay {
    pub base: String,
    server: watch::Sender<String>,
}

impl Relay {
    /// In front of the server at `base`.
    pub async fn to(base: &str) -> Self {
        let server = watch::channel(address(base)).0;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let leads = server.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, leads.clone()));
            }
        });
        Self { base, server }
    }

    /// Ends every connection; new ones are taken.
    pub fn cut(&self) {
        self.server.send_modify(|_| ());
    }

    /// Ends every connection; new ones go to the server at `base`.
    pub fn lead_to(&self, base: &str) {
        self.server.send_replace(address(base));
    }
}

/// Until either side ends it, or the network leads elsewhere.
async fn pass(mut client: TcpStream, mut leads: watch::Receiver<String>) {
    let server = leads.borrow_and_update().clone();
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ended = copy_bidirectional(&mut client, &mut server) => {}
        _cut = leads.changed() => {}
    }
}

fn address(base: &str) -> String {
    base.trim_start_matches("http://").to_owned()
}
