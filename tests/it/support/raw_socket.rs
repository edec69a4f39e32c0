//! A WebSocket client that sends any bytes and reads frames as they are.

use super::{User, within};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A frame of the server, whole and not fragmented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawFrame {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason; no code when the frame is empty.
    Close(Option<u16>, String),
    /// The connection ended without a close frame.
    Gone,
}

/// The bytes of a frame: the first byte (FIN, reserved bits, opcode), masked content.
pub fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = head(first, content.len() as u64);
    bytes.extend(MASK);
    bytes.extend(content.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The head of a masked frame, without the mask.
pub fn head(first: u8, length: u64) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => vec![first, 0x80 | short],
        (_, Ok(length)) => [&[first, 0x80 | 126], &length.to_be_bytes()[..]].concat(),
        _ => [&[first, 0x80 | 127], &length.to_be_bytes()[..]].concat(),
    }
}

/// An upgraded connection.
pub struct RawSocket {
    stream: TcpStream,
    pub bytes_read: usize,
}

impl RawSocket {
    /// Sends an upgrade request with these header lines besides `Host`; returns the status, the head
    /// of the response and the connection.
    pub async fn request(base: &str, headers: &str, window: Option<u32>) -> (u16, String, Self) {
        let address = base.trim_start_matches("http://");
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(window) = window {
            socket.set_recv_buffer_size(window).unwrap();
        }
        let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let request = format!("GET /ws/chat HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a response"));
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, Self { stream, bytes_read: 0 })
    }

    /// The header lines of a good upgrade request.
    pub fn upgrade() -> String {
        let key = STANDARD.encode([7; 16]);
        format!(
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: {key}\r\n"
        )
    }

    /// Opens one as a user; it has said `ready`.
    pub async fn open(user: &User) -> Self {
        Self::with_window(user, None).await
    }

    /// Opens one whose kernel takes little more than `window` bytes ahead.
    pub async fn with_window(user: &User, window: Option<u32>) -> Self {
        let offer = user.offer().await;
        let headers = format!("{}sec-websocket-protocol: {offer}\r\n", Self::upgrade());
        let (status, head, mut socket) = Self::request(&user.base, &headers, window).await;
        assert_eq!(status, 101, "{head}");
        let ready = socket.next().await;
        assert!(matches!(&ready, RawFrame::Text(text) if text.contains("ready")), "{ready:?}");
        socket
    }

    /// Sends bytes. The server may have closed already: what it said is read all the same.
    pub async fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes).await {
            let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(closed.contains(&error.kind()), "{error}");
        }
    }

    /// The next frame.
    pub async fn next(&mut self) -> RawFrame {
        match within("a frame", self.read()).await {
            Ok(frame) => frame,
            Err(error) => {
                let closed = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
                assert!(closed.contains(&error.kind()), "{error}");
                RawFrame::Gone
            }
        }
    }

    async fn read(&mut self) -> std::io::Result<RawFrame> {
        let first = self.stream.read_u8().await?;
        let second = self.stream.read_u8().await?;
        assert_eq!(second & 0x80, 0, "a server does not mask");
        assert_eq!(first & 0xf0, 0x80, "it sends whole frames without reserved bits");
        let length = match second {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => short.into(),
        };
        let mut content = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut content).await?;
        self.bytes_read += content.len();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Ok(match first & 0x0f {
            1 => RawFrame::Text(text(&content)),
            8 if content.is_empty() => RawFrame::Close(None, String::new()),
            8 => {
                assert!((2..=125).contains(&content.len()), "a close frame is a control frame");
                let code = u16::from_be_bytes([content[0], content[1]]);
                RawFrame::Close(Some(code), text(&content[2..]))
            }
            9 => RawFrame::Ping(content),
            10 => RawFrame::Pong(content),
            other => panic!("opcode {other}"),
        })
    }
}
