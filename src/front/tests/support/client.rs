//! Clients that speak HTTP/1.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::DEADLINE;
use super::keys::Pair;
use super::worker::field;

/// A connection without TLS.
pub(crate) fn plain(address: SocketAddr) -> Client<TcpStream> {
    Client(BufReader::new(socket(address)))
}

pub(crate) fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_write_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// What trusts these authorities, and presents a certificate if there is one.
pub(crate) fn trusting(roots: RootCertStore, own: Option<&Pair>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(pair) => builder
            .with_client_auth_cert(vec![pair.der.clone()], pair.key_der.clone_key())
            .unwrap(),
    }
}

/// A TLS session, after its handshake.
pub(crate) type Session = StreamOwned<ClientConnection, TcpStream>;

/// Connects with TLS, and completes the handshake.
pub(crate) fn secure(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<Session> {
    secure_over(socket(address), name, config)
}

/// The same over a connection that is there.
pub(crate) fn secure_over(
    socket: TcpStream,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<Session> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut session = StreamOwned::new(connection, socket);
    while session.conn.is_handshaking() {
        session.conn.complete_io(&mut session.sock)?;
    }
    Ok(session)
}

/// A client of HTTP/1.
pub(crate) struct Client<S>(pub(crate) BufReader<S>);

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = self.0.get_mut();
        stream.write_all(bytes.as_ref()).unwrap();
        stream.flush().unwrap();
    }

    /// Reads a response head.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut head).unwrap();
            assert!(
                read > 0,
                "the front has closed the connection after {head:?}"
            );
        }
        head
    }

    /// Reads a response with its body.
    pub(crate) fn reply(&mut self) -> Reply {
        let head = self.head();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = Vec::new();
        if let Some(length) = field(&head, "content-length") {
            body = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut body).unwrap();
        } else if field(&head, "transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk() {
                body.extend_from_slice(&chunk);
            }
        } else if !matches!(status, 100..200 | 204 | 304) {
            self.0.read_to_end(&mut body).unwrap();
        }
        Reply { status, head, body }
    }

    /// Reads a chunk; `None` for the last.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk).unwrap();
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// Sends a request without a body.
    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n"
        ));
        self.reply()
    }

    /// Whether the connection has ended, and nothing came before.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
            ),
        }
    }
}
