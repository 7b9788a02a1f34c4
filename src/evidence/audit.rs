//! Audit events (`docs.python.org/3/library/audit_events.html`).

use std::path::Path;

use nix::libc;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::deed::{By, Deed, Kind};

/// Judges an event.
pub(crate) fn judge(event: &[u8], arguments: &Bound<'_, PyTuple>) -> Option<Deed> {
    // The most frequent ones first.
    match event {
        b"open" => opened(arguments),
        b"exec"
        | b"compile"
        | b"marshal.loads"
        | b"sys._getframe"
        | b"object.__getattr__"
        | b"builtins.id" => None,
        b"os.listdir" | b"os.scandir" => is_own_process(&path(arguments, 0)?).then(own_process),
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
            let program = program.map_or_else(String::new, |program| format!(" ({program})"));
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
    let verb = match event {
        b"os.mkdir" => {
            // `os.makedirs(exist_ok=True)` does not check whether it exists.
            let path = path(arguments, 0)?;
            return (!exists(&path)).then(|| Deed::new(Kind::File, format!("makes {path}")));
        }
        b"os.link" | b"os.symlink" => {
            let made = path(arguments, 1)?;
            return (!exists(&made)).then(|| Deed::new(Kind::File, format!("makes {made}")));
        }
        b"os.rename" => "renames",
        b"os.remove" | b"os.rmdir" => "removes",
        b"os.truncate" | b"os.chmod" | b"os.chown" | b"os.lchown" | b"os.utime"
        | b"os.setxattr" | b"os.removexattr" | b"os.chflags" => "changes",
        _ => return None,
    };
    // A descriptor was judged when it was opened.
    let path = path(arguments, 0)?;
    exists(&path).then(|| Deed::new(Kind::File, format!("{verb} {path}")))
}

fn exists(path: &str) -> bool {
    Path::new(path).symlink_metadata().is_ok()
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

fn opened(arguments: &Bound<'_, PyTuple>) -> Option<Deed> {
    let flags: i32 = arguments.get_item(2).ok()?.extract().unwrap_or(0);
    let writes = flags & (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) != 0;
    // A descriptor was judged when it was opened.
    let path = path(arguments, 0)?;
    if STREAMS.contains(&path.as_str()) {
        return None;
    }
    if ["/dev/random", "/dev/urandom", "/dev/hwrng"].contains(&path.as_str())
        || path == "/proc/sys/kernel/random/uuid"
    {
        return Some(Deed::new(Kind::Random, format!("opens {path}")));
    }
    if writes {
        return Some(Deed::new(Kind::File, format!("opens {path} for writing")));
    }
    is_own_process(&path).then(own_process)
}

fn own_process() -> Deed {
    Deed::new(Kind::Identity, "reads about its own process in /proc")
}

/// Whether a path is about one process. Paths that describe the machine for any process, such as
/// mounts and control groups, are the same in all workers.
pub(crate) fn is_own_process(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/proc/") else {
        return false;
    };
    let (process, what) = rest.split_once('/').unwrap_or((rest, ""));
    let is_process = ["self", "thread-self"].contains(&process)
        || (!process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()));
    let common = ["cgroup", "mountinfo", "mounts", "exe", "root", "cwd", "net"];
    let what = what.split('/').next().unwrap_or(what);
    is_process && process != "1" && !common.contains(&what)
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
fn path(arguments: &Bound<'_, PyTuple>, place: usize) -> Option<String> {
    let item = arguments.get_item(place).ok()?;
    if let Ok(bytes) = item.cast::<PyBytes>() {
        return Some(String::from_utf8_lossy(bytes.as_bytes()).into_owned());
    }
    if let Ok(text) = item.extract::<String>() {
        return Some(text);
    }
    // An object with `__fspath__`, which may be the app's and run any code.
    let is_number = item.extract::<i64>().is_ok();
    (!is_number && !item.is_none()).then(|| item.to_string())
}
