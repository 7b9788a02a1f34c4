//! The listening sockets: bound, inherited, passed on, closed. The arbiter owns them; workers share them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::link::{self, ListenerKind};
use crate::log;
use crate::settings::{Address, Settings};
use crate::sys::net;
use crate::sys::process::adopt;
use crate::sys::user::Identity;

/// How long the kernel may keep a connection without bytes from us: it wakes us with the request instead.
const DEFER: Duration = Duration::from_secs(1);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address belongs to somebody else.
    #[error("{address} is in use")]
    InUse {
        /// As gunicorn prints it.
        address: String,
        /// The errno's text.
        source: io::Error,
    },
    /// It cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Refused {
        /// As one would type it.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The descriptor is not a listening socket.
    #[error("fd://{0} is not a listening stream socket{1}")]
    NotListening(RawFd, &'static str),
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    /// What it was made from; `None` for one that systemd gave.
    pub(super) address: Option<Address>,
    socket: Socket,
    kind: ListenerKind,
    host: String,
    port: String,
    shown: String,
    /// systemd holds it too: its queue outlives us, and is not ours to stop.
    is_systemds: bool,
    /// New connections are being refused.
    is_shut: bool,
    /// The file of a unix socket, with device and inode.
    file: Option<(PathBuf, u64, u64)>,
}

impl Listener {
    /// `http://127.0.0.1:8000`, `unix:/run/x.sock`: as gunicorn's start line has it.
    #[must_use]
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Its descriptor's number.
    pub(super) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// A socket from another arbiter: from the one in whose place we are (then its file is ours), or from the one
    /// beside us.
    pub(super) fn hand_over(
        socket: OwnedFd,
        address: Option<Address>,
        whole: bool,
    ) -> io::Result<Self> {
        super::handover::keep(socket.as_raw_fd(), false)?;
        let mut listener = Self::wrap(Socket::from(socket), address)?;
        if whole {
            listener.own_file();
        }
        Ok(listener)
    }

    /// Its descriptor.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// systemd has it too.
    pub(super) fn is_stored(&mut self) {
        self.is_systemds = true;
    }

    fn is_bound_to(&self, address: &Address) -> bool {
        let Ok(local) = self.socket.local_addr() else {
            return false;
        };
        match address {
            Address::Tcp { host, port } => (host.as_str(), *port)
                .to_socket_addrs()
                .is_ok_and(|mut found| found.next().map(SockAddr::from).as_ref() == Some(&local)),
            Address::Unix(path) => local.as_pathname() == Some(path),
            Address::Abstract(name) => local.as_abstract_namespace() == Some(name.as_bytes()),
            Address::Fd(_) => false,
        }
    }

    /// The file of a unix socket that is there now is ours to remove.
    pub(super) fn own_file(&mut self) {
        if let Some(Address::Unix(path)) = &self.address
            && let Ok(about) = path.symlink_metadata()
        {
            self.file = Some((path.clone(), about.dev(), about.ino()));
        }
    }

    /// How templates and workers know it.
    #[must_use]
    pub(super) fn for_link(&self) -> link::Listener {
        link::Listener {
            fd: self.socket.as_raw_fd(),
            kind: self.kind,
            host: self.host.clone(),
            port: self.port.clone(),
        }
    }

    /// Nobody new gets in; who is in the queue stays there.
    pub(super) fn shut_the_door(&mut self, shared: bool) {
        if self.is_systemds || shared {
            return;
        }
        self.remove_file();
        self.is_shut = true;
        if self.kind == ListenerKind::Tcp
            && let Err(error) = net::refuse_new_connections(self.socket.as_fd())
        {
            log::debug(format_args!(
                "{}: connections stay welcome while stopping: {error}",
                self.shown
            ));
        }
    }

    /// Undoes it, for others who may hold the same socket.
    pub(super) fn open_the_door(&self) {
        if self.is_shut && self.kind == ListenerKind::Tcp {
            drop(net::accept_new_connections(self.socket.as_fd()));
        }
    }

    /// Removes the unix socket's file, if it is still ours.
    pub(super) fn remove_file(&mut self) {
        let Some((path, device, inode)) = self.file.take() else {
            return;
        };
        // Clients find the socket that systemd keeps by it.
        if self.is_systemds {
            return;
        }
        let ours = path
            .symlink_metadata()
            .is_ok_and(|now| now.dev() == device && now.ino() == inode);
        if ours && let Err(error) = std::fs::remove_file(&path) {
            log::warning(format_args!("cannot remove {}: {error}", path.display()));
        }
    }

