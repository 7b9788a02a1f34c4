//! Messages to a service manager (`sd_notify(3)`): datagrams to the socket that `NOTIFY_SOCKET`
//! names, if any.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::socket::MsgFlags;

use rcorn_log as log;
use rcorn_sys::passing::send_with;
use rcorn_types::Monotonic;

use super::listener::Listener;
use super::systemd::STORED_NAME;

/// Added to every time limit that the manager gets.
const LIMIT_MARGIN: Duration = Duration::from_secs(10);
/// The limit that the manager gets if there is none.
const NO_LIMIT: Duration = Duration::from_hours(24);

/// The longest status that the manager gets.
const MAX_STATUS_BYTES: usize = 1024;

/// The service manager, and what was sent to it.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it expects a sign of life.
    watchdog_interval: Option<Duration>,
    next_sign: Monotonic,
    /// It keeps descriptors for us over a restart.
    stores_descriptors: bool,
    /// It was told that we serve.
    is_announced: bool,
    /// It was told of a reload that is in progress.
    is_reloading: bool,
}

impl ServiceManager {
    /// `NOTIFY_SOCKET` (a path, or an abstract name after `@`), `WATCHDOG_USEC` with
    /// `WATCHDOG_PID`, `FDSTORE`.
    pub(super) fn new(environment: &dyn Fn(&str) -> Option<String>, is_announced: bool) -> Self {
        let socket = environment("NOTIFY_SOCKET").and_then(|address| {
            let failed = |error| {
                log::warning(format_args!(
                    "cannot reach NOTIFY_SOCKET {address}: {error}"
                ));
            };
            connect(&address).map_err(failed).ok()
        });
        let number = |name: &str| environment(name).and_then(|text| text.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|limit| is_ours && *limit > 0);
        Self {
            // Twice within the limit, as sd_watchdog_enabled(3) advises.
            watchdog_interval: watchdog
                .filter(|_| socket.is_some())
                .map(|limit| Duration::from_micros(limit.div_euclid(2))),
            socket,
            next_sign: Monotonic::ZERO,
            stores_descriptors: number("FDSTORE").is_some_and(|most| most > 0),
            is_announced,
            is_reloading: false,
        }
    }

    /// Sends one or more assignments, each on its own line.
    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = send(socket, state, None)
        {
            log::debug(format_args!(
                "cannot tell the service manager {state:?}: {error}"
            ));
        }
    }

    /// Tells it how long starting, reloading or stopping may take; `None`: there is no limit.
    pub(super) fn ask_for_time(&self, limit: Option<Duration>) {
        let limit = limit.unwrap_or(NO_LIMIT).saturating_add(LIMIT_MARGIN);
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}", limit.as_micros()));
    }

    /// Whether it knows that we serve.
    pub(super) fn is_announced(&self) -> bool {
        self.is_announced
    }

    /// Whether it knows of a reload in progress.
    pub(super) fn is_reloading(&self) -> bool {
        self.is_reloading
    }

    /// Tells it that the first worker serves. `is_new_main`: this process takes over from the one
    /// that the manager knows.
    pub(super) fn serving(&mut self, is_new_main: bool) {
        self.is_announced = true;
        let main = if is_new_main {
            format!("MAINPID={}\n", std::process::id())
        } else {
            String::new()
        };
        self.tell(&format!("{main}READY=1\nSTATUS=Serving"));
    }

    /// Tells it that a reload begins (`Type=notify-reload` needs the time), and how long it may
    /// take.
    pub(super) fn reloading(&mut self, now: Monotonic, limit: Option<Duration>) {
        self.is_reloading = true;
        let now = Duration::from_nanos(now.as_nanos()).as_micros();
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=Reloading"
        ));
        self.ask_for_time(limit);
    }

    /// Tells it how the reload has ended.
    pub(super) fn reloaded(&mut self, outcome: &str) {
        self.is_reloading = false;
        self.tell(&format!("READY=1\nSTATUS={}", status(outcome)));
    }

    /// Tells it that this process is the service again, because the new arbiter beside it is gone.
    pub(super) fn main_again(&self) {
        let ours = std::process::id();
        self.tell(&format!("MAINPID={ours}\nSTATUS=Serving"));
    }

    /// Tells it that the service stops, within this time.
    pub(super) fn stopping(&self, limit: Duration) {
        self.tell("STOPPING=1\nSTATUS=Stopping");
        self.ask_for_time(Some(limit));
    }

    /// Puts the sockets into the manager's store: connections wait there while rcorn is restarted.
    pub(super) fn store(&self, listeners: &mut [Listener]) {
        let Some(socket) = self.socket.as_ref().filter(|_| self.stores_descriptors) else {
            return;
        };
        let of_bind = |listener: &&mut Listener| listener.address.is_some();
        for listener in listeners.iter_mut().filter(of_bind) {
            let state = format!("FDSTORE=1\nFDNAME={STORED_NAME}");
            match send(socket, &state, Some(listener.as_fd())) {
                Ok(()) => listener.set_stored(),
                Err(error) => log::debug(format_args!(
                    "cannot store the socket {}: {error}",
                    listener.name()
                )),
            }
        }
    }

    /// When the next sign of life is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.watchdog_interval.map(|_interval| self.next_sign)
    }

    /// Gives a sign of life, if one is due. Called by the main loop alone: a loop that hangs gives
    /// none.
    pub(super) fn show_life(&mut self, now: Monotonic) {
        if let Some(interval) = self.watchdog_interval
            && self.next_sign <= now
        {
            self.tell("WATCHDOG=1");
            self.next_sign = now.after(interval);
        }
    }
}

/// A text as a status: one line, because the next would be another assignment, and short, because
/// systemd ignores messages of more than 4096 bytes.
fn status(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let end = line.floor_char_boundary(MAX_STATUS_BYTES);
    line.get(..end).unwrap_or(line)
}

fn connect(address: &str) -> io::Result<UnixDatagram> {
    let parsed = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(address),
    }?;
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&parsed)?;
    Ok(socket)
}

fn send(socket: &UnixDatagram, state: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let parts = [IoSlice::new(state.as_bytes())];
    // Never blocks: a manager that does not read must not stop the arbiter.
    send_with(socket.as_fd(), &parts, descriptor, MsgFlags::MSG_DONTWAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_short_line() {
        assert_eq!(status("a b"), "a b");
        assert_eq!(status("a\nSTOPPING=1"), "a");
        assert_eq!(status(""), "");
        assert_eq!(status(&"\u{e9}".repeat(9000)).len(), MAX_STATUS_BYTES);
    }
}
