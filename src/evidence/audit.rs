//! Audit events (`docs.python.org/3/library/audit_events.html`).

use nix::libc;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::deed::{By, Deed, Kind};
use super::path::{NamedPath, Source};

/// Judges an event.
pub(crate) fn judge(event: &[u8], arguments: &Bound<'_, PyTuple>) -> Option<Deed> {
    // The most frequent ones first.
    match event {
        b"open" => {
            let flags = arguments.get_item(2).ok()?.extract().unwrap_or(0);
            opened(&path(arguments, 0)?, flags)
        }
        b"exec"
        | b"compile"
        | b"marshal.loads"
        | b"sys._getframe"
        | b"object.__getattr__"
        | b"builtins.id" => None,
        b"os.listdir" | b"os.scandir" => listed(arguments),
        b"sqlite3.connect" => Some(Deed::new(Kind::Database, "opens a database")),
        b"mmap.__new__" => mapped(arguments),
        b"ctypes.dlsym" | b"ctypes.dlsym/handle" => {
            let name = arguments.get_item(1).ok()?;
            let mut deed = Deed::new(Kind::Foreign, format!("calls the C function {name}"));
            deed.by = By::App;
            Some(deed)
        }
        b"subprocess.Popen" | b"os.posix_spawn" | b"os.spawn" | b"os.exec" => {
            let program = path(arguments, 0);
            let program = program.map_or_else(String::new, |path| format!(" ({})", path.name));
            Some(Deed::new(Kind::Child, format!("starts a process{program}")))
        }
        b"os.system" | b"pty.spawn" => Some(Deed::new(Kind::Child, "starts a process")),
        b"os.fork" | b"os.forkpty" => Some(Deed::new(Kind::Child, "forks")),
        b"os.kill" | b"os.killpg" | b"signal.pthread_kill" => sent(arguments),
        b"syslog.openlog" | b"syslog.syslog" => {
            Some(Deed::new(Kind::Socket, "writes to the system's log"))
        }
        b"socket.__new__" | b"socket.connect" | b"socket.bind" => {
            Some(Deed::new(Kind::Socket, "makes a socket"))
        }
        b"fcntl.flock" | b"fcntl.lockf" => Some(Deed::new(Kind::Lock, "locks a file")),
        b"fcntl.fcntl" => locked(arguments),
        _ => changed(event, arguments),
    }
}

/// A change of the file system, except through an open file.
fn changed(event: &[u8], arguments: &Bound<'_, PyTuple>) -> Option<Deed> {
    // Paths may be relative to an open directory, whose argument comes last.
    let (verb, folder) = match event {
        b"os.mkdir" => {
            // `os.makedirs(exist_ok=True)` does not check whether it exists.
            return made(&path_beside(arguments, 0, 2)?);
        }
        b"os.link" => return made(&path_beside(arguments, 1, 3)?),
        b"os.symlink" => return made(&path_beside(arguments, 1, 2)?),
        b"os.rename" => ("renames", 2),
        b"os.remove" | b"os.rmdir" => ("removes", 1),
        b"os.chmod" => ("changes", 2),
        b"os.chown" | b"os.utime" => ("changes", 3),
        b"os.truncate" | b"os.lchown" | b"os.setxattr" | b"os.removexattr" | b"os.chflags" => {
            // They have none.
            ("changes", usize::MAX)
        }
        _ => return None,
    };
    // A descriptor was judged when it was opened.
    let path = path_beside(arguments, 0, folder)?;
    let what = || format!("{verb} {}", path.name);
    path.exists().then(|| Deed::new(Kind::File, what()))
}

fn made(path: &NamedPath) -> Option<Deed> {
    let what = || format!("makes {}", path.name);
    (!path.exists()).then(|| Deed::new(Kind::File, what()))
}

fn listed(arguments: &Bound<'_, PyTuple>) -> Option<Deed> {
    let is_default = arguments.get_item(0).is_ok_and(|path| path.is_none());
    let path = if is_default {
        NamedPath::here()
    } else {
        path(arguments, 0)?
    };
    (path.source() == Some(Source::OwnProcess)).then(own_process)
}

/// The names of the standard streams, which all processes have in common.
const STREAMS: [&str; 9] = [
    "/dev/null",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/fd/1",
    "/dev/fd/2",
    "/proc/self/fd/1",
    "/proc/self/fd/2",
    "/proc/1/fd/1",
    "/proc/1/fd/2",
];

/// What opening a file amounts to.
pub(crate) fn opened(path: &NamedPath, flags: i32) -> Option<Deed> {
    let writes = flags & (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) != 0;
    if STREAMS.contains(&path.name.as_str()) {
        return None;
    }
    let source = path.source();
    if source == Some(Source::Random) {
        let what = format!("opens {}, which gives random numbers", path.name);
        return Some(Deed::new(Kind::Random, what));
    }
    if writes {
        let what = format!("opens {} for writing", path.name);
        return Some(Deed::new(Kind::File, what));
    }
    (source == Some(Source::OwnProcess)).then(own_process)
}

fn own_process() -> Deed {
    Deed::new(Kind::Identity, "reads about its own process in /proc")
}

fn mapped(arguments: &Bound<'_, PyTuple>) -> Option<Deed> {
    let number = |place| {
        let item = arguments.get_item(place).ok()?;
        item.extract::<i64>().ok()
    };
    // `ACCESS_READ` and `ACCESS_COPY`.
    let is_private = matches!(number(2), Some(1 | 3));
    (!is_private).then(|| Deed::new(Kind::SharedMemory, "maps memory for writing"))
}

fn locked(arguments: &Bound<'_, PyTuple>) -> Option<Deed> {
    let command: i32 = arguments.get_item(1).ok()?.extract().ok()?;
    let locks = [
        libc::F_SETLK,
        libc::F_SETLKW,
        libc::F_OFD_SETLK,
        libc::F_OFD_SETLKW,
        libc::F_SETLEASE,
    ];
    locks
        .contains(&command)
        .then(|| Deed::new(Kind::Lock, "locks a file"))
}

fn sent(arguments: &Bound<'_, PyTuple>) -> Option<Deed> {
    let number: i32 = arguments.get_item(1).ok()?.extract().ok()?;
    // 0 only checks whether there is such a process.
    (number != 0).then(|| Deed::new(Kind::Signal, "sends a signal"))
}

/// An argument that is a path; `None` for a descriptor.
fn path(arguments: &Bound<'_, PyTuple>, place: usize) -> Option<NamedPath> {
    NamedPath::of(&arguments.get_item(place).ok()?)
}

/// The same beside an open directory, which another argument is.
fn path_beside(arguments: &Bound<'_, PyTuple>, place: usize, folder: usize) -> Option<NamedPath> {
    let folder = arguments.get_item(folder).ok();
    Some(path(arguments, place)?.beside(folder.as_ref()))
}
