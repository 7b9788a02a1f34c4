//! What a service manager is told (`sd_notify(3)`): datagrams to the socket it named, nothing when it named none.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::socket::MsgFlags;

use rcorn_log as log;
use rcorn_sys::passing::send_with;
use rcorn_types::Monotonic;

use super::listeners::{Listener, STORED};

/// Added to every time limit that the manager is told of.
const MARGIN: Duration = Duration::from_secs(10);
/// Told instead of a limit that is switched off.
const LONG: Duration = Duration::from_hours(24);

/// The way to the service manager.
#[derive(Debug)]
pub(super) struct Notify {
    way: Option<UnixDatagram>,
    /// How often it wants a sign of life.
    watchdog: Option<Duration>,
    next_sign: Monotonic,
    /// It keeps descriptors for us over a restart.
    stores: bool,
}

impl Notify {
    /// `NOTIFY_SOCKET` (a path, or an abstract name after `@`), `WATCHDOG_USEC` with `WATCHDOG_PID`, `FDSTORE`.
    pub(super) fn new(environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let way = environment("NOTIFY_SOCKET").and_then(|address| match connect(&address) {
            Ok(way) => Some(way),
            Err(error) => {
                log::warning(format_args!(
                    "cannot reach NOTIFY_SOCKET {address}: {error}"
                ));
                None
            }
        });
        let number = |name: &str| environment(name).and_then(|text| text.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0);
        Self {
            // Twice within the limit, as sd_watchdog_enabled(3) advises.
            watchdog: watchdog
                .filter(|_| way.is_some())
                .map(|limit| Duration::from_micros(limit.div_euclid(2))),
            way,
            next_sign: Monotonic::ZERO,
            stores: number("FDSTORE").is_some_and(|most| most > 0),
        }
    }

    /// Tells one or more assignments, each on its own line.
    pub(super) fn tell(&self, state: &str) {
        if let Some(way) = &self.way
            && let Err(error) = send(way, state, None)
        {
            log::debug(format_args!(
                "cannot tell the service manager {state:?}: {error}"
            ));
        }
    }

    /// Starting, reloading or stopping may take so long; `None`: there is no limit.
    pub(super) fn ask_for_time(&self, limit: Option<Duration>) {
        let limit = limit.unwrap_or(LONG).saturating_add(MARGIN);
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}", limit.as_micros()));
    }

    /// A reload begins (`Type=notify-reload` wants the time).
    pub(super) fn reloading(&self, now: Monotonic) {
        let now = Duration::from_nanos(now.as_nanos()).as_micros();
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=Reloading"
        ));
    }

    /// Lays the sockets into the manager's store: connections wait there while rcorn is restarted.
    pub(super) fn store(&self, listeners: &mut [Listener]) {
        let Some(way) = self.way.as_ref().filter(|_| self.stores) else {
            return;
        };
        for listener in listeners
            .iter_mut()
            .filter(|listener| listener.address.is_some())
        {
            let state = format!("FDSTORE=1\nFDNAME={STORED}");
            match send(way, &state, Some(listener.as_fd())) {
                Ok(()) => listener.is_stored(),
                Err(error) => log::debug(format_args!(
                    "cannot store the socket {}: {error}",
                    listener.place()
                )),
            }
        }
    }

    /// When the next sign of life is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.watchdog.map(|_every| self.next_sign)
    }

    /// Gives a sign of life, if one is due. Called by the main loop alone: a loop that hangs gives none.
    pub(super) fn show_life(&mut self, now: Monotonic) {
        if let Some(every) = self.watchdog
            && self.next_sign <= now
        {
            self.tell("WATCHDOG=1");
            self.next_sign = now.after(every);
        }
    }
}

fn connect(address: &str) -> io::Result<UnixDatagram> {
    let parsed = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(address),
    }?;
    let way = UnixDatagram::unbound()?;
    way.connect_addr(&parsed)?;
    Ok(way)
}

fn send(way: &UnixDatagram, state: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let parts = [IoSlice::new(state.as_bytes())];
    // Never blocks: a manager that does not listen must not stop us.
    send_with(way.as_fd(), &parts, descriptor, MsgFlags::MSG_DONTWAIT)
}