    fn wrap(socket: Socket, address: Option<Address>) -> io::Result<Self> {
        let is_systemds = address.is_none();
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let (kind, host, port, shown) = if let Some(ip) = local.as_socket() {
            let (host, port) = (ip.ip().to_string(), ip.port().to_string());
            (ListenerKind::Tcp, host, port, format!("http://{ip}"))
        } else {
            let shown = match (local.as_pathname(), local.as_abstract_namespace()) {
                (Some(path), _) => format!("unix:{}", path.display()),
                (None, Some(name)) => format!("unix:@{}", String::from_utf8_lossy(name)),
                (None, None) => "unix:".to_owned(),
            };
            (ListenerKind::Unix, String::new(), String::new(), shown)
        };
        if kind == ListenerKind::Tcp {
            // Accepted sockets inherit it: no call for each connection.
            socket.set_tcp_nodelay(true)?;
        }
        Ok(Self {
            address,
            socket,
            kind,
            host,
            port,
            shown,
            is_systemds,
            is_shut: false,
            file: None,
        })
    }
}

/// Sockets that systemd passes: `LISTEN_FDS` of them from descriptor 3 on, if `LISTEN_PID` is us
/// (`sd_listen_fds(3)`). The caller removes the variables.
pub(super) fn from_systemd(
    environment: &dyn Fn(&str) -> Option<String>,
    pid: u32,
) -> Result<Vec<Listener>, ListenError> {
    let number = |name: &str| environment(name).and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(pid) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS")
        .and_then(|count| RawFd::try_from(count).ok())
        .unwrap_or(0);
    (3..count.saturating_add(3))
        .map(|fd| inherit(fd, None))
        .collect()
}

/// The name under which our sockets lie in systemd's store of descriptors.
pub(super) const STORED: &str = "rcorn";

/// Sockets that we left in systemd's store before a restart: each gets back the address of `bind` that it has. One
/// whose address is not wanted any more is closed.
pub(super) fn recognised(stored: Vec<Listener>, settings: &Settings) -> Vec<Listener> {
    let mut known = Vec::new();
    for mut listener in stored {
        let address = settings
            .bind
            .iter()
            .find(|address| listener.is_bound_to(address));
        if let Some(address) = address {
            listener.address = Some(address.clone());
            listener.own_file();
            known.push(listener);
        }
    }
    known
}

/// The sockets of new settings: those of `before` that stay, by their index there, and new ones.
#[derive(Debug)]
pub(super) struct Plan {
    /// For each address: an index into the old sockets, or new sockets.
    parts: Vec<Result<usize, Vec<Listener>>>,
}

/// Opens what the settings want and `before` does not have. Nothing of `before` changes yet.
pub(super) fn plan(settings: &Settings, before: &[Listener]) -> Result<Plan, ListenError> {
    let mut parts = Vec::new();
    for address in &settings.bind {
        let same = before
            .iter()
            .position(|old| old.address.as_ref() == Some(address));
        parts.push(match same {
            Some(index) => Ok(index),
            None => Err(open(address, settings)?),
        });
    }
    Ok(Plan { parts })
}

impl Plan {
    /// All sockets of the plan, in the order of `bind`.
    pub(super) fn sockets<'a>(&'a self, before: &'a [Listener]) -> Vec<&'a Listener> {
        let mut all = Vec::new();
        for part in &self.parts {
            match part {
                Ok(index) => all.extend(before.get(*index)),
                Err(new) => all.extend(new),
            }
        }
        all
    }

    /// Puts the plan into force; what is not wanted any more is closed.
    pub(super) fn commit(self, before: &mut Vec<Listener>) {
        let mut old: Vec<Option<Listener>> = std::mem::take(before).into_iter().map(Some).collect();
        for part in self.parts {
            match part {
                Ok(index) => before.extend(old.get_mut(index).and_then(Option::take)),
                Err(new) => before.extend(new),
            }
        }
        for mut listener in old.into_iter().flatten() {
            listener.remove_file();
        }
    }

    /// Gives the plan up: new unix sockets leave no file behind.
    pub(super) fn discard(self) {
        for mut listener in self.parts.into_iter().filter_map(Result::err).flatten() {
            listener.remove_file();
        }
    }
}

fn open(address: &Address, settings: &Settings) -> Result<Vec<Listener>, ListenError> {
    match address {
        Address::Tcp { host, port } => tcp(address, host, *port, settings),
        Address::Unix(path) => Ok(vec![unix(address, path, settings)?]),
        Address::Abstract(name) => {
            let bind = || {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                // A leading NUL makes the name abstract (unix(7)).
                socket.bind(&SockAddr::unix(Path::new(&format!("\0{name}")))?)?;
                socket.listen(backlog(settings))?;
                Listener::wrap(socket, Some(address.clone()))
            };
            Ok(vec![bind().map_err(|source| refused(address, source))?])
        }
        Address::Fd(fd) => Ok(vec![inherit(*fd, Some(address.clone()))?]),
    }
}

