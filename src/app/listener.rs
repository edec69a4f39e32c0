//! The listening socket, and what every accepted one inherits from it.

use std::net::TcpListener;
use std::time::Duration;

/// What the kernel keeps for a reader that stopped reading; Linux doubles it for its own records.
/// Left alone it grows to 4 MiB a connection.
#[cfg(target_os = "linux")]
const SEND_BUFFER: usize = 128 * 1024;
/// Connections that wait to be taken. Full: clients try again after a second. All clients of a node
/// that died come to the others in one moment; the standard library would let 128 of them wait.
const BACKLOG: i32 = 4096;
/// Files that are not connections: the database, uploads, logs, the listener.
const OTHER_FILES: u64 = 256;

/// Listens. A connection whose peer takes no bytes for `untaken` breaks, whether the peer is gone or
/// only does not read: nobody else would notice, because a response that cannot be written is not
/// asked for more.
pub(super) fn listen(address: &str, untaken: Duration) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt;
        let ms = u32::try_from(untaken.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&listener, ms)?;
        sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _only_linux_knows = untaken;
    Ok(listener)
}

/// The most connections of one worker: more wait to be accepted, before files run out.
pub(super) fn most_connections(workers: usize) -> usize {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let files = limits.current.map_or(usize::MAX, |files| {
        usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX)
    });
    (files / workers.max(1)).max(1)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::net::sockopt;
    use std::net::TcpStream;

    #[test]
    fn an_accepted_socket_has_the_limits() {
        let listener = listen("127.0.0.1:0", Duration::from_secs(45)).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(sockopt::tcp_user_timeout(&accepted).unwrap(), 45_000);
        assert_eq!(sockopt::socket_send_buffer_size(&accepted).unwrap(), 2 * SEND_BUFFER);
    }
}
