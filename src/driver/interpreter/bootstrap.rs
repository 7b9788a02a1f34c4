//! The few lines of Python that load rcorn into an interpreter, and what is said about one that
//! does not come so far.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Whence, lseek, pipe2};

use rcorn_link::Start;
use rcorn_sys::descriptor::{adopt, set_inherited};
use rcorn_sys::memfd::{self, Content};
use rcorn_sys::spawn::Spawn;
use rcorn_types::with_remedy;

use super::super::native::{Abi, ModuleFile, NativeModules};

/// The exit code of an interpreter that cannot be used, and has said why: `EX_CONFIG` of
/// sysexits.h.
pub(in super::super) const UNUSABLE_EXIT_CODE: i32 = 78;

/// The first word of the command by which an interpreter asks for another native module
/// ([`load_again`]).
pub const LOAD_FLAG: &str = "--load-module";

/// Checks the interpreter, imports the native module from its descriptor and runs it to the end.
/// Every Python must be able to read it, so that it can be told what it is.
///
/// One that needs a module of another ABI than the one it was given becomes rcorn for a moment,
/// which hands it that module, and becomes the interpreter again. That costs a second start, but
/// only where the name of the interpreter does not tell that it has no GIL ([`Abi::expected_of`]).
const BOOTSTRAP: &str = r#"
import sys
def no(why, hint):
    sys.stderr.write("rcorn: error: %s %s; hint: %s; choose another with --python\n" % (sys.executable or "python", why, hint))
    sys.exit(78)
needs = "rcorn needs CPython 3.9 or later"
v = sys.version_info
name = getattr(getattr(sys, "implementation", None), "name", "cpython")
if name != "cpython": no("is %s, for Python %d.%d" % ((name,) + v[:2]), needs)
if v < (3, 9): no("is Python %d.%d" % v[:2], needs)
if v >= (4,): no("is Python %d.%d" % v[:2], "rcorn needs CPython 3")
if sys.maxsize < 2**32: no("is a 32-bit build", "rcorn needs one of 64 bits")
native, start, program = map(int, sys.argv[1:4])
mode, abi, gate = sys.argv[4:7]
own = "abi3-py39"
if "t" in getattr(sys, "abiflags", ""):
    if v < (3, 14): no("is a free-threaded build of Python %d.%d" % v[:2], "without the GIL rcorn needs 3.14 or later; with it, python%d.%d will do" % v[:2])
    own = "cp314t" if v < (3, 15) else "abi3t-py315"
if own != abi:
    import os
    os.execv("/proc/self/fd/%d" % program, ["rcorn", "--load-module", own, str(len(sys.argv))] + sys.orig_argv)
if int(gate) >= 0:
    import posix
    if not posix.read(int(gate), 1): sys.exit(78)
    posix.close(int(gate))
try:
    import importlib.machinery, importlib.util
    loader = importlib.machinery.ExtensionFileLoader("_rcorn", "/proc/self/fd/%d" % native)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("_rcorn", loader))
    loader.exec_module(module)
except ImportError as error:
    no("cannot load rcorn's module: %s" % error, "rcorn needs a complete CPython, built for the same machine and C library as itself")
module.template(native, start, program, mode, abi)
"#;

/// An interpreter that was told to load rcorn.
#[derive(Debug)]
pub(in super::super) struct Loading {
    python: PathBuf,
    /// The start message, which it inherits.
    orders: OwnedFd,
    /// Its `PYTHONHOME`.
    home: Option<OsString>,
}

impl Loading {
    /// Starts an interpreter, with what else is in `spawn`. Returns its pid, too.
    ///
    /// The first one is started before the module is decompressed for it: it waits for the end of
    /// that when it needs the module, which is later.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, write(2), pipe(2) and open(2) of `/proc/self/exe`; that there is
    /// no place for the module; those of [`Spawn::start`]. [`not_started`] puts them into words.
    pub(in super::super) fn start(
        python: PathBuf,
        module: &mut ModuleFile,
        start: &Start,
        mode: &str,
        mut spawn: Spawn,
    ) -> io::Result<(i32, Self)> {
        let abi = module.expected_of(&python);
        let text = serde_json::to_vec(start).map_err(io::Error::other)?;
        let orders = memfd::sealed(c"rcorn-start", &text, Content::Data)?;
        let mut given = spawn.environment.iter();
        let home = given.rfind(|(name, _)| name == "PYTHONHOME");
        let home = home.map(|(_, value)| value.clone());
        let home = home.or_else(|| std::env::var_os("PYTHONHOME"));
        spawn.program.clone_from(&python);
        let loading = Self {
            python,
            orders,
            home,
        };
        let words = [mode, abi.name()];
        if let Some(blank) = module.blank(abi) {
            let (gate, opener) = pipe2(OFlag::O_CLOEXEC)?;
            let pid = loading.spawn(&spawn, words, blank.as_fd(), Some(gate.as_fd()))?;
            drop(gate);
            if module.fill(abi, blank).is_ok() {
                // Fails if it has ended, which is heard of.
                File::from(opener).write_all(&[1]).ok();
                return Ok((pid, loading));
            }
            // With the opener closed it ends, and one is started with another file.
        }
        let pid = loading.spawn(&spawn, words, module.open(abi)?, None)?;
        Ok((pid, loading))
    }