fn backlog(settings: &Settings) -> i32 {
    i32::try_from(settings.backlog).unwrap_or(i32::MAX)
}

fn refused(address: &Address, source: io::Error) -> ListenError {
    let address = address.to_string();
    if source.kind() == io::ErrorKind::AddrInUse {
        ListenError::InUse { address, source }
    } else {
        ListenError::Refused { address, source }
    }
}

fn tcp(
    address: &Address,
    host: &str,
    port: u16,
    settings: &Settings,
) -> Result<Vec<Listener>, ListenError> {
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|source| refused(address, source))?;
    let mut made: Vec<Listener> = Vec::new();
    for ip in found {
        // A name such as localhost may give the same address twice.
        if made
            .iter()
            .any(|listener| listener.socket.local_addr().ok() == Some(ip.into()))
        {
            continue;
        }
        made.push(tcp_one(address, ip, settings)?);
        // As gunicorn: a name means its first address.
        break;
    }
    if made.is_empty() {
        return Err(refused(
            address,
            io::Error::other("the name has no address"),
        ));
    }
    Ok(made)
}

fn tcp_one(
    address: &Address,
    ip: SocketAddr,
    settings: &Settings,
) -> Result<Listener, ListenError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(ip), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if settings.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if ip.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&ip.into())?;
        net::defer_accept(socket.as_fd(), DEFER)?;
        socket.listen(backlog(settings))?;
        Listener::wrap(socket, Some(address.clone()))
    };
    bind().map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            // gunicorn prints Python's form of the address; people grep for it.
            let address = format!("('{}', {})", ip.ip(), ip.port());
            ListenError::InUse { address, source }
        } else {
            refused(address, source)
        }
    })
}

fn unix(address: &Address, path: &Path, settings: &Settings) -> Result<Listener, ListenError> {
    if let Ok(about) = path.symlink_metadata() {
        use std::os::unix::fs::FileTypeExt;
        if !about.file_type().is_socket() {
            let source = io::Error::other("there is a file of that name that is not a socket");
            return Err(refused(address, source));
        }
        // Somebody answers: it is not ours to take. Nobody does: a left-over of a crash.
        if UnixStream::connect(path).is_ok() {
            let source = io::Error::from(io::ErrorKind::AddrInUse);
            return Err(ListenError::InUse {
                address: address.to_string(),
                source,
            });
        }
        std::fs::remove_file(path).map_err(|source| refused(address, source))?;
    }
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let before = umask(Mode::from_bits_truncate(settings.umask.bits()));
        let bound = socket.bind(&SockAddr::unix(path)?);
        umask(before);
        bound?;
        socket.listen(backlog(settings))?;
        give_to_worker_user(path, settings)?;
        let mut listener = Listener::wrap(socket, Some(address.clone()))?;
        let about = path.symlink_metadata()?;
        listener.file = Some((path.to_owned(), about.dev(), about.ino()));
        Ok(listener)
    };
    bind().map_err(|source| refused(address, source))
}

/// The socket belongs to the user and group of the workers, as gunicorn's does: a proxy in that group may connect.
fn give_to_worker_user(path: &Path, settings: &Settings) -> io::Result<()> {
    let identity = Identity::find(settings.user.as_deref(), settings.group.as_deref())?;
    if identity.is_current() {
        return Ok(());
    }
    std::os::unix::fs::chown(
        path,
        Some(identity.uid.as_raw()),
        Some(identity.gid.as_raw()),
    )
}

/// Takes over a listening socket that our parent opened.
fn inherit(fd: RawFd, address: Option<Address>) -> Result<Listener, ListenError> {
    let owned: OwnedFd =
        adopt(fd).map_err(|_closed| ListenError::NotListening(fd, ": it is not open"))?;
    let socket = Socket::from(owned);
    let stream = socket.r#type().is_ok_and(|kind| kind == Type::STREAM);
    if !stream {
        return Err(ListenError::NotListening(fd, ""));
    }
    if !socket.is_listener().unwrap_or(false) {
        // Bound but not listening yet: that is ours to do.
        socket
            .listen(2048)
            .map_err(|_refused| ListenError::NotListening(fd, ": it cannot listen"))?;
    }
    Listener::wrap(socket, address)
        .map_err(|_odd| ListenError::NotListening(fd, ": it has no address"))
}
