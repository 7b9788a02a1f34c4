//! What the arbiter sends on: messages of all processes to syslog, and metrics to statsd. Workers
//! pass messages through a socket ([`rcorn_log::Relayed`]) and note requests in shared memory
//! ([`Samples`]). Lines of the access log that a worker has not written yet lie in shared memory,
//! too ([`AllHeldLines`]). All are made when a setting needs them for the first time, and are
//! handed over at an upgrade in place. No server of logs can hold the arbiter up: nothing here
//! waits.

mod outlet;
mod statsd;
mod syslog;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, setsockopt, socketpair, sockopt::SndBuf,
};
use serde::{Deserialize, Serialize};

use rcorn_arbiter::CellIndex;
use rcorn_log::{self as log, MAX_MESSAGE_BYTES, Relayed};
use rcorn_scoreboard::{AllHeldLines, HeldLines, Samples};
use rcorn_settings::Settings;
use rcorn_types::Monotonic;

use self::statsd::{Statsd, StatsdSettings};
use self::syslog::Syslog;
use super::saved_children::take_over;
use super::shared_memory::CELLS;

/// Messages taken in one turn of the loop: the arbiter has other things to do.
const MAX_TAKEN: usize = 512;
/// What may wait in the socket, in bytes; the kernel may allow less.
const SOCKET_BYTES: usize = 1024 * 1024;
/// How long the last messages may take at the end of the process.
const FINISH_LIMIT: Duration = Duration::from_millis(200);

/// The descriptors that processes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedNumbers {
    /// The socket of messages: our end, and that of the others.
    #[serde(default)]
    pub(super) relay: Option<(RawFd, RawFd)>,
    /// The memfd of the samples.
    #[serde(default)]
    pub(super) samples: Option<RawFd>,
    /// The memfd of lines that are not written yet.
    #[serde(default)]
    pub(super) held_lines: Option<RawFd>,
}

impl SharedNumbers {
    /// Whether there are none.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// All of them.
    pub(super) fn all(self) -> impl Iterator<Item = RawFd> {
        let relay = self.relay.into_iter();
        relay
            .flat_map(|(one, other)| [one, other])
            .chain(self.samples)
            .chain(self.held_lines)
    }
}

/// What a template inherits, and its workers after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inherited {
    /// The socket of messages.
    pub(super) relay: Option<RawFd>,
    /// The memfd of the samples, if they are wanted.
    pub(super) samples: Option<RawFd>,
    /// The memfd of lines that are not written yet.
    pub(super) held_lines: Option<RawFd>,
}

/// What is shared with the workers, and the servers.
#[derive(Debug, Default)]
pub(super) struct Telemetry {
    relay: Option<(OwnedFd, OwnedFd)>,
    is_registered: bool,
    samples: Option<(Samples, OwnedFd)>,
    held_lines: Option<(AllHeldLines, OwnedFd)>,
    syslog: Option<Syslog>,
    statsd: Option<Statsd>,
    /// The last turn has left something to do.
    has_more: bool,
}

impl Telemetry {
    /// Takes over what a predecessor in our place has made.
    ///
    /// # Errors
    ///
    /// A descriptor is not what it should be.
    pub(super) fn take_over(numbers: SharedNumbers) -> io::Result<Self> {
        let relay = numbers
            .relay
            .map(|(one, other)| Ok((take_over(one)?, take_over(other)?)));
        let samples = numbers.samples.map(|number| {
            let memory = take_over(number)?;
            Ok((Samples::open(memory.as_fd())?, memory))
        });
        let held_lines = numbers.held_lines.map(|number| {
            let memory = take_over(number)?;
            Ok((AllHeldLines::open(memory.as_fd())?, memory))
        });
        Ok(Self {
            held_lines: held_lines.transpose().map_err(|error: io::Error| error)?,
            relay: relay.transpose().map_err(|error: io::Error| error)?,
            samples: samples.transpose().map_err(|error: io::Error| error)?,
            ..Self::default()
        })
    }

    /// Makes what these settings need, from now on.
    ///
    /// # Errors
    ///
    /// There is no descriptor or memory left.
    pub(super) fn configure(&mut self, settings: &Settings) -> io::Result<()> {
        let statsd = StatsdSettings::of(settings);
        if (settings.syslog || statsd.is_some()) && self.relay.is_none() {
            self.relay = Some(relay()?);
        }
        if statsd.is_some() && self.samples.is_none() {
            self.samples = Some(Samples::create(CELLS)?);
        }
        if settings.accesslog.is_some() && self.held_lines.is_none() {
            self.held_lines = Some(AllHeldLines::create(CELLS)?);
        }
        if let Some((_, theirs)) = &self.relay {
            log::init_relay(theirs.try_clone()?);
        }
        if let Some((_, memory)) = &self.samples {
            let samples = Samples::open(memory.as_fd())?;
            log::count_logged(move |kind| samples.note_logged(kind.number()));
        }
        log::set_syslog(log::Syslog::of(settings));
        let address = settings.syslog.then_some(&settings.syslog_addr);
        if self.syslog.as_ref().map(|syslog| &syslog.address) != address {
            self.end_syslog();
            self.syslog = address.map(Syslog::new);
        }
        if self.statsd.as_ref().map(|statsd| &statsd.settings) != statsd.as_ref() {
            self.statsd = statsd.map(Statsd::new);
        }
        self.has_more = true;
        Ok(())
    }

