//! Requests to addresses that tenants wrote down. The operator's own network is not reached by them.
//!
//! A host is looked up once; when any of its addresses is not a public one, nothing is sent. The request
//! goes to the very addresses that were looked at: each has a client of its own, so that neither a second
//! lookup nor a connection that is left over from another request can lead elsewhere. No redirect is
//! followed, and what is read is bounded in size and in time.

use super::client::{ClientError, ClientOptions, client_builder, describe};
use futures_util::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Url};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// The longest that a request may take, the answer's body included.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Ports below this are of services that are no web servers, but for the web's own.
const FIRST_FREE_PORT: u16 = 1024;

/// Why nothing came back. What is said names nothing inside of any network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EgressError {
    #[error("the address is not allowed: {0}")]
    Refused(&'static str),
    #[error("the host has no address")]
    Unknown,
    #[error("the server could not be reached")]
    Failed,
    #[error("the server took too long")]
    TimedOut,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Vec<u8>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub status: u16,
    /// Lower case; empty when the server did not say.
    pub content_type: String,
    /// The first so many bytes.
    pub body: Vec<u8>,
    /// There was more.
    pub cut: bool,
}

/// Host and port to addresses.
type Lookup =
    Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The guard. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    /// `host` or `host:port`, lower case, that may be reached whatever their addresses are.
    allow: Arc<[String]>,
    lookup: Lookup,
}

impl Egress {
    /// `allow` has the hosts, with or without a port, that the operator allows in spite of their addresses.
    #[must_use]
    pub fn new(allow: &[String]) -> Self {
        let lookup: Lookup = Arc::new(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        });
        Self { allow: allow.iter().map(|host| host.to_lowercase()).collect(), lookup }
    }

    /// Sends it, and reads at most `most` bytes of the answer. Any status is an answer.
    ///
    /// # Errors
    /// When the address is not allowed, or nothing came back.
    pub async fn send(&self, request: Outgoing, most: usize) -> Result<Incoming, EgressError> {
        let sent = tokio::time::timeout(TIMEOUT, self.try_send(request, most)).await;
        sent.unwrap_or(Err(EgressError::TimedOut))
    }

    async fn try_send(&self, request: Outgoing, most: usize) -> Result<Incoming, EgressError> {
        let (host, addresses) = self.resolve(&request.url).await?;
        let client = pinned(&host, &addresses).map_err(|error| {
            tracing::error!(%error, "A client could not be built");
            EgressError::Failed
        })?;
        let Outgoing { method, url, headers, body } = request;
        let mut sending = client.request(method, url).headers(headers);
        if let Some(body) = body {
            sending = sending.body(body);
        }
        let failed = |error| {
            tracing::info!(error = describe(error), "A tenant's server could not be reached");
            EgressError::Failed
        };
        let mut response = sending.send().await.map_err(failed)?;
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_lowercase();
        let status = response.status().as_u16();
        let (mut body, mut cut) = (Vec::new(), false);
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            let room = most.saturating_sub(body.len());
            body.extend(piece.iter().take(room));
            if piece.len() > room {
                cut = true;
                break;
            }
        }
        Ok(Incoming { status, content_type, body, cut })
    }

    /// The addresses of a URL's host, every one of which may be reached.
    async fn resolve(&self, url: &Url) -> Result<(String, Vec<SocketAddr>), EgressError> {
        let (host, port) = place(url)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let allowed = self.allow.iter().any(|it| *it == host || *it == format!("{host}:{port}"));
        if !allowed && port < FIRST_FREE_PORT && ![80, 443].contains(&port) {
            return Err(EgressError::Refused("its port is not one of the web's"));
        }
        let addresses = match bare.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_name) => {
                let found = (self.lookup)(host.clone(), port).await;
                found.map_err(|_unknown| EgressError::Unknown)?
            }
        };
        if addresses.is_empty() {
            return Err(EgressError::Unknown);
        }
        if !allowed && !addresses.iter().all(|address| is_public(address.ip())) {
            return Err(EgressError::Refused("it is not on the public internet"));
        }
        Ok((host, addresses))
    }
}

/// Host and port of a URL that may be asked at all.
///
/// # Errors
/// When it is not one of the web, or carries more than an address.
pub fn place(url: &Url) -> Result<(String, u16), EgressError> {
    if !["http", "https"].contains(&url.scheme()) {
        return Err(EgressError::Refused("it does not begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressError::Refused("it holds a user name or a password"));
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or(EgressError::Refused("it has no host"))?.to_lowercase();
    if host.ends_with('.') {
        return Err(EgressError::Refused("its host ends with a dot"));
    }
    let port = url.port_or_known_default().ok_or(EgressError::Refused("it has no port"))?;
    Ok((host, port))
}

fn pinned(host: &str, addresses: &[SocketAddr]) -> Result<reqwest::Client, ClientError> {
    let builder = client_builder(&ClientOptions::default())?.resolve_to_addrs(host, addresses);
    builder.build().map_err(|error| ClientError::Build(describe(error)))
}

/// True for an address that anybody on the internet can reach, and that is nobody's in particular.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 127 | 224.., ..]              // this host, itself, multicast, reserved, broadcast
        | [10, ..]
        | [100, 64..=127, ..]              // carriers' NAT, and a cloud's metadata
        | [169, 254, ..]                   // link-local, and most clouds' metadata
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [192, 0, 0 | 2, _]               // protocols, documentation
        | [192, 88, 99, _]                 // relays to IPv6
        | [198, 18 | 19, ..]               // benchmarks
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [168, 63, 129, 16] => true,      // a cloud's metadata, though it looks public
        _ => false,
    };
    !special
}

/// Only what is handed out as global unicast, less the parts of it that stand for something else. IPv4
/// addresses in IPv6's clothes (mapped, NAT64) are not in there.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let global = first & 0xe000 == 0x2000;
    let special = match first {
        0x2001 => second < 0x200 || second == 0xdb8, // protocols, Teredo, documentation
        0x2002 => true,                              // 6to4: an IPv4 address is inside
        0x3fff => second < 0x1000,                   // documentation
        _ => false,
    };
    global && !special
}

#[cfg(test)]
mod tests;
