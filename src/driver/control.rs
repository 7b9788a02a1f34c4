//! The control socket, served by the arbiter's own loop: a client sends one request in one line and
//! gets one line back, at once or when the event that it waits for has happened.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use rcorn_arbiter::Pid;
use rcorn_control::{Answer, MAX_REQUEST_BYTES, Request, place};
use rcorn_log as log;
use rcorn_settings::Settings;
use rcorn_types::Monotonic;

use super::unix_socket::{Occupied, SocketFile, remove_stale, with_umask};
use super::upgrade::name_beside;

/// The most clients at a time; more are refused.
const MAX_CLIENTS: usize = 64;
/// The token of the first client; the loop's own sources have lower ones.
pub(super) const FIRST_CLIENT: usize = 16;
/// Only this user may connect before the permissions that the settings name are set.
const PRIVATE_UMASK: u32 = 0o177;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another instance answers there.
    #[error("the control socket {0} belongs to an instance that runs")]
    InUse(PathBuf),
    /// The system refused it.
    #[error("cannot make the control socket {path}: {source}")]
    Refused {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The rest of its own request.
    Request,
    /// The end of a reload.
    Reload,
    /// The decision about a refork.
    Refork,
    /// The stacks of a process: the time of the next look, and how many more follow it.
    Stacks(Pid, Monotonic, u32),
    /// Room for its answer in its socket.
    Room,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    waits: Waits,
}

/// The control socket and its clients.
#[derive(Debug)]
pub(super) struct ControlServer {
    listener: UnixListener,
    file: SocketFile,
    clients: BTreeMap<usize, Client>,
    next: usize,
}

impl ControlServer {
    /// Binds the socket that the settings name; beside a predecessor, which has it, its name with
    /// `.2`. If the socket cannot be bound, the start fails only if the operator has named it.
    pub(super) fn open(
        settings: &Settings,
        environment: &dyn Fn(&str) -> Option<String>,
        beside: bool,
    ) -> Result<Option<Self>, ControlError> {
        if settings.control_socket_disable {
            return Ok(None);
        }
        let mode = settings.control_socket_mode.bits();
        if let Some(path) = &settings.control_socket {
            return Self::bind(&name_beside(path, beside), mode).map(Some);
        }
        let path = match place::default(environment, std::process::id()) {
            Ok(path) => path,
            Err(error) => {
                log::warning(format_args!("no control socket: {error}"));
                return Ok(None);
            }
        };
        Self::bind(&path, mode).map(Some).or_else(|error| {
            log::warning(format_args!("no control socket: {error}"));
            Ok(None)
        })
    }

    fn bind(path: &Path, mode: u32) -> Result<Self, ControlError> {
        let refused = |source| ControlError::Refused {
            path: path.to_owned(),
            source,
        };
        remove_stale(path).map_err(|occupied| match occupied {
            Occupied::InUse => ControlError::InUse(path.to_owned()),
            Occupied::NotSocket => refused(io::Error::other(occupied)),
            Occupied::Stays(source) => refused(source),
        })?;
        let bind = || {
            let listener = with_umask(PRIVATE_UMASK, || UnixListener::bind(path))?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
            Ok(Self {
                listener,
                file: SocketFile::at(path)?,
                clients: BTreeMap::new(),
                next: FIRST_CLIENT,
            })
        };
        bind().map_err(refused)
    }

    /// Makes the socket again if somebody has removed it: clients could not find us.
    pub(super) fn restore(&mut self, settings: &Settings, registry: &Registry, token: Token) {
        if !self.file.is_gone() {
            return;
        }
        let path = self.file.path().display().to_string();
        match self.bind_again(settings, registry, token) {
            Ok(()) => log::warning(format_args!(
                "The control socket {path} was removed; it is made again."
            )),
            Err(error) => log::error(format_args!("{error}; it was removed")),
        }
    }

    fn bind_again(
        &mut self,
        settings: &Settings,
        registry: &Registry,
        token: Token,
    ) -> Result<(), ControlError> {
        let path = self.file.path();
        let refused = |source| ControlError::Refused {
            path: path.to_owned(),
            source,
        };
        // A folder that the operator named is the operator's to make.
        if settings.control_socket.is_none()
            && let Some(folder) = path.parent()
        {
            place::prepare(folder).map_err(refused)?;
        }
        let mut again = Self::bind(path, settings.control_socket_mode.bits())?;
        let registered = registry.register(&mut again.listener, token, Interest::READABLE);
        registered.map_err(refused)?;
        // Those that have found the old one.
        self.accept(registry);
        registry.deregister(&mut self.listener).ok();
        self.listener = again.listener;
        self.file = again.file;
        Ok(())
    }

    /// What to wait on for new clients.
    pub(super) fn source(&mut self) -> &mut UnixListener {
        &mut self.listener
    }

    /// Takes over the name in the settings after the predecessor has exited.
    pub(super) fn promote(&mut self, settings: &Settings) {
        let Some(path) = settings.control_socket.as_ref() else {
            return;
        };
        if self.file.path() == path {
            return;
        }
        if let Err(error) = self.file.rename(path) {
            log::warning(format_args!(
                "the control socket stays at {}: {error}",
                self.file.path().display()
            ));
        }
    }

    /// Where the socket is.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Removes the socket's file, if it is still ours.
    pub(super) fn remove_file(&self) {
        self.file.remove();
    }

