//! The first sockets: from systemd, from a predecessor, or bound, with patience for one that is just leaving.

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::Signal;

use rcorn_log as log;
use rcorn_settings::Settings;
use rcorn_sys::{clock, process};

use super::error::StartError;
use super::listeners::{self, ListenError, Listener, STORED};
use super::signals::Signals;

/// gunicorn's patience with an address in use.
const ATTEMPTS: u32 = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// The kernel ends the processes of an arbiter that was killed when it comes to them. So long, and so often, it is tried
/// again without a word.
const QUIETLY: Duration = Duration::from_millis(250);
const BETWEEN_QUIET_ATTEMPTS: Duration = Duration::from_millis(10);

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

/// The first sockets. An address in use is tried again for some seconds: a predecessor may just be leaving.
pub(super) fn first_listeners(
    settings: &Settings,
    environment: &dyn Fn(&str) -> Option<String>,
    signals: &mut Signals,
    handed: Vec<Listener>,
) -> Result<Vec<Listener>, StartError> {
    let names = environment("LISTEN_FDNAMES");
    let given = listeners::from_systemd(environment, std::process::id())?;
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        process::unset_variable(name);
    }
    let mut listeners = handed;
    if listeners.iter().any(|listener| listener.address.is_none()) {
        return Ok(listeners);
    }
    let stored = names.is_some_and(|names| names.split(':').all(|name| name == STORED));
    if stored {
        listeners = listeners::recognised(given, settings);
    } else if !given.is_empty() {
        return Ok(given);
    }
    let loud_from = clock::monotonic().saturating_add(clock::nanoseconds(QUIETLY));
    let mut pauses = 1..ATTEMPTS;
    loop {
        match listeners::plan(settings, &listeners) {
            Ok(plan) => {
                plan.commit(&mut listeners);
                return Ok(listeners);
            }
            Err(ListenError::InUse { .. }) if clock::monotonic() < loud_from => {
                pause(signals, BETWEEN_QUIET_ATTEMPTS)?;
            }
            Err(ListenError::InUse { address, source }) => {
                log::error(format_args!("Connection in use: {address}"));
                log::error(format_args!(
                    "connection to {address} failed: [Errno {}] Address already in use",
                    source.raw_os_error().unwrap_or(nix::libc::EADDRINUSE)
                ));
                if pauses.next().is_none() {
                    log::error(format_args!("Can't connect to {address}"));
                    return Err(ListenError::InUse { address, source }.into());
                }
                pause(signals, BETWEEN_ATTEMPTS)?;
            }
            Err(error) => {
                log::error(format_args!("{error}"));
                return Err(error.into());
            }
        }
    }
}

/// Waits for the next attempt, or for a signal that ends the start.
fn pause(signals: &mut Signals, time: Duration) -> Result<(), StartError> {
    let mut wait = || -> io::Result<bool> {
        let mut poll = Poll::new()?;
        poll.registry()
            .register(signals.source(), Token(0), Interest::READABLE)?;
        let due = clock::monotonic().saturating_add(clock::nanoseconds(time));
        let mut stopped = false;
        while !stopped {
            let left = due.saturating_sub(clock::monotonic());
            if left == 0 {
                break;
            }
            match poll.poll(
                &mut Events::with_capacity(4),
                Some(Duration::from_nanos(left)),
            ) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            stopped = signals
                .take()
                .iter()
                .any(|signal| [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT].contains(signal));
        }
        poll.registry().deregister(signals.source())?;
        Ok(stopped)
    };
    if wait().map_err(system("wait"))? {
        Err(StartError::Stopped)
    } else {
        Ok(())
    }
}
