//! A load balancer in front of several servers: each new connection goes to the next one.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on in turn, on a port of its own. A server that refuses one is passed over.
pub struct Balancer {
    pub base: String,
    servers: watch::Sender<Vec<String>>,
    cut: watch::Sender<()>,
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Balancer {
    /// In front of the servers at these addresses.
    pub async fn before(bases: &[&str]) -> Self {
        let (servers, cut) = (watch::channel(addresses(bases)).0, watch::channel(()).0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (to, cuts) = (servers.subscribe(), cut.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let servers = to.borrow().clone();
                tokio::spawn(pass(client, servers, cuts.clone()));
            }
        });
        Self { base, servers, cut }
    }

    /// Takes these servers from now on; open connections stay.
    pub fn set(&self, bases: &[&str]) {
        self.servers.send_replace(addresses(bases));
    }

    /// Ends every connection; new ones are taken.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }
}

/// Until either side ends it, or all are cut.
async fn pass(mut client: TcpStream, servers: Vec<String>, mut cut: watch::Receiver<()>) {
    cut.mark_unchanged();
    let first = NEXT.fetch_add(1, Ordering::Relaxed);
    for n in 0..servers.len() {
        let address = &servers[(first + n) % servers.len()];
        let Ok(mut server) = TcpStream::connect(address).await else { continue };
        tokio::select! {
            _ended = copy_bidirectional(&mut client, &mut server) => {}
            _cut = cut.changed() => {}
        }
        return;
    }
}

fn addresses(bases: &[&str]) -> Vec<String> {
    bases.iter().map(|base| base.trim_start_matches("http://").to_owned()).collect()
}
