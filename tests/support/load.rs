//! Clients that send requests without pause until they are stopped, and count the outcome of each
//! request, to prove that a reload, a stop or an upgrade loses none.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::deadline::pause;
use super::{Deadline, Place, Wire, wait_until};

/// How clients use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// A new one for each request.
    Each,
    /// As long as the server keeps them.
    Kept,
}

/// Running clients. If this is dropped without [`Load::stop`], they stop, but are not waited for.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    ok: AtomicU64,
    refused: AtomicU64,
    failed: Mutex<Vec<String>>,
}

/// The outcome of the requests.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Answered with 200.
    pub(crate) ok: u64,
    /// Why each of the others failed, although the connection had been accepted.
    pub(crate) failed: Vec<String>,
    /// Refused connections: after a stop they are no failure.
    pub(crate) refused: u64,
}

impl Tally {
    /// Asserts that no request was lost. Refused connections are allowed: the server may have
    /// ended.
    pub(crate) fn assert_nothing_lost(&self) {
        let first: Vec<_> = self.failed.iter().take(10).collect();
        assert!(
            first.is_empty(),
            "{} of {} failed: {first:#?}",
            self.failed.len(),
            self.ok
        );
        assert!(self.ok > 0, "no request was made at all");
    }

    /// Asserts that no request was lost and no connection refused.
    pub(crate) fn assert_clean(&self) {
        self.assert_nothing_lost();
        assert_eq!(self.refused, 0, "connections were refused");
    }
}

impl Load {
    /// Starts `clients` clients that get `target`.
    pub(crate) fn start(
        place: &Place,
        target: &str,
        clients: usize,
        connections: Connections,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let last = match connections {
            Connections::Each => "Connection: close\r\n",
            Connections::Kept => "",
        };
        let request = format!("GET {target} HTTP/1.1\r\nHost: load\r\n{last}\r\n");
        let client = |_| {
            let (shared, place, request) = (Arc::clone(&shared), place.clone(), request.clone());
            thread::spawn(move || shared.run(&place, request.as_bytes(), connections))
        };
        let clients = (0..clients).map(client).collect();
        Self { shared, clients }
    }

    /// How many requests were answered so far.
    pub(crate) fn ok(&self) -> u64 {
        self.shared.ok.load(Ordering::Relaxed)
    }

    /// How many requests failed so far.
    pub(crate) fn failed(&self) -> usize {
        self.shared.failed.lock().unwrap().len()
    }

    /// Waits until `more` further requests were answered.
    pub(crate) fn wait_for(&self, more: u64, deadline: Deadline) {
        let wanted = self.ok() + more;
        wait_until(deadline, "the load is answered", || self.ok() >= wanted);
    }

    /// Waits until a connection is refused: no listener is left.
    pub(crate) fn wait_refused(&self, deadline: Deadline) {
        let refused = || self.shared.refused.load(Ordering::Relaxed) > 0;
        wait_until(deadline, "connections are refused", refused);
    }

    /// Stops the clients after their current requests, and returns the outcome of all.
    pub(crate) fn stop(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client of the load");
        }
        Tally {
            ok: self.ok(),
            failed: std::mem::take(&mut self.shared.failed.lock().unwrap()),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn run(&self, place: &Place, request: &[u8], connections: Connections) {
        let mut kept: Option<Wire> = None;
        while !self.stop.load(Ordering::Relaxed) {
            // The server may close an idle connection; a request that was not sent is not lost.
            let reusable = kept
                .take()
                .filter(|wire| !wire.hears_within(Duration::ZERO));
            let is_used = reusable.is_some();
            let Some(wire) = reusable.or_else(|| self.connect(place)) else {
                // Refused: without a pause the client would spin.
                pause();
                continue;
            };
            match ask(wire, request) {
                Ok(wire) => {
                    self.ok.fetch_add(1, Ordering::Relaxed);
                    kept = wire.filter(|_| connections == Connections::Kept);
                }
                Err(why) => {
                    let on = if is_used { "a used" } else { "a new" };
                    self.failed
                        .lock()
                        .unwrap()
                        .push(format!("on {on} connection: {why}"));
                }
            }
        }
    }

    fn connect(&self, place: &Place) -> Option<Wire> {
        match Wire::try_connect(place) {
            Ok(wire) => return Some(wire),
            // NotFound: the file of a unix socket was removed.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::NotFound
                ) =>
            {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self
                .failed
                .lock()
                .unwrap()
                .push(format!("cannot connect: {error}")),
        }
        None
    }
}

/// Sends one request, and returns the connection if the server keeps it.
fn ask(mut wire: Wire, request: &[u8]) -> Result<Option<Wire>, String> {
    wire.try_send(request)
        .map_err(|error| format!("cannot send: {error}"))?;
    match wire.try_read_reply(false) {
        Ok(reply) if reply.status == 200 => Ok((!reply.closes()).then_some(wire)),
        Ok(reply) => Err(format!(
            "{} {}: {}",
            reply.status,
            reply.reason,
            reply.text()
        )),
        Err(broken) => Err(broken.to_string()),
    }
}
