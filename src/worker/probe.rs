//! `reload_probe`: the first worker of a reload asks its own app for a path before it says that it is ready. The
//! request takes the way of every other one, over a socket pair.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use pyo3::prelude::*;

use rcorn_connection::Pace;
use rcorn_link::Failure;
use rcorn_log as log;
use rcorn_settings::Protocol;
use rcorn_sys::net::Peer;

use super::connection::Waiting;
use super::desk::Desk;
use super::lot::{Handed, Passport};

/// The reader's patience with a reply that has begun; a call of the app itself is bounded by `boot_timeout`.
const READING: Duration = Duration::from_secs(10);

impl Desk<'_> {
    /// Asks for `path`; anything but a status below 400 is a failure to boot.
    pub(super) fn probe(&mut self, py: Python<'_>, path: &str) -> Result<(), Failure> {
        let failed = |what: String| Failure {
            code: 3,
            summary: format!("reload_probe {path} {what}"),
        };
        let status = self
            .ask_itself(py, path)
            .map_err(|error| failed(format!("could not be asked: {error}")))?;
        log::info(format_args!("Probe {path} was answered with {status}"));
        if (100..400).contains(&status) {
            Ok(())
        } else {
            Err(failed(format!("was answered with {status}")))
        }
    }

    fn ask_itself(&mut self, py: Python<'_>, path: &str) -> io::Result<u16> {
        let (client, server) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        let mut client = UnixStream::from(client);
        client.set_read_timeout(Some(READING))?;
        client.write_all(
            format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: rcorn-probe\r\nConnection: close\r\n\r\n"
            )
            .as_bytes(),
        )?;
        UnixStream::from(server.try_clone()?).set_nonblocking(true)?;
        // Beside us: a long reply would fill the socket and wait for its reader.
        let reader = std::thread::spawn(move || status(&mut client));
        self.refresh_standing();
        // The loop does not turn yet: nothing can leave later.
        let buffer = std::mem::take(&mut self.patience.buffer);
        self.welcome(
            py,
            Handed {
                socket: server,
                peer: Peer::Unix,
                passport: Passport {
                    listener: 0,
                    protocol: Protocol::Http,
                    may_be_proxied: false,
                    passage: None,
                    served: 0,
                    waiting: Waiting::FirstByte,
                    pace: Pace::default(),
                },
                buffer: Vec::new(),
            },
        );
        self.patience.buffer = buffer;
        reader
            .join()
            .unwrap_or_else(|_panic| Err(io::Error::other("the reader ended")))
    }
}

/// The status of a reply that is read to its end.
fn status(client: &mut UnixStream) -> io::Result<u16> {
    let mut head = [0; 12];
    client
        .read_exact(&mut head)
        .map_err(|_early| io::Error::other("the app did not answer"))?;
    io::copy(client, &mut io::sink())?;
    let digits = head.strip_prefix(b"HTTP/1.1 ").unwrap_or(&[]);
    str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| io::Error::other("the reply has no status"))
}
