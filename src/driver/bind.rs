//! The first sockets: from systemd, from a predecessor, or bound here, with retries while another
//! process is about to exit.

use std::io;
use std::time::Duration;

use mio::Token;
use nix::sys::signal::Signal;

use rcorn_log as log;
use rcorn_settings::Settings;
use rcorn_sys::{clock, environment};
use rcorn_types::Monotonic;

use super::error::{StartError, system};
use super::listener::{ListenError, Listener};
use super::lookup::{Addresses, Lookup};
use super::owner::Owner;
use super::plan::Plan;
use super::poller::Poller;
use super::systemd;

/// How often an address in use is tried, and the time between two attempts, as in gunicorn.
const ATTEMPTS: u32 = 5;
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(1);

/// After an arbiter was killed, the kernel takes a moment to end its processes. For this long, and
/// at this interval, an address is tried again without a log line.
const QUIET_TIME: Duration = Duration::from_millis(250);
const QUIET_INTERVAL: Duration = Duration::from_millis(10);

/// The token of the look-up, which is used before the loop runs.
const LOOKUP: Token = Token(1);

/// Returns the first sockets. An address in use is tried again for some seconds.
///
/// # Errors
///
/// An address cannot be bound, or a signal ends the start.
pub(super) fn first_listeners(
    settings: &Settings,
    environment: &dyn Fn(&str) -> Option<String>,
    poller: &mut Poller,
    handed_over: Vec<Listener>,
    owner: Owner,
) -> Result<Vec<Listener>, StartError> {
    let is_stored = systemd::are_stored(environment);
    let given = systemd::passed(environment, std::process::id())?;
    for name in systemd::VARIABLES {
        environment::unset(name).map_err(system("change the environment"))?;
    }
    let mut listeners = handed_over;
    if listeners.iter().any(|listener| listener.address.is_none()) {
        return Ok(listeners);
    }
    if !given.is_empty() && !is_stored {
        return Ok(given);
    }
    let addresses = look_up(settings, poller, owner)?;
    if is_stored {
        listeners = systemd::recognised(given, settings, &addresses);
    }
    bind(settings, &addresses, owner, listeners, poller)
}

/// The addresses of the names in `bind`.
fn look_up(
    settings: &Settings,
    poller: &mut Poller,
    owner: Owner,
) -> Result<Addresses, StartError> {
    let mut lookup = Lookup::start(settings, Some(owner), poller.registry(), LOOKUP);
    loop {
        if let Some(found) = lookup.poll(clock::now()) {
            return Ok(found.addresses);
        }
        wait(poller, lookup.deadline())?;
    }
}

fn bind(
    settings: &Settings,
    addresses: &Addresses,
    owner: Owner,
    mut listeners: Vec<Listener>,
    poller: &mut Poller,
) -> Result<Vec<Listener>, StartError> {
    let loud_from = clock::now().after(QUIET_TIME);
    let mut pauses = 1..ATTEMPTS;
    loop {
        match Plan::make(settings, &listeners, addresses, owner) {
            Ok(plan) => {
                plan.commit(&mut listeners);
                return Ok(listeners);
            }
            Err(ListenError::InUse { .. }) if clock::now() < loud_from => {
                pause(poller, QUIET_INTERVAL)?;
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
                pause(poller, ATTEMPT_INTERVAL)?;
            }
            Err(error) => {
                log::error(format_args!("{error}"));
                return Err(error.into());
            }
        }
    }
}

/// Waits for the next attempt.
fn pause(poller: &mut Poller, time: Duration) -> Result<(), StartError> {
    let due = clock::now().after(time);
    while clock::now() < due {
        wait(poller, due)?;
    }
    Ok(())
}

/// Waits once, for something or until `due`. A signal that ends the start is an error.
pub(super) fn wait(poller: &mut Poller, due: Monotonic) -> Result<(), StartError> {
    poller.wait(Some(due)).map_err(|error: io::Error| {
        let failed = system("wait");
        failed(error)
    })?;
    let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];
    let signals = poller.take_signals();
    if signals.iter().any(|signal| ends.contains(signal)) {
        return Err(StartError::Stopped);
    }
    // Orders, for a server that runs.
    poller.put_signals_back(signals);
    Ok(())
}
