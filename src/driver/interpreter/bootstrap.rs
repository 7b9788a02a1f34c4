//! The few lines of Python that load rcorn into an interpreter, and what is said about one that
//! does not come so far.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use rcorn_link::Start;
use rcorn_sys::memfd::{self, Content};
use rcorn_sys::spawn::Spawn;
use rcorn_types::with_remedy;

use super::super::native::NativeModule;

/// The exit code of an interpreter that cannot be used, and has said why: `EX_CONFIG` of
/// sysexits.h.
pub(in super::super) const UNUSABLE_EXIT_CODE: i32 = 78;

/// Checks the interpreter, imports the native module from its descriptor and runs it to the end.
/// Every Python must be able to read it, so that it can be told what it is.
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
if "t" in getattr(sys, "abiflags", ""): no("is a free-threaded build", "rcorn needs one with the GIL, such as python%d.%d" % v[:2])
native, start, mode = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
try:
    import importlib.machinery, importlib.util
    loader = importlib.machinery.ExtensionFileLoader("_rcorn", "/proc/self/fd/%d" % native)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("_rcorn", loader))
    loader.exec_module(module)
except ImportError as error:
    no("cannot load rcorn's module: %s" % error, "rcorn needs a complete CPython, built for the same machine and C library as itself")
module.template(native, start, mode)
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
    /// # Errors
    ///
    /// Those of `memfd_create(2)` and write(2); that there is no place for the module; those of
    /// [`Spawn::start`]. [`not_started`] puts them into words.
    pub(in super::super) fn start(
        python: PathBuf,
        module: NativeModule,
        start: &Start,
        mode: &str,
        mut spawn: Spawn,
    ) -> io::Result<(i32, Self)> {
        let native = module.open()?;
        let text = serde_json::to_vec(start).map_err(io::Error::other)?;
        let orders = memfd::sealed(c"rcorn-start", &text, Content::Data)?;
        let mut given = spawn.environment.iter();
        let home = given.rfind(|(name, _)| name == "PYTHONHOME");
        let home = home.map(|(_, value)| value.clone());
        let home = home.or_else(|| std::env::var_os("PYTHONHOME"));
        spawn.program.clone_from(&python);
        // The length of the bootstrap leaves enough room for a process title.
        spawn.arguments = vec!["-c".into(), BOOTSTRAP.into()];
        for descriptor in [native.as_raw_fd(), orders.as_raw_fd()] {
            spawn.arguments.push(descriptor.to_string().into());
            spawn.inherit.push(descriptor);
        }
        spawn.arguments.push(mode.into());
        let started = spawn.start();
        let pid =
            started.map_err(|error| io::Error::new(error.kind(), not_started(&python, &error)))?;
        let loading = Self {
            python,
            orders,
            home,
        };
        Ok((pid, loading))
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