    /// Starts the interpreter. `gate`: it waits for a byte from there before it reads the module;
    /// if none comes, it ends.
    fn spawn(
        &self,
        spawn: &Spawn,
        words: [&str; 2],
        module: BorrowedFd<'_>,
        gate: Option<BorrowedFd<'_>>,
    ) -> io::Result<i32> {
        let program = open(
            "/proc/self/exe",
            OFlag::O_PATH | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let mut spawn = spawn.clone();
        // The length of the bootstrap leaves enough room for a process title.
        spawn.arguments = vec!["-c".into(), BOOTSTRAP.into()];
        for descriptor in [module, self.orders.as_fd(), program.as_fd()] {
            let number = descriptor.as_raw_fd();
            spawn.arguments.push(number.to_string().into());
            spawn.inherit.push(number);
        }
        spawn.arguments.extend(words.map(OsString::from));
        let gate = gate.map(|gate| gate.as_raw_fd());
        spawn.arguments.push(gate.unwrap_or(-1).to_string().into());
        spawn.inherit.extend(gate);
        let started = spawn.start();
        started.map_err(|error| io::Error::new(error.kind(), not_started(&self.python, &error)))
    }

    /// Whether the start message was read, which is the first thing that the native module does:
    /// both ends share one offset.
    fn is_done(&self) -> bool {
        lseek(&self.orders, 0, Whence::SeekCur).is_ok_and(|offset| offset > 0)
    }

    /// What is said about an interpreter that has ended before rcorn was loaded, unless it has said
    /// it itself. `code`: its exit code, if it had one.
    pub(in super::super) fn failure(&self, code: Option<i32>) -> Option<String> {
        if code == Some(UNUSABLE_EXIT_CODE) || self.is_done() {
            return None;
        }
        let python = self.python.display();
        let hint = match &self.home {
            Some(home) => format!(
                "PYTHONHOME is {}: it is wrong for most interpreters, so unset it",
                home.display()
            ),
            None => format!(
                "see what this says: {python} -c 'import encodings'; choose another with --python"
            ),
        };
        Some(format!(
            "{python} ended before rcorn was loaded: it is no CPython, or it is broken; hint: {hint}"
        ))
    }
}

/// Becomes an interpreter again that has found that it needs a module of another ABI: with that
/// module. `words`: the ABI, the number of Python's `sys.argv`, and the command line that it was
/// started with. Returns only if that cannot be, the exit code of an interpreter that cannot be
/// used; what is wrong is told to `complain`.
pub fn load_again(words: &[OsString], modules: NativeModules, complain: impl FnOnce(&str)) -> i32 {
    let python = words.get(2).map(PathBuf::from).unwrap_or_default();
    let asked = words
        .first()
        .and_then(|abi| abi.to_str())
        .unwrap_or_default();
    let failure = match command_with(words, modules) {
        Ok(Some(mut command)) => not_started(&python, &command.exec()),
        Ok(None) => format!(
            "{} is a free-threaded build, and this build of rcorn has no module for it ({asked}); hint: choose one with the GIL by --python",
            python.display()
        ),
        Err(error) => format!(
            "cannot load rcorn into {}: {}",
            python.display(),
            with_remedy(&error)
        ),
    };
    complain(&failure);
    UNUSABLE_EXIT_CODE
}

/// The same command line, with the module of the ABI that it asks for; `None`: there is none.
fn command_with(words: &[OsString], modules: NativeModules) -> io::Result<Option<Command>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let text = |place: usize| {
        words
            .get(place)
            .and_then(|word| word.to_str())
            .ok_or_else(wrong)
    };
    let abi = Abi::named(text(0)?).ok_or_else(wrong)?;
    let count: usize = text(1)?.parse().map_err(io::Error::other)?;
    let mut line = words.get(2..).ok_or_else(wrong)?.to_vec();
    // Python's `sys.argv` begins with "-c", in place of the bootstrap.
    let own = line
        .len()
        .checked_sub(count.saturating_sub(1))
        .ok_or_else(wrong)?;
    let given = line
        .get(own)
        .and_then(|word| word.to_str())
        .ok_or_else(wrong)?;
    let before: i32 = given.parse().map_err(io::Error::other)?;
    drop(adopt(before)?);
    let Some(native) = modules.open(abi)? else {
        return Ok(None);
    };
    set_inherited(&native, true)?;
    let given = [
        (own, native.as_raw_fd().to_string()),
        (own.saturating_add(4), abi.name().to_owned()),
    ];
    for (place, word) in given {
        *line.get_mut(place).ok_or_else(wrong)? = word.into();
    }
    let mut line = line.into_iter();
    let mut command = Command::new(line.next().ok_or_else(wrong)?);
    command.args(line);
    // The interpreter inherits it.
    let _number = native.into_raw_fd();
    Ok(Some(command))
}

/// What is said about an interpreter that could not be started.
pub(in super::super) fn not_started(python: &Path, error: &io::Error) -> String {
    let shown = python.display();
    let is_there = python.exists();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) if is_there => format!(
            "cannot start {shown}: the interpreter that its first line names, or its loader, is not there; hint: choose another \
             with --python"
        ),
        _ => format!("cannot start {shown}: {}", with_remedy(error)),
    }
}
