//! The HTTP client that every outgoing call shares.
//!
//! Invariants: it follows no redirect (a redirect would carry a provider key elsewhere), reads no
//! proxy from the environment, and trusts Mozilla's roots compiled into the program, so that it
//! works in an image without `ca-certificates`. It speaks HTTP/1.1 only: one connection per answer
//! means that dropping an answer closes its connection at once, and no provider's limit on
//! concurrent HTTP/2 streams queues the hundred-and-first chat behind the others.
//! Deliberately absent: a total timeout. A stream may last minutes; each call sets its own deadlines.

use std::{
    collections::HashMap,
    error::Error as _,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use tokio::runtime::{Handle, Id};

/// Longest time for DNS, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection unused for this long is closed; providers close theirs after about a minute.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Idle connections kept per host // full: the oldest is closed, nobody waits.
const POOL_MAX_IDLE_PER_HOST: usize = 64;
/// Probes that notice a peer that vanished without a word.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// What differs between two clients of one program.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// PEM certificates trusted besides Mozilla's roots: a company's own authority in front of a
    /// model server, for instance. Empty means none.
    pub extra_roots_pem: Vec<u8>,
}

/// Why a client could not be built. Neither can happen while serving: clients are built at start.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The extra roots are not PEM certificates.
    #[error("the extra root certificates cannot be read: {0}")]
    Roots(String),
    /// TLS or the client refused its settings.
    #[error("the HTTP client cannot be built: {0}")]
    Build(String),
}

/// A client with the settings described in the module; cheap to clone, meant to be built once.
///
/// # Errors
/// When the extra roots are not certificates, or TLS cannot be set up.
pub fn client(options: &ClientOptions) -> Result<reqwest::Client, ClientError> {
    client_builder(options)?.build().map_err(|error| ClientError::Build(describe(error)))
}

/// The same settings for a caller with something to add, such as a resolver that guards egress.
///
/// # Errors
/// When the extra roots are not certificates, or TLS cannot be set up.
pub fn client_builder(options: &ClientOptions) -> Result<reqwest::ClientBuilder, ClientError> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls(options)?)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_MAX_IDLE_PER_HOST)
        .tcp_keepalive(TCP_KEEPALIVE)
        .tcp_nodelay(true)
        .user_agent(concat!("docent/", env!("CARGO_PKG_VERSION"))))
}

/// A client for each runtime, built when it is first used there. A connection is driven by the runtime that
/// opened it: when its bytes are wanted on another one, each piece of an answer wakes two threads instead of one.
#[derive(Clone, Debug)]
pub struct Clients {
    options: ClientOptions,
    first: reqwest::Client,
    of: Arc<Mutex<HashMap<Id, reqwest::Client>>>,
}

impl Clients {
    /// Clients with these settings.
    ///
    /// # Errors
    /// As [`client`].
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let first = client(&options)?;
        Ok(Self { options, first, of: Arc::default() })
    }

    /// The client of the runtime that this is called on.
    #[must_use]
    pub fn here(&self) -> reqwest::Client {
        let runtime = Handle::current().id();
        let mut clients = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        // What could be built once can be built again; if not, a client that wakes two threads works as well.
        let built = || client(&self.options).unwrap_or_else(|_| self.first.clone());
        clients.entry(runtime).or_insert_with(built).clone()
    }
}

/// The provider is named here and not installed for the process: whichever other crate installs
/// one, or forgets to, this client is unaffected.
fn tls(options: &ClientOptions) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in CertificateDer::pem_slice_iter(&options.extra_roots_pem) {
        let certificate = certificate.map_err(|error| ClientError::Roots(error.to_string()))?;
        roots.add(certificate).map_err(|error| ClientError::Roots(error.to_string()))?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Build(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// An HTTP error in one line for a log: with its causes, which reqwest hides, and without the
/// URL, which may hold a key.
#[must_use]
pub fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a String cannot fail.
        let _ = write!(line, ": {inner}");
        cause = inner.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::script::{Reply, Script};

    #[test]
    fn builds_without_a_process_wide_provider() {
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
        client(&ClientOptions::default()).unwrap();
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    #[test]
    fn broken_roots_are_an_error() {
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
        let error = client(&ClientOptions { extra_roots_pem: pem }).unwrap_err();
        assert!(matches!(error, ClientError::Roots(_)), "{error}");
    }

    #[tokio::test]
    async fn follows_no_redirect() {
        let server = Script::start(vec![Reply::raw(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: /else\r\ncontent-length: 0\r\n\r\n",
        )])
        .await;
        let client = client(&ClientOptions::default()).unwrap();
        let response = client.get(server.url("/x")).send().await.unwrap();
        assert_eq!(response.status(), 307);
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_described_error_has_causes_and_no_url() {
        let client = client(&ClientOptions::default()).unwrap();
        let error = client.get("http://127.0.0.1:1/secret-path").send().await.unwrap_err();
        let line = describe(error);
        assert!(!line.contains("secret-path") && line.contains("refused"), "{line}");
    }
}
