//! What the app prints, with `capture_output`: each process sends the read ends of its pipes
//! ([`PrintedPipe`]), and the lines that come through them go to the error log with time, pid and
//! generation. A pipe is read to its end, so what a process has printed outlives it; and it is read
//! whether the log takes its lines or not, so the app waits no longer than the arbiter does.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::memfd::MFdFlags;
use serde::{Deserialize, Serialize};

use rcorn_arbiter::Pid;
use rcorn_link::{MAX_DATAGRAM_BYTES, PrintedPipe, StandardStream};
use rcorn_log::{self as log, CapturedLine};
use rcorn_settings::Settings;
use rcorn_sys::passing::receive_with;
use rcorn_sys::{clock, memfd};
use rcorn_types::Monotonic;

use super::children::pair;
use super::saved_children::take_over;

/// The token of the socket; those of the pipes follow. Clients of the control socket have lower
/// ones, those of the status address have higher ones.
const SOCKET: usize = usize::MAX / 4;
/// What one look reads of a pipe. Not all that it holds: a log may take it slowly.
const READ_BYTES: usize = 8 * 1024;
/// How long one turn of the loop may read: the arbiter has other things to do.
const MAX_TURN: Duration = Duration::from_millis(10);
/// How often a pipe is looked at when its process has ended: as often as it takes to read the
/// largest pipe that an app can have by default. Others may go on printing into it.
const MAX_LAST_READS: usize = 128;
/// The longest line that is logged in one piece.
const MAX_LINE_BYTES: usize = 256 * 1024;
/// What the beginning of a line keeps of its memory: long lines are rare, and pipes are many.
const KEPT_BYTES: usize = 4096;

/// The descriptors, for a successor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedOutput {
    /// The socket of pipes: our end, and that of the others.
    socket: Option<(RawFd, RawFd)>,
    /// The memfd with the beginnings of lines.
    begun: Option<RawFd>,
    pipes: Vec<SavedPipe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedPipe {
    fd: RawFd,
    pid: u32,
    generation: u32,
    stream: StandardStream,
}

impl SavedOutput {
    /// Whether nothing was ever captured.
    pub(super) fn is_none(&self) -> bool {
        self.socket.is_none()
    }

    /// All of them.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        let socket = self.socket.iter().flat_map(|(one, other)| [*one, *other]);
        let pipes = self.pipes.iter().map(|pipe| pipe.fd);
        socket.chain(self.begun).chain(pipes)
    }
}

/// The socket, and the pipes that are open.
#[derive(Debug, Default)]
pub(super) struct CapturedOutput {
    socket: Option<Socket>,
    /// By token.
    pipes: BTreeMap<usize, Pipe>,
    /// The last token.
    last: usize,
    /// What can be read, in the order of its turns.
    ready: VecDeque<usize>,
}

#[derive(Debug)]
struct Socket {
    ours: OwnedFd,
    theirs: OwnedFd,
    /// A memfd for the beginnings of lines, at an upgrade in place.
    begun: OwnedFd,
}

#[derive(Debug)]
struct Pipe {
    reader: File,
    of: PrintedPipe,
    /// The line that has no end yet.
    begun: Vec<u8>,
}

/// What a look at a pipe has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// There may be more.
    Some,
    /// Nothing for now.
    Nothing,
    /// Nobody can print into it any more.
    End,
}

impl CapturedOutput {
    /// Takes over what a predecessor in our place has read.
    ///
    /// # Errors
    ///
    /// A descriptor is not what it should be.
    pub(super) fn take_over(saved: SavedOutput) -> io::Result<Self> {
        let (Some((ours, theirs)), Some(begun)) = (saved.socket, saved.begun) else {
            return Ok(Self::default());
        };
        let mut memory = File::from(take_over(begun)?);
        memory.rewind()?;
        let mut begun: BTreeMap<RawFd, Vec<u8>> = serde_json::from_reader(&memory)?;
        let mut output = Self {
            socket: Some(Socket {
                ours: take_over(ours)?,
                theirs: take_over(theirs)?,
                begun: memory.into(),
            }),
            last: SOCKET,
            ..Self::default()
        };
        for SavedPipe {
            fd,
            pid,
            generation,
            stream,
        } in saved.pipes
        {
            let of = PrintedPipe {
                pid,
                generation,
                stream,
            };
            let begun = begun.remove(&fd).unwrap_or_default();
            output.add(take_over(fd)?, of, begun);
        }
        Ok(output)
    }

