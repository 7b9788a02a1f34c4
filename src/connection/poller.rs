//! What a worker waits on: one epoll set, whose tokens are [`Source`]s.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use rcorn_sys::private::PrivateMark;

/// What is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A listener, by its number: connections wait in its accept queue.
    Listener(usize),
    /// The hand-off queue: a sibling has handed a connection on.
    Handoff,
    /// The pipe into which signal handlers write.
    Wake,
    /// A parked connection, by its place.
    Connection(usize),
}

/// What a connection is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to receive, or the peer's close.
    Readable,
    /// Room for bytes to send.
    Writable,
}

/// Where connections begin among the tokens; listeners begin at 0.
const FIRST_CONNECTION: u64 = 1 << 16;
const WAKE: u64 = FIRST_CONNECTION - 1;
const HANDOFF: u64 = FIRST_CONNECTION - 2;

impl Source {
    fn token(self) -> u64 {
        #[expect(
            clippy::as_conversions,
            reason = "usize is never wider than u64 on Linux"
        )]
        match self {
            Self::Listener(index) => index as u64,
            Self::Handoff => HANDOFF,
            Self::Wake => WAKE,
            Self::Connection(place) => (place as u64).saturating_add(FIRST_CONNECTION),
        }
    }

    fn of(token: u64) -> Self {
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "the number was a usize in this process"
        )]
        match token {
            WAKE => Self::Wake,
            HANDOFF => Self::Handoff,
            FIRST_CONNECTION.. => Self::Connection(token.wrapping_sub(FIRST_CONNECTION) as usize),
            _ => Self::Listener(token as usize),
        }
    }
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Readable => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
            Self::Writable => EpollFlags::EPOLLOUT,
        }
    }
}

/// The sources that one wait found ready.
#[derive(Debug)]
pub struct Events {
    buffer: Vec<EpollEvent>,
    count: usize,
}

impl Events {
    /// Room for the events of one wait.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            buffer: vec![EpollEvent::empty(); capacity],
            count: 0,
        }
    }

    /// The sources that are ready.
    pub fn iter(&self) -> impl Iterator<Item = Source> + Clone {
        let ready = self.buffer.iter().take(self.count);
        ready.map(|event| Source::of(event.data()))
    }

    /// How many are ready.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The source at this place among those that are ready; `None` past the last one.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Source> {
        let (ready, _unused) = self.buffer.split_at_checked(self.count)?;
        Some(Source::of(ready.get(index)?.data()))
    }

    /// The places of the parked connections that are ready.
    pub fn connections(&self) -> impl Iterator<Item = usize> + Clone {
        self.iter().filter_map(|source| match source {
            Source::Connection(place) => Some(place),
            Source::Listener(_) | Source::Handoff | Source::Wake => None,
        })
    }
}

/// The epoll set. Shared by the event loop and its I/O thread.
#[derive(Debug)]
pub struct Poller {
    /// Dropped before the epoll set.
    _private: PrivateMark,
    epoll: Epoll,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// Those of `epoll_create1(2)`.
    pub fn new() -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self {
            _private: PrivateMark::new(&epoll.0),
            epoll,
        })
    }

    /// Watches a descriptor of this process alone for bytes to read.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn add(&self, descriptor: impl AsFd, source: Source) -> nix::Result<()> {
        self.watch(descriptor, source, Interest::Readable, None)
    }

    /// Watches a descriptor that other workers watch too: one of them is woken for each event
    /// (`EPOLLEXCLUSIVE`, `epoll_ctl(2)`).
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn add_shared(&self, descriptor: impl AsFd, source: Source) -> nix::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
        self.epoll
            .add(descriptor, EpollEvent::new(flags, source.token()))
    }

    /// Watches a connection; `before`: what it was watched for so far.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn watch(
        &self,
        descriptor: impl AsFd,
        source: Source,
        interest: Interest,
        before: Option<Interest>,
    ) -> nix::Result<()> {
        let mut event = EpollEvent::new(interest.flags(), source.token());
        match before {
            None => self.epoll.add(descriptor, event),
            Some(same) if same == interest => Ok(()),
            Some(_) => self.epoll.modify(descriptor, &mut event),
        }
    }

    /// Stops watching it. Needed if others hold the same socket: then closing ours does not remove
    /// it.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`: `ENOENT` or `EPERM` when it is not in the set.
    pub fn remove(&self, descriptor: impl AsFd) -> nix::Result<()> {
        self.epoll.delete(descriptor)
    }

    /// Waits until something is ready, for at most `timeout`, rounded up to milliseconds; `None`:
    /// for ever. A signal ends the wait without an event.
    ///
    /// # Errors
    ///
    /// Those of `epoll_wait(2)`, except `EINTR`.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> nix::Result<()> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| {
            let rounded = timeout.saturating_add(Duration::from_nanos(999_999));
            EpollTimeout::try_from(rounded).unwrap_or(EpollTimeout::MAX)
        });
        events.count = match self.epoll.wait(&mut events.buffer, timeout) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(errno) => {
                events.count = 0;
                return Err(errno);
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn each_source_has_a_token_of_its_own() {
        for source in [
            Source::Listener(0),
            Source::Listener(65_533),
            Source::Handoff,
            Source::Wake,
            Source::Connection(0),
            Source::Connection(1_000_000),
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }

    #[test]
    fn a_connection_is_watched_for_one_thing_at_a_time() {
        let poller = Poller::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut events = Events::with_capacity(4);
        let source = Source::Connection(7);
        let mut ready = |expected: &[Source]| {
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            assert_eq!(events.iter().collect::<Vec<_>>(), expected);
        };
        poller
            .watch(&ours, source, Interest::Readable, None)
            .unwrap();
        ready(&[]);
        theirs.write_all(b"x").unwrap();
        ready(&[source]);
        let before = Some(Interest::Readable);
        poller
            .watch(&ours, source, Interest::Writable, before)
            .unwrap();
        ready(&[source]);
        poller.remove(&ours).unwrap();
        ready(&[]);
    }
}