    /// When the next look at a stack dump is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let due = self
            .clients
            .values()
            .filter_map(|client| match client.waits {
                Waits::Stacks(_, due, _) => Some(due),
                Waits::Request | Waits::Reload | Waits::Refork | Waits::Room => None,
            });
        due.min()
    }

    /// Accepts the clients that wait.
    pub(super) fn accept(&mut self, registry: &Registry) {
        while let Ok((mut stream, _address)) = self.listener.accept() {
            // The permissions keep other users out; even with wider ones, only this user and root
            // may give orders.
            let allowed = getsockopt(&stream, PeerCredentials)
                .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw());
            if !allowed {
                drop(stream.write_all(&line(&Answer::failed("not allowed"))));
                continue;
            }
            if self.clients.len() >= MAX_CLIENTS {
                // A client that has sent nothing is closed for a new one; those that wait for an
                // answer stay.
                let silent = self.waiting(|waits| waits == Waits::Request);
                let Some(oldest) = silent.first() else {
                    drop(stream.write_all(&line(&Answer::failed("too many clients"))));
                    continue;
                };
                self.clients.remove(oldest);
            }
            let token = self.next;
            self.next = self.next.wrapping_add(1).max(FIRST_CLIENT);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if registry
                .register(&mut stream, Token(token), interest)
                .is_ok()
            {
                let client = Client {
                    stream,
                    input: Vec::new(),
                    output: Vec::new(),
                    waits: Waits::Request,
                };
                self.clients.insert(token, client);
            }
        }
    }

    /// Reads from a client whose socket is ready; returns its request once it is complete.
    pub(super) fn receive(&mut self, token: usize) -> Option<Result<Request, String>> {
        let client = self.clients.get_mut(&token)?;
        if !client.output.is_empty() {
            self.flush(token);
            return None;
        }
        let mut bytes = [0; 1024];
        loop {
            match client.stream.read(&mut bytes) {
                // It may have sent a request, and closed its own side.
                Ok(0) if client.waits == Waits::Request && client.input.contains(&b'\n') => break,
                Ok(0) => {
                    self.clients.remove(&token);
                    return None;
                }
                Ok(count) => client
                    .input
                    .extend_from_slice(bytes.get(..count).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_gone) => {
                    self.clients.remove(&token);
                    return None;
                }
            }
            if client.input.len() > MAX_REQUEST_BYTES {
                return Some(Err("the request is too long".to_owned()));
            }
        }
        let end = memchr::memchr(b'\n', &client.input)?;
        if client.waits != Waits::Request {
            return None;
        }
        let request = serde_json::from_slice(client.input.get(..end).unwrap_or(&[]));
        Some(request.map_err(|error| format!("the request is not understood: {error}")))
    }

    pub(super) fn wait(&mut self, token: usize, waits: Waits) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.waits = waits;
        }
    }

    pub(super) fn answer(&mut self, token: usize, answer: &Answer) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.output = line(answer);
            client.waits = Waits::Room;
            self.flush(token);
        }
    }

    /// Sends as much of the answer as fits, and closes a client that has all of it.
    fn flush(&mut self, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        while !client.output.is_empty() {
            match client.stream.write(&client.output) {
                Ok(count) => {
                    client.output.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_gone) => break,
            }
        }
        self.clients.remove(&token);
    }

    /// Answers those whose look at a stack dump is due. `stacks`: what a process has dumped, if it
    /// still exists.
    pub(super) fn answer_stacks(
        &mut self,
        now: Monotonic,
        interval: Duration,
        stacks: impl Fn(Pid) -> Option<String>,
    ) {
        let is_due = |waits| matches!(waits, Waits::Stacks(_, due, _) if due <= now);
        for token in self.waiting(is_due) {
            let client = self.clients.get(&token);
            let Some(Waits::Stacks(pid, _, looks)) = client.map(|client| client.waits) else {
                continue;
            };
            match (stacks(pid), looks.checked_sub(1)) {
                (Some(stacks), _) if !stacks.is_empty() => {
                    self.answer(token, &Answer::done(stacks));
                }
                (Some(_), Some(looks)) => {
                    self.wait(token, Waits::Stacks(pid, now.after(interval), looks));
                }
                (_, _) => {
                    let text = format!("process {pid} gave no answer");
                    self.answer(token, &Answer::failed(text));
                }
            }
        }
    }

    /// Answers those that wait for this, a reload or a refork.
    pub(super) fn answer_all(&mut self, waiting: Waits, outcome: Result<String, String>) {
        let answer = match outcome {
            Ok(text) => Answer::done(text),
            Err(text) => Answer::failed(text),
        };
        for token in self.waiting(|waits| waits == waiting) {
            self.answer(token, &answer);
        }
    }

    fn waiting(&self, like: impl Fn(Waits) -> bool) -> Vec<usize> {
        let waiting = self.clients.iter().filter(|(_, client)| like(client.waits));
        waiting.map(|(token, _)| *token).collect()
    }
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut text = serde_json::to_vec(answer).unwrap_or_else(|error| {
        // The client says that it got no answer, and where to look.
        log::error(format_args!(
            "an answer to rcorn ctl cannot be written: {error}"
        ));
        Vec::new()
    });
    text.push(b'\n');
    text
}