    /// The descriptors, for a successor.
    pub(super) fn numbers(&self) -> SharedNumbers {
        let relay = self.relay.as_ref();
        SharedNumbers {
            relay: relay.map(|(one, other)| (one.as_raw_fd(), other.as_raw_fd())),
            samples: self.samples.as_ref().map(|(_, memory)| memory.as_raw_fd()),
            held_lines: self
                .held_lines
                .as_ref()
                .map(|(_, memory)| memory.as_raw_fd()),
        }
    }

    /// What templates inherit.
    pub(super) fn inherited(&self) -> Inherited {
        let numbers = self.numbers();
        Inherited {
            relay: numbers.relay.map(|(_, theirs)| theirs),
            samples: numbers.samples.filter(|_| self.statsd.is_some()),
            held_lines: numbers.held_lines,
        }
    }

    /// The lines that the worker with this cell has not written; it has ended.
    pub(super) fn take_held_lines(&self, cell: CellIndex) -> Vec<u8> {
        let lines = self.held_lines.as_ref();
        let lines = lines.and_then(|(lines, _)| lines.of(cell.0));
        lines.map(HeldLines::take).unwrap_or_default()
    }

    /// When something is due; `None`: never.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let now = self.has_more.then_some(Monotonic::ZERO);
        let statsd = self.statsd.as_ref().map(Statsd::deadline);
        let syslog = self.syslog.as_ref().and_then(Syslog::deadline);
        [now, statsd, syslog].into_iter().flatten().min()
    }

    /// Takes what has come, and sends what can be sent. `workers`: how many there are.
    pub(super) fn advance(
        &mut self,
        now: Monotonic,
        registry: &Registry,
        token: Token,
        workers: usize,
    ) {
        if self.relay.is_none() && self.syslog.is_none() && self.statsd.is_none() {
            self.has_more = false;
            return;
        }
        self.register(registry, token);
        self.has_more = self.receive();
        if let Some(syslog) = &mut self.syslog {
            let was_full = !syslog.has_room();
            self.has_more |= syslog.advance(now, registry, token);
            // What waits in the socket is looked for again: nothing tells of it twice.
            self.has_more |= was_full && syslog.has_room();
        }
        let Some(statsd) = &mut self.statsd else {
            return;
        };
        statsd.advance(now, registry, token);
        if let Some((samples, _)) = self.samples.as_ref().filter(|_| statsd.is_due(now)) {
            statsd.report(&samples.take(), workers);
            statsd.flush(now);
        }
    }

    fn register(&mut self, registry: &Registry, token: Token) {
        let Some((ours, _)) = self.relay.as_ref().filter(|_| !self.is_registered) else {
            return;
        };
        let number = ours.as_raw_fd();
        match registry.register(&mut SourceFd(&number), token, Interest::READABLE) {
            Ok(()) => self.is_registered = true,
            Err(error) => log::warning(format_args!("cannot wait for messages: {error}")),
        }
    }

    /// Takes messages while there is room for them; whether there may be more.
    fn receive(&mut self) -> bool {
        let Some((ours, _)) = &self.relay else {
            return false;
        };
        let mut buffer = vec![0; MAX_MESSAGE_BYTES.saturating_add(1)];
        for _ in 0..MAX_TAKEN {
            if self
                .syslog
                .as_ref()
                .is_some_and(|syslog| !syslog.has_room())
            {
                return false;
            }
            match recv(ours.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return false,
                Ok(length) => match Relayed::read(buffer.get(..length).unwrap_or_default()) {
                    Some((Relayed::Syslog, message)) => {
                        if let Some(syslog) = &mut self.syslog {
                            syslog.add(message);
                        }
                    }
                    Some((Relayed::Metric, metric)) => {
                        if let Some(statsd) = &mut self.statsd {
                            statsd.add(&String::from_utf8_lossy(metric));
                        }
                    }
                    None => {}
                },
                Err(Errno::EINTR) => {}
                Err(_no_message) => return false,
            }
        }
        true
    }

    fn end_syslog(&mut self) {
        while self.syslog.is_some() && self.receive() {}
        if let Some(mut syslog) = self.syslog.take() {
            syslog.finish(FINISH_LIMIT);
        }
    }

    /// Sends what is left: this process is about to end, or to become another build.
    pub(super) fn finish(&mut self, now: Monotonic, workers: usize) {
        self.receive();
        if let Some(statsd) = &mut self.statsd {
            if let Some((samples, _)) = &self.samples {
                statsd.report(&samples.take(), workers);
            }
            statsd.flush(now);
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.finish(FINISH_LIMIT);
        }
    }
}

/// The socket through which messages come. Each is one datagram, whoever sends it.
fn relay() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    // The kernel lowers it to what it allows.
    setsockopt(&theirs, SndBuf, &SOCKET_BYTES)?;
    Ok((ours, theirs))
}
