//! A front, and the arbiter's side of its link.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rcorn_front_link::wire::{self, Reader, Received};
use rcorn_front_link::{
    Configuration, Descriptor, FromFront, FrontListener, ListenerKind, Start, Tls, ToFront, User,
};
use rcorn_types::Level;

use super::DEADLINE;
use super::worker::Worker;

/// A process that was started as the arbiter does, but for the memfd.
pub(crate) struct Process {
    pub(crate) child: Child,
    link: Option<UnixStream>,
    reader: Reader,
    /// What it wanted to have in the error log.
    pub(crate) records: Vec<(Level, String)>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    pub(crate) fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // Descriptor 3 without code between fork and exec.
        let child = Command::new("sh")
            .args(["-c", "exec 3<&0 </dev/null; exec \"$0\""])
            .arg(env!("CARGO_BIN_EXE_rcorn-front"))
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        Self {
            child,
            link: Some(ours),
            reader: Reader::default(),
            records: Vec::new(),
        }
    }

    pub(crate) fn send(&self, message: &ToFront, descriptors: Vec<OwnedFd>) {
        let link = self.link.as_ref().unwrap();
        wire::send(link.as_fd(), message, descriptors).unwrap();
    }

    /// The next message that is no record.
    pub(crate) fn receive(&mut self) -> FromFront {
        loop {
            let message = self.receive_any();
            let FromFront::Log { level, text } = message else {
                return message;
            };
            self.records.push((level, text));
        }
    }

    fn receive_any(&mut self) -> FromFront {
        let link = self.link.as_ref().unwrap();
        loop {
            if let Some((message, _none)) = self.reader.take().unwrap() {
                return message;
            }
            let timeout = PollTimeout::try_from(DEADLINE).unwrap();
            let ready = poll(&mut [PollFd::new(link.as_fd(), PollFlags::POLLIN)], timeout);
            assert_eq!(ready, Ok(1), "the front does not answer");
            let received = self.reader.read(link.as_fd()).unwrap();
            assert_eq!(received, Received::Drained, "the front has closed the link");
        }
    }

    /// Waits for a record whose text has this part.
    pub(crate) fn record(&mut self, part: &str) -> String {
        loop {
            let mut records = self.records.iter();
            if let Some((_level, text)) = records.find(|(_, text)| text.contains(part)) {
                return text.clone();
            }
            if let FromFront::Log { level, text } = self.receive_any() {
                self.records.push((level, text));
            }
        }
    }

    pub(crate) fn close_link(&mut self) {
        self.link = None;
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let pidfd = rcorn_sys::process::watch(self.child.id().try_into().unwrap()).unwrap();
        let timeout = PollTimeout::try_from(DEADLINE).unwrap();
        let ended = poll(
            &mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)],
            timeout,
        );
        assert_eq!(ended, Ok(1), "the front does not end");
        self.child.wait().unwrap()
    }

    /// Has certificates checked.
    pub(crate) fn check(&mut self, tls: Tls) -> FromFront {
        self.send(&ToFront::Check(Box::new(tls)), Vec::new());
        self.receive()
    }
}

/// A front that serves.
pub(crate) struct Front {
    pub(crate) process: Process,
    /// In the order of the listeners.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// How to start a front.
pub(crate) struct Options {
    pub(crate) kinds: Vec<ListenerKind>,
    pub(crate) threads: usize,
    pub(crate) challenges: Option<OwnedFd>,
    pub(crate) user: Option<User>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kinds: vec![ListenerKind::Https],
            threads: 1,
            challenges: None,
            user: None,
        }
    }
}

impl Front {
    /// One that speaks TLS.
    pub(crate) fn https(worker: &Worker, configuration: Configuration) -> Self {
        Self::start(worker, configuration, Options::default())
    }

    /// One without TLS.
    pub(crate) fn http(worker: &Worker, configuration: Configuration) -> Self {
        let kinds = vec![ListenerKind::Http];
        let options = Options {
            kinds,
            ..Options::default()
        };
        Self::start(worker, configuration, options)
    }

    pub(crate) fn start(worker: &Worker, configuration: Configuration, options: Options) -> Self {
        let mut process = Process::new();
        let mut start = Start {
            configuration,
            threads: options.threads,
            user: options.user,
            ..Start::default()
        };
        let (mut addresses, mut given) = (Vec::new(), Vec::new());
        for kind in options.kinds {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            start.listeners.push(FrontListener {
                address: address.to_string(),
                kind,
            });
            addresses.push(address);
            start.descriptors.push(Descriptor::Listener);
            given.push(OwnedFd::from(listener));
        }
        start.descriptors.push(Descriptor::Inner);
        given.push(worker.inode());
        if let Some(challenges) = options.challenges {
            start.descriptors.push(Descriptor::AcmeChallenges);
            given.push(challenges);
        }
        process.send(&ToFront::Start(Box::new(start)), given);
        let answer = process.receive();
        assert!(matches!(answer, FromFront::Ready { .. }), "{answer:?}");
        Self { process, addresses }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Loads another configuration.
    pub(crate) fn reload(&mut self, configuration: Configuration) -> FromFront {
        let message = ToFront::Reload(Box::new(configuration));
        self.process.send(&message, Vec::new());
        self.process.receive()
    }

    /// A counter, and the number of connections.
    pub(crate) fn status(&mut self, name: &str) -> (u64, u64) {
        self.process.send(&ToFront::Status, Vec::new());
        let answer = self.process.receive();
        let FromFront::Status {
            counters,
            connections,
        } = answer
        else {
            panic!("{answer:?}");
        };
        (counters[name], connections)
    }

    /// Waits until something is so.
    pub(crate) fn until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < DEADLINE, "it does not become so");
            std::thread::yield_now();
        }
    }

    /// The resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let pid = self.process.child.id().try_into().unwrap();
        rcorn_sys::process::resident_kib(pid).unwrap()
    }
}
