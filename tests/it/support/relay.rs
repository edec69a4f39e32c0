//! A network between a client and a server that can be cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on, on a port of its own.
pub struct Relay {
    pub base: String,
    cuts: watch::Sender<usize>,
}

impl Relay {
    /// In front of the server at `base`.
    pub async fn to(base: &str) -> Self {
        let server = base.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let cuts = watch::channel(0).0;
        let cut = cuts.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, mut cut) = (server.clone(), cut.clone());
                cut.mark_unchanged();
                tokio::spawn(pass(client, server, cut));
            }
        });
        Self { base, cuts }
    }

    /// Ends every connection; new ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }
}

/// Until either side ends it, or the cut does.
async fn pass(mut client: TcpStream, server: String, mut cut: watch::Receiver<usize>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ended = copy_bidirectional(&mut client, &mut server) => {}
        _cut = cut.changed() => {}
    }
}