    /// The descriptors, for a successor.
    pub(super) fn saved(&self) -> SavedOutput {
        let numbers = |socket: &Socket| (socket.ours.as_raw_fd(), socket.theirs.as_raw_fd());
        let pipes = self.pipes.values().map(|pipe| SavedPipe {
            fd: pipe.reader.as_raw_fd(),
            pid: pipe.of.pid,
            generation: pipe.of.generation,
            stream: pipe.of.stream,
        });
        SavedOutput {
            socket: self.socket.as_ref().map(numbers),
            begun: self.socket.as_ref().map(|socket| socket.begun.as_raw_fd()),
            pipes: pipes.collect(),
        }
    }

    /// Leaves the beginnings of lines to a successor. Not in [`Self::saved`], which is checked and
    /// must not change meanwhile.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(super) fn save_begun(&self) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        let begun = self.pipes.values().filter(|pipe| !pipe.begun.is_empty());
        let begun: BTreeMap<RawFd, &[u8]> = begun
            .map(|pipe| (pipe.reader.as_raw_fd(), &*pipe.begun))
            .collect();
        let mut memory = File::from(socket.begun.try_clone()?);
        memory.rewind()?;
        memory.set_len(0)?;
        memory.write_all(&serde_json::to_vec(&begun)?)
    }

    /// The socket for a template with these settings, if it is to be captured.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub(super) fn inherited(
        &mut self,
        settings: &Settings,
        registry: &Registry,
    ) -> io::Result<Option<RawFd>> {
        if !settings.capture_output {
            return Ok(None);
        }
        if self.socket.is_none() {
            let (ours, theirs) = pair()?;
            let begun = memfd::create(c"rcorn-output", MFdFlags::MFD_CLOEXEC)?;
            self.last = SOCKET;
            self.socket = Some(Socket {
                ours,
                theirs,
                begun,
            });
            self.register(registry)?;
        }
        Ok(self.socket.as_ref().map(|socket| socket.theirs.as_raw_fd()))
    }

    /// Waits for pipes, and for what is printed into those that are there.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn register(&self, registry: &Registry) -> io::Result<()> {
        let pipes = self.pipes.iter();
        let pipes = pipes.map(|(token, pipe)| (*token, pipe.reader.as_raw_fd()));
        let socket = self.socket.iter();
        let socket = socket.map(|socket| (SOCKET, socket.ours.as_raw_fd()));
        for (token, fd) in socket.chain(pipes) {
            registry.register(&mut SourceFd(&fd), Token(token), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Whether a token is one of ours, or of somebody with a higher one.
    pub(super) fn has_token(token: Token) -> bool {
        token.0 >= SOCKET
    }

    /// Notes that something can be read. [`Self::turn`] reads it.
    pub(super) fn note(&mut self, token: Token) {
        if !self.ready.contains(&token.0) {
            self.ready.push_back(token.0);
        }
    }

    /// When there is something to do; `None`: when something is printed.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        (!self.ready.is_empty()).then_some(Monotonic::ZERO)
    }

    /// Reads what can be read, each pipe in its turn.
    pub(super) fn turn(&mut self, registry: &Registry) {
        if self.ready.is_empty() {
            return;
        }
        let mut buffer = vec![0; READ_BYTES];
        let until = clock::now().after(MAX_TURN);
        while let Some(token) = self.ready.pop_front() {
            if token == SOCKET {
                self.receive(registry);
                continue;
            }
            match self.read(token, &mut buffer) {
                Found::Some => self.ready.push_back(token),
                Found::Nothing => {}
                Found::End => self.close(token),
            }
            if clock::now() >= until {
                return;
            }
        }
    }

    /// A process has ended: logs the last that it has printed.
    pub(super) fn ended(&mut self, pid: Pid, registry: &Registry) {
        if self.socket.is_none() {
            return;
        }
        // It may have printed, and ended, before its pipes were received.
        self.receive(registry);
        let pipes = self.pipes.iter();
        let its = pipes.filter(|(_, pipe)| i32::try_from(pipe.of.pid) == Ok(pid.0));
        for token in its.map(|(token, _)| *token).collect::<Vec<_>>() {
            self.read_last(token);
        }
    }

    /// This process is about to end: logs the last of all that is printed.
    pub(super) fn finish(&mut self, registry: &Registry) {
        self.receive(registry);
        for token in self.pipes.keys().copied().collect::<Vec<_>>() {
            self.read_last(token);
        }
    }

    /// Takes the pipes of new processes.
    fn receive(&mut self, registry: &Registry) {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            let Some(socket) = &self.socket else {
                return;
            };
            let received = match receive_with(socket.ours.as_fd(), &mut buffer) {
                Ok(Some((length, reader))) if length > 0 => (length, reader),
                Ok(_) => return,
                Err(error) => {
                    return log::error(format_args!("cannot read what the app prints: {error}"));
                }
            };
            let (length, reader) = received;
            match serde_json::from_slice(buffer.get(..length).unwrap_or_default()) {
                Ok(of) => self.watch(reader, of, registry),
                Err(error) => log::error(format_args!("cannot read a message: {error}")),
            }
        }
    }

    fn watch(&mut self, reader: Option<OwnedFd>, of: PrintedPipe, registry: &Registry) {
        let Some(reader) = reader else {
            return log::error(format_args!(
                "No descriptor is free for what pid {} prints to {}; hint: raise LimitNOFILE= or `ulimit -n`",
                of.pid,
                of.stream.name()
            ));
        };
        let fd = reader.as_raw_fd();
        let token = self.add(reader, of, Vec::new());
        let watched = registry.register(&mut SourceFd(&fd), Token(token), Interest::READABLE);
        if let Err(error) = watched {
            log::error(format_args!("cannot wait for what the app prints: {error}"));
            self.pipes.remove(&token);
        }
    }

    /// Adds a pipe; returns its token.
    fn add(&mut self, reader: OwnedFd, of: PrintedPipe, begun: Vec<u8>) -> usize {
        // Not again after so many processes.
        self.last = self.last.wrapping_add(1);
        let pipe = Pipe {
            reader: reader.into(),
            of,
            begun,
        };
        self.pipes.insert(self.last, pipe);
        self.last
    }

    /// Takes one look at a pipe.
    fn read(&mut self, token: usize, buffer: &mut [u8]) -> Found {
        match self.pipes.get_mut(&token) {
            Some(pipe) => pipe.read(buffer),
            None => Found::Nothing,
        }
    }

    /// Reads what is there, and takes it for the end.
    fn read_last(&mut self, token: usize) {
        let mut buffer = vec![0; READ_BYTES];
        for _ in 0..MAX_LAST_READS {
            match self.read(token, &mut buffer) {
                Found::Some => {}
                Found::Nothing => break,
                Found::End => return self.close(token),
            }
        }
        if let Some(pipe) = self.pipes.get_mut(&token) {
            pipe.end_line();
        }
    }

    fn close(&mut self, token: usize) {
        if let Some(mut pipe) = self.pipes.remove(&token) {
            pipe.end_line();
        }
    }
}

impl Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Found {
        match self.reader.read(buffer) {
            Ok(0) => Found::End,
            Ok(length) => {
                self.take(buffer.get(..length).unwrap_or_default());
                Found::Some
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Found::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Found::Some,
            Err(_broken) => Found::End,
        }
    }

    /// Logs the lines that are whole, and keeps the rest.
    fn take(&mut self, printed: &[u8]) {
        let mut rest = printed;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            self.begun.extend_from_slice(line);
            self.log_line();
            rest = after.get(1..).unwrap_or_default();
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() >= MAX_LINE_BYTES {
            self.log_line();
        }
    }

    /// Logs the beginning of a line as a whole one, if there is any.
    fn end_line(&mut self) {
        if !self.begun.is_empty() {
            self.log_line();
        }
    }

    fn log_line(&mut self) {
        log::captured(&CapturedLine {
            time: clock::wall(),
            pid: self.of.pid,
            generation: self.of.generation,
            stream: self.of.stream.name(),
            text: &self.begun,
        });
        self.begun.clear();
        self.begun.shrink_to(KEPT_BYTES);
    }
}
