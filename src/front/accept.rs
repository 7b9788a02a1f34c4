//! From a listening socket to a connection that is served: accept, TLS handshake, protocol.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use rcorn_front_link::{Facts, HttpVersion, ListenerKind, Scheme, Verify};
use rcorn_types::Level;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::counters::Counter;
use crate::local::Local;
use crate::running::Running;
use crate::stream::{Client, Connected, Socket, Stream};
use crate::timer::{Timer, due_in, limit};
use crate::{http1, http1_io, http2, page, redirect};

/// The first bytes of a client of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// For how long nothing is accepted when there is no descriptor or memory for a connection: others
/// must end first.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A listening socket in the event loop of one thread.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// # Errors
    ///
    /// It is not a listening socket of a kind that is served.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        use std::os::fd::AsRawFd;
        let address = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
        if address.family() == Some(AddressFamily::Unix) {
            let listener = std::os::unix::net::UnixListener::from(socket);
            listener.set_nonblocking(true)?;
            return UnixListener::from_std(listener).map(Self::Unix);
        }
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self::Tcp)
    }

    /// Waits for a connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Socket::new(Connected::Tcp(stream)), Some(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _peer) = listener.accept().await?;
                Ok((Socket::new(Connected::Unix(stream)), None))
            }
        }
    }
}

/// Waits a while if an error of accept(2) is about what this process may have.
pub(crate) async fn after_error(local: &Local, address: &str, error: &io::Error) {
    let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    if error
        .raw_os_error()
        .is_some_and(|errno| exhausted.contains(&errno))
    {
        local.record(
            Level::Error,
            format!("Cannot accept on {address}: {error}; hint: raise LimitNOFILE"),
        );
        tokio::time::sleep(EXHAUSTED).await;
    }
}

/// Serves a connection until its end.
pub(crate) async fn serve(
    local: Rc<Local>,
    running: Arc<Running>,
    (socket, peer): (Socket, Option<SocketAddr>),
    kind: ListenerKind,
    challenges: Option<Arc<OwnedFd>>,
) {
    local.count(Counter::Connections);
    let facts = Facts {
        client: peer,
        server: socket.local_address(),
        takes_memory: true,
        ..Facts::default()
    };
    match kind {
        ListenerKind::Https => secure(local, running, socket, facts).await,
        ListenerKind::Http => {
            let client = Client::new(Stream::Plain(socket));
            plain(local, running, client, facts).await;
        }
        ListenerKind::Redirect => {
            let client = Client::new(Stream::Plain(socket));
            redirect::serve(&local, &running, client, challenges.as_ref()).await;
        }
    }
}

async fn secure(local: Rc<Local>, running: Arc<Running>, socket: Socket, mut facts: Facts) {
    let Some(tls) = &running.tls else {
        return;
    };
    let due = due_in(limit(running.limits().handshake_ms));
    let mut timer = Timer::new();
    if let Some(Ok(Some(first))) = timer.until(due, socket.first_byte()).await
        && first.is_ascii_alphabetic()
    {
        fail(&local, &facts, "the client speaks HTTP without TLS");
        return misdirected(&running, socket).await;
    }
    let accept = TlsAcceptor::from(Arc::clone(&tls.config)).accept(socket);
    let reason = match timer.until(due, accept).await {
        Some(Ok(stream)) => {
            local.count(Counter::Handshakes);
            let (_socket, session) = stream.get_ref();
            if session.handshake_kind() == Some(HandshakeKind::Resumed) {
                local.count(Counter::Resumptions);
            }
            tell(&mut facts, session);
            let client = Client::new(Stream::secured(stream));
            return match facts.http {
                HttpVersion::Http2 => http2::serve(local, running, client, &facts).await,
                HttpVersion::Http1 => http1::serve(local, running, client, &facts).await,
            };
        }
        Some(Err(error)) => error.to_string(),
        None => "it took too long".to_owned(),
    };
    fail(&local, &facts, &reason);
}

/// Notes a handshake that has failed.
fn fail(local: &Local, facts: &Facts, reason: &str) {
    local.count(Counter::FailedHandshakes);
    let client = facts.client.map(|client| client.ip().to_string());
    let client = client.unwrap_or_default();
    local.record(
        Level::Debug,
        format!("TLS handshake with ip={client} failed: {reason}"),
    );
}

/// Answers a client that speaks HTTP where TLS is spoken: no record of TLS begins with a letter,
/// and all methods do.
async fn misdirected(running: &Running, socket: Socket) {
    const TEXT: &str = "The plain HTTP request was sent to an HTTPS port: use https://.";
    let mut bytes = Vec::new();
    let server = running.configuration.server.as_deref();
    page::write(&mut bytes, 400, TEXT, server, false);
    let mut client = Client::new(Stream::Plain(socket));
    let limit = limit(running.limits().write_ms);
    if http1_io::write(&mut client, &mut Timer::new(), limit, &bytes).await {
        http1_io::close(client, true).await;
    }
}

/// What the handshake has shown.
fn tell(facts: &mut Facts, session: &ServerConnection) {
    facts.scheme = Scheme::Https;
    if session.alpn_protocol() == Some(b"h2") {
        facts.http = HttpVersion::Http2;
    }
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
        Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
        _ => None,
    };
    facts.tls = version.map(str::to_owned);
    let suite = session.negotiated_cipher_suite();
    // The registry has no version in the names of TLS 1.3's.
    facts.cipher = suite.map(|suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"));
    facts.sni = session.server_name().map(str::to_owned);
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    facts.verify = Some(match certificate {
        Some(_valid) => Verify::Success,
        None => Verify::None,
    });
    facts.certificate = certificate.map(|certificate| certificate.to_vec());
}

/// Finds out which HTTP a client without TLS speaks.
async fn plain(local: Rc<Local>, running: Arc<Running>, mut client: Client, mut facts: Facts) {
    let due = due_in(limit(running.limits().idle_ms));
    let mut timer = Timer::new();
    loop {
        let data = client.input.data();
        if data.len() >= PREFACE.len() || !PREFACE.starts_with(data) {
            break;
        }
        let filled = std::future::poll_fn(|cx| client.poll_fill(cx));
        match timer.until(due, filled).await {
            Some(Ok(1..)) => {}
            Some(Ok(_) | Err(_)) | None => return,
        }
    }
    if running.configuration.http2.enabled && client.input.data().starts_with(PREFACE) {
        facts.http = HttpVersion::Http2;
        return http2::serve(local, running, client, &facts).await;
    }
    http1::serve(local, running, client, &facts).await;
}
