//! `reload_probe`: the first worker of a reload asks its own app for a path before it says that it
//! is ready. The request is served like every other one, over a socket pair.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use pyo3::prelude::*;

use rcorn_connection::{
    Channel, ConnectionState, TransferProgress, Transport, Waiting, WireProtocol,
};
use rcorn_link::Failure;
use rcorn_log as log;
use rcorn_sys::net::Peer;

use super::connection::Connection;
use super::event_loop::EventLoop;
use super::slot::RequestSlot;
use super::work::Work;

/// How long the reader waits for the rest of a response that has begun; a call of the app itself is
/// bounded by `boot_timeout`.
const MAX_READ_WAIT: Duration = Duration::from_secs(10);

/// Asks the worker for `path`; no response, or a status of 400 or more, is a failure to boot.
pub(super) fn probe(
    py: Python<'_>,
    event_loop: &mut EventLoop,
    slot: &mut RequestSlot,
    path: &str,
) -> Result<(), Failure> {
    let failed = |what: String| Failure {
        code: 3,
        summary: format!("reload_probe {path} {what}"),
    };
    let status = ask(py, event_loop, slot, path)
        .map_err(|error| failed(format!("could not be asked: {error}")))?;
    log::info(format_args!("Probe {path} was answered with {status}"));
    if (100..400).contains(&status) {
        Ok(())
    } else {
        Err(failed(format!("was answered with {status}")))
    }
}

fn ask(
    py: Python<'_>,
    event_loop: &mut EventLoop,
    slot: &mut RequestSlot,
    path: &str,
) -> io::Result<u16> {
    let (client, server) = socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    let mut client = UnixStream::from(client);
    client.set_read_timeout(Some(MAX_READ_WAIT))?;
    client.write_all(
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: rcorn-probe\r\nConnection: close\r\n\r\n"
        )
        .as_bytes(),
    )?;
    UnixStream::from(server.try_clone()?).set_nonblocking(true)?;
    // In another thread: a long response would fill the socket and wait for its reader.
    let reader = std::thread::spawn(move || status(&mut client));
    slot.handler.refresh_common_headers();
    // The event loop does not run yet, so nothing can be sent later.
    let mut timeouts = event_loop.acceptor.timeouts();
    timeouts.buffer = 0;
    let state = ConnectionState {
        listener: 0,
        protocol: WireProtocol::Http,
        may_be_proxied: false,
        proxied: None,
        served: 0,
        waiting: Waiting::FirstByte,
        progress: TransferProgress::default(),
    };
    let channel = Channel::new(Transport::plain(server), timeouts);
    let connection = Connection::new(channel, Peer::Unix, state);
    let mut work = Work::from(connection);
    let next = work.serve(py, &event_loop.rules, slot);
    work.finish(&event_loop.connections, next);
    reader
        .join()
        .unwrap_or_else(|_panic| Err(io::Error::other("the reader ended")))
}

/// The status of a response that is read to its end.
fn status(client: &mut UnixStream) -> io::Result<u16> {
    let mut head = [0; 12];
    client
        .read_exact(&mut head)
        .map_err(|_early| io::Error::other("the app did not answer"))?;
    io::copy(client, &mut io::sink())?;
    head.strip_prefix(b"HTTP/1.1 ")
        .and_then(|digits| str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| io::Error::other("the response has no status"))
}
