//! The control socket, served by the arbiter's own loop: a client asks one thing in one line and gets one line
//! back, at once or when what it waits for is over.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use rcorn_arbiter::Pid;
use rcorn_control::{Answer, LONGEST, Request, place};
use rcorn_log as log;
use rcorn_settings::Settings;
use rcorn_types::Monotonic;

use super::FIRST_CLIENT;
use super::upgrade::name_beside;

/// Clients at once; more are turned away.
const MOST: usize = 64;

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
    /// Its own request has not come whole.
    Request,
    /// The end of a reload.
    Reload,
    /// The testimony of a process: the next look at that moment, and how many more after it.
    Stack(Pid, Monotonic, u32),
    /// Only that its answer fits into its socket.
    Room,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    waits: Waits,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
    clients: BTreeMap<usize, Client>,
    next: usize,
}

impl Control {
    /// Binds the socket that the settings want; beside a predecessor, which has it, under its name with `.2`. A place of
    /// our own choice that cannot be had is no reason not to serve; one that the operator named is.
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
        if let Ok(about) = path.symlink_metadata() {
            use std::os::unix::fs::FileTypeExt;
            if !about.file_type().is_socket() {
                let what = "there is a file of that name that is not a socket";
                return Err(refused(io::Error::other(what)));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(ControlError::InUse(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(refused)?;
        }
        let bind = || {
            // Nobody may connect in the moment before its permissions are set.
            let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
            let bound = UnixListener::bind(path);
            nix::sys::stat::umask(before);
            let listener = bound?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
            let about = path.symlink_metadata()?;
            Ok(Self {
                listener,
                path: path.to_owned(),
                file: (about.dev(), about.ino()),
                clients: BTreeMap::new(),
                next: FIRST_CLIENT,
            })
        };
        bind().map_err(refused)
    }

    /// What to wait on for new clients.
    pub(super) fn source(&mut self) -> &mut UnixListener {
        &mut self.listener
    }

    /// The predecessor is gone: the name that the settings want is ours.
    pub(super) fn promote(&mut self, settings: &Settings) {
        let Some(path) = settings.control_socket.as_ref() else {
            return;
        };
        if self.path == *path {
            return;
        }
        match std::fs::rename(&self.path, path) {
            Ok(()) => self.path.clone_from(path),
            Err(error) => log::warning(format_args!(
                "the control socket stays at {}: {error}",
                self.path.display()
            )),
        }
    }

    /// Removes the socket's file, if it is still ours.
    pub(super) fn remove_file(&self) {
        let ours = self
            .path
            .symlink_metadata()
            .is_ok_and(|about| (about.dev(), about.ino()) == self.file);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            log::warning(format_args!(
                "cannot remove {}: {error}",
                self.path.display()
            ));
        }
    }

    /// When the first testimony is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let due = self
            .clients
            .values()
            .filter_map(|client| match client.waits {
                Waits::Stack(_, due, _) => Some(due),
                Waits::Request | Waits::Reload | Waits::Room => None,
            });
        due.min()
    }

    /// Lets in who waits at the door.
    pub(super) fn accept(&mut self, registry: &Registry) {
        while let Ok((mut stream, _address)) = self.listener.accept() {
            // The permissions keep others out; a socket with wider ones still obeys only us and root.
            let allowed = getsockopt(&stream, PeerCredentials)
                .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw());
            if !allowed {
                drop(stream.write_all(&line(&Answer::failed("not allowed"))));
                continue;
            }
            if self.clients.len() >= MOST {
                // Whoever has said nothing so far makes room for one who may; those who wait for an answer stay.
                let silent = self.who_waits(|waits| waits == Waits::Request);
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

    /// A client's socket is ready: gives its request when it is whole.
    pub(super) fn hear(&mut self, token: usize) -> Option<Result<Request, String>> {
        let client = self.clients.get_mut(&token)?;
        if !client.output.is_empty() {
            self.flush(token);
            return None;
        }
        let mut bytes = [0; 1024];
        loop {
            match client.stream.read(&mut bytes) {
                // It may have asked, and closed its own side.
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
            if client.input.len() > LONGEST {
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

    /// Sends what fits. A client that has its answer is done.
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

    /// What this client waits for.
    pub(super) fn waits(&self, token: usize) -> Option<Waits> {
        self.clients.get(&token).map(|client| client.waits)
    }

    pub(super) fn who_waits(&self, like: impl Fn(Waits) -> bool) -> Vec<usize> {
        let waiting = self.clients.iter().filter(|(_, client)| like(client.waits));
        waiting.map(|(token, _)| *token).collect()
    }
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut text = serde_json::to_vec(answer).unwrap_or_default();
    text.push(b'\n');
    text
}
