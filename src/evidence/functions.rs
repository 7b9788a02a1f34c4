//! Functions written in C of which no audit event tells, or not in all versions.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};

use rcorn_python::modules::{is_loaded, loaded};
use rcorn_python::observe::{
    CalledWith, CannotObserve, MAX_FUNCTIONS, Observation, WritableMemory,
};

use super::audit;
use super::deed::{By, Deed, Kind};
use super::path::NamedPath;

/// The rule by which a call is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Each call counts.
    Call,
    /// A call by the app counts, directly or through the standard library.
    ByApp,
    /// A call by a line of the app counts.
    ByAppLine,
    /// A draw from a generator: see [`Generators`].
    Draw,
    /// A seed, or a state, for a generator: see [`Generators`].
    Seed,
    /// A handler of a signal, unless it is the current one.
    Handler,
    /// The target of a link, if it is about this process.
    Link,
    /// A file that is opened relative to a directory's descriptor: the audit event has not that.
    OpenAt,
}

struct Watched {
    module: &'static str,
    /// May be an attribute of an attribute: `a.b`.
    function: &'static str,
    kind: Kind,
    what: &'static str,
    rule: Rule,
}

const fn watched(
    module: &'static str,
    function: &'static str,
    kind: Kind,
    what: &'static str,
    rule: Rule,
) -> Watched {
    Watched {
        module,
        function,
        kind,
        what,
        rule,
    }
}

/// Modules that are part of every interpreter. A function that a version lacks is skipped.
#[rustfmt::skip]
const BUILT_IN: &[Watched] = &[
    watched("posix", "urandom", Kind::Random, "draws random bytes", Rule::Call),
    watched("posix", "getrandom", Kind::Random, "draws random bytes", Rule::Call),
    watched("posix", "getpid", Kind::Identity, "asks for the process id", Rule::Call),
    watched("posix", "getppid", Kind::Identity, "asks for the parent's process id", Rule::Call),
    watched("posix", "getpgrp", Kind::Identity, "asks for the process group", Rule::Call),
    watched("posix", "getpgid", Kind::Identity, "asks for the process group", Rule::Call),
    watched("posix", "getsid", Kind::Identity, "asks for the session", Rule::Call),
    watched("posix", "readlink", Kind::Identity, "reads about its own process in /proc", Rule::Link),
    watched("posix", "open", Kind::File, "opens a file", Rule::OpenAt),
    watched("posix", "pipe", Kind::Descriptor, "makes a pipe", Rule::Call),
    watched("posix", "pipe2", Kind::Descriptor, "makes a pipe", Rule::Call),
    watched("posix", "openpty", Kind::Descriptor, "makes a terminal", Rule::Call),
    watched("posix", "eventfd", Kind::Descriptor, "makes an eventfd", Rule::Call),
    watched("posix", "pidfd_open", Kind::Descriptor, "opens a process", Rule::Call),
    watched("posix", "memfd_create", Kind::SharedMemory, "makes a file in memory", Rule::Call),
    watched("posix", "timerfd_create", Kind::Timer, "makes a timer", Rule::Call),
    watched("posix", "mkfifo", Kind::File, "makes a named pipe", Rule::Call),
    watched("posix", "mknod", Kind::File, "makes a file", Rule::Call),
    watched("posix", "lockf", Kind::Lock, "locks a file", Rule::Call),
    watched("posix", "setsid", Kind::Session, "starts a session", Rule::Call),
    watched("posix", "setpgid", Kind::Session, "changes the process group", Rule::Call),
    watched("posix", "setpgrp", Kind::Session, "changes the process group", Rule::Call),
    watched("posix", "tcsetpgrp", Kind::Session, "changes the terminal's process group", Rule::Call),
    watched("posix", "register_at_fork", Kind::Fork, "registers a function for forks", Rule::ByApp),
    watched("time", "time_ns", Kind::Clock, "reads a clock in nanoseconds", Rule::Call),
    watched("time", "monotonic_ns", Kind::Clock, "reads a clock in nanoseconds", Rule::Call),
    watched("time", "perf_counter_ns", Kind::Clock, "reads a clock in nanoseconds", Rule::Call),
    watched("time", "clock_gettime_ns", Kind::Clock, "reads a clock in nanoseconds", Rule::Call),
    watched("time", "process_time_ns", Kind::Clock, "reads a clock in nanoseconds", Rule::Call),
    watched("time", "thread_time_ns", Kind::Clock, "reads a clock in nanoseconds", Rule::Call),
    watched("_thread", "start_new_thread", Kind::Thread, "starts a thread", Rule::Call),
    watched("_thread", "start_new", Kind::Thread, "starts a thread", Rule::Call),
    watched("_thread", "start_joinable_thread", Kind::Thread, "starts a thread", Rule::Call),
    watched("_thread", "get_native_id", Kind::Identity, "asks for the thread id", Rule::Call),
    watched("_thread", "get_ident", Kind::Identity, "asks for the thread id", Rule::ByAppLine),
    watched("_signal", "signal", Kind::Signal, "sets a signal handler", Rule::Handler),
    watched("_signal", "set_wakeup_fd", Kind::Signal, "sets a descriptor for signals", Rule::Call),
    watched("_signal", "siginterrupt", Kind::Signal, "changes what a signal does", Rule::Call),
    watched("_signal", "setitimer", Kind::Timer, "starts a timer", Rule::Call),
    watched("_signal", "alarm", Kind::Timer, "starts a timer", Rule::Call),
    watched("faulthandler", "register", Kind::Signal, "sets a signal handler", Rule::Call),
    watched("faulthandler", "enable", Kind::Signal, "sets handlers for fatal signals", Rule::Call),
    watched("faulthandler", "dump_traceback_later", Kind::Timer, "starts a timer", Rule::Call),
    watched("atexit", "register", Kind::Exit, "registers a function for the exit", Rule::Call),
];

/// The same for methods of the type `random.Random`.
#[rustfmt::skip]
const GENERATOR: &[Watched] = &[
    watched("_random", "random", Kind::Random, "draws a random number", Rule::Draw),
    watched("_random", "getrandbits", Kind::Random, "draws a random number", Rule::Draw),
    watched("_random", "getstate", Kind::Random, "reads a random generator", Rule::Draw),
    watched("_random", "setstate", Kind::Random, "seeds a random generator", Rule::Seed),
    watched("_random", "seed", Kind::Random, "seeds a random generator", Rule::Seed),
];

/// Modules that are watched as soon as they are imported, if that is possible.
#[rustfmt::skip]
const LATER: &[Watched] = &[
    watched("_uuid", "generate_time_safe", Kind::Random, "makes a UUID", Rule::Call),
    watched("_ssl", "RAND_bytes", Kind::Random, "draws random bytes", Rule::Call),
    watched("_ssl", "RAND_pseudo_bytes", Kind::Random, "draws random bytes", Rule::Call),
    watched("_interpreters", "create", Kind::Interpreter, SUBINTERPRETER, Rule::Call),
    watched("_xxsubinterpreters", "create", Kind::Interpreter, SUBINTERPRETER, Rule::Call),
    watched("_posixsubprocess", "fork_exec", Kind::Child, "starts a process", Rule::Call),
    watched("_posixshmem", "shm_open", Kind::SharedMemory, "opens shared memory", Rule::Call),
    watched("_posixshmem", "shm_unlink", Kind::SharedMemory, "removes shared memory", Rule::Call),
    watched("_gdbm", "open", Kind::Database, "opens a database", Rule::Call),
    watched("_dbm", "open", Kind::Database, "opens a database", Rule::Call),
    watched("_cffi_backend", "load_library", Kind::Foreign, "loads a C library", Rule::ByApp),
    watched("psycopg2._psycopg", "_connect", Kind::Database, "opens a database", Rule::Call),
    watched("pyodbc", "connect", Kind::Database, "opens a database", Rule::Call),
    watched("bcrypt._bcrypt", "gensalt", Kind::Random, "draws random bytes", Rule::Call),
    watched(OPENSSL, "openssl.rsa.generate_private_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.ec.generate_private_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.ed25519.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.x25519.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.ed448.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.x448.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.dsa.generate_parameters", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.dh.generate_parameters", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.aead.AESCCM.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.aead.AESGCM.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.aead.AESGCMSIV.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.aead.AESOCB3.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.aead.AESSIV.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.aead.ChaCha20Poly1305.generate_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.mldsa.generate_mldsa44_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.mldsa.generate_mldsa65_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.mldsa.generate_mldsa87_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.mlkem.generate_mlkem768_key", Kind::Random, "makes a key", Rule::Call),
    watched(OPENSSL, "openssl.mlkem.generate_mlkem1024_key", Kind::Random, "makes a key", Rule::Call),
    watched(SODIUM, "lib.randombytes", Kind::Random, "draws random bytes", Rule::Call),
    watched(SODIUM, "lib.crypto_box_keypair", Kind::Random, "makes a key", Rule::Call),
    watched(SODIUM, "lib.crypto_sign_keypair", Kind::Random, "makes a key", Rule::Call),
    watched(SODIUM, "lib.crypto_kx_keypair", Kind::Random, "makes a key", Rule::Call),
    watched(SODIUM, "lib.crypto_secretstream_xchacha20poly1305_keygen", Kind::Random, "makes a key", Rule::Call),
    watched(SODIUM, "lib.crypto_box_seal", Kind::Random, "makes a key", Rule::Call),
    watched(SODIUM, "lib.crypto_pwhash_str_alg", Kind::Random, "draws random bytes", Rule::Call),
];

/// The generators, by their addresses, that were given a seed by a call which was judged. That of
/// the module `random` is not for them: all code draws from it. One that is not among them has got
/// its seed from the system where no call tells of it: `_random.Random()`, also as the base of a
/// class whose `__init__` or `seed` does nothing. What is drawn from those counts.
#[derive(Debug, Default)]
pub(crate) struct Generators(Mutex<BTreeSet<usize>>);

impl Generators {
    /// Whether a draw from this generator counts.
    fn counts_draw(&self, py: Python<'_>, generator: &Bound<'_, PyAny>) -> bool {
        let seeded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        is_global(py, generator) || !seeded.contains(&generator.as_ptr().addr())
    }

    /// Notes that the generator gets a seed; whether that counts. `None`: one of the system.
    fn counts_seed(
        &self,
        py: Python<'_>,
        generator: &Bound<'_, PyAny>,
        seed: Option<&Bound<'_, PyAny>>,
    ) -> bool {
        let mut seeded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seeded.insert(generator.as_ptr().addr());
        // A fraction is a time.
        let is_own = |seed: &Bound<'_, PyAny>| seed.is_none() || seed.is_instance_of::<PyFloat>();
        is_global(py, generator) || seed.is_none_or(is_own)
    }
}

/// What a fork has not: it has the first interpreter only, and in some versions it hangs.
const SUBINTERPRETER: &str = "makes a subinterpreter";
/// The module of the library cryptography that calls OpenSSL, which draws by itself.
const OPENSSL: &str = "cryptography.hazmat.bindings._rust";
/// The module of `PyNaCl` that calls libsodium, which draws by itself.
const SODIUM: &str = "nacl._sodium";

const _: () = assert!(
    BUILT_IN.len() + GENERATOR.len() + LATER.len() <= MAX_FUNCTIONS,
    "there are numbers for all"
);

/// The entry of a number, which is its position in all tables, one after the other.
fn entry(number: usize) -> Option<&'static Watched> {
    BUILT_IN.iter().chain(GENERATOR).chain(LATER).nth(number)
}

/// What of the interpreter itself is watched from the start.
#[derive(Debug)]
pub(crate) struct Interpreter<'py> {
    /// Those of [`BUILT_IN`], once each.
    modules: Vec<(&'static str, Bound<'py, PyModule>)>,
    /// A `random.Random`.
    generator: Bound<'py, PyAny>,
}

impl<'py> Interpreter<'py> {
    /// Loads the modules.
    ///
    /// # Errors
    ///
    /// The interpreter does not have one.
    pub(crate) fn load(py: Python<'py>) -> Result<Self, CannotObserve> {
        let mut modules: Vec<(&str, Bound<'_, PyModule>)> = Vec::new();
        for Watched { module: name, .. } in BUILT_IN {
            if modules.last().is_none_or(|(last, _)| last != name) {
                let module = py.import(*name).map_err(|_error| missing(name))?;
                modules.push((name, module));
            }
        }
        let generator = py
            .import("_random")
            .and_then(|module| module.getattr("Random")?.call1((0,)))
            .map_err(|_error| missing("random.Random"))?;
        Ok(Self { modules, generator })
    }

    /// Watches all functions of modules that are loaded from the start. `memory`: that of now, with
    /// the tables of all these modules.
    ///
    /// # Errors
    ///
    /// One of the functions of the interpreter itself cannot be watched.
    pub(crate) fn watch(&self, memory: &WritableMemory) -> Result<(), CannotObserve> {
        for (number, watched) in BUILT_IN.iter().enumerate() {
            let module = self
                .modules
                .iter()
                .find(|(name, _)| *name == watched.module);
            let function = module.map(|(_, module)| module.getattr(watched.function));
            // Otherwise this version or system does not have it.
            if let Some(Ok(function)) = function {
                Observation::watch(&function, number, memory)?;
            }
        }
        for (number, watched) in (BUILT_IN.len()..).zip(GENERATOR) {
            let function = self.generator.getattr(watched.function);
            Observation::watch(
                &function.map_err(|_error| missing(watched.function))?,
                number,
                memory,
            )?;
        }
        let py = self.generator.py();
        let mut last = "";
        for Watched { module, .. } in LATER {
            if *module != last && is_loaded(py, module) {
                watch_later(py, module);
            }
            last = module;
        }
        Ok(())
    }
}

fn missing(name: &str) -> CannotObserve {
    CannotObserve::Function(name.to_owned())
}

/// Whether the audit event `import`, with these arguments, is raised before the module is imported.
pub(crate) fn is_begin_of_import(py: Python<'_>, module: &str, event: &Bound<'_, PyTuple>) -> bool {
    // The event is raised again for the file of an extension module, after its import has begun.
    event.get_item(1).is_ok_and(|file| file.is_none()) && !is_loaded(py, module)
}

/// Called before a module is imported: if it has functions to be watched, imports it first, and
/// watches them.
pub(crate) fn watch_module(py: Python<'_>, module: &str) {
    if LATER.iter().any(|watched| watched.module == module) {
        watch_later(py, module);
    }
}

fn watch_later(py: Python<'_>, name: &str) {
    // The app's own import shows the error, if there is one.
    let Ok(module) = py.import(name) else {
        return;
    };
    let memory = &WritableMemory::now();
    let first = BUILT_IN.len().saturating_add(GENERATOR.len());
    for (number, watched) in (first..).zip(LATER) {
        if watched.module == name
            && let Some(function) = attribute(&module, watched.function)
        {
            // Libraries may be built in any way. A function that cannot be watched is skipped.
            drop(Observation::watch(&function, number, memory));
        }
    }
}

fn attribute<'py>(object: &Bound<'py, PyAny>, path: &str) -> Option<Bound<'py, PyAny>> {
    path.split('.')
        .try_fold(object.clone(), |object, name| object.getattr(name).ok())
}

/// Judges a call.
pub(crate) fn judge(
    py: Python<'_>,
    generators: &Generators,
    number: usize,
    this: Option<&Bound<'_, PyAny>>,
    arguments: &CalledWith<'_>,
) -> Option<Deed> {
    let watched = entry(number)?;
    let mut deed = Deed::new(watched.kind, watched.what);
    match watched.rule {
        Rule::Call => {}
        Rule::ByApp => deed.by = By::App,
        Rule::ByAppLine => deed.by = By::AppLine,
        Rule::Draw => {
            if !generators.counts_draw(py, this?) {
                return None;
            }
        }
        Rule::Seed => {
            if !generators.counts_seed(py, this?, arguments.at(0)) {
                return None;
            }
        }
        Rule::Handler => {
            let signal = arguments.at(0)?;
            if is_handler(signal, arguments.at(1)?) {
                return None;
            }
            deed.what = format!("sets a handler for {}", signal_name(signal));
        }
        Rule::Link => {
            if !path_of(arguments)?.is_link_to_own_process() {
                return None;
            }
        }
        Rule::OpenAt => return opened_at(arguments),
    }
    Some(deed)
}

/// `os.open(path, flags, mode, *, dir_fd)`.
fn opened_at(arguments: &CalledWith<'_>) -> Option<Deed> {
    arguments.named("dir_fd").filter(|fd| !fd.is_none())?;
    let flags = arguments.at(1).or_else(|| arguments.named("flags"))?;
    audit::opened(&path_of(arguments)?, flags.extract().ok()?)
}

/// The arguments `path` and `dir_fd` of a function of `os`.
fn path_of(arguments: &CalledWith<'_>) -> Option<NamedPath> {
    let path = arguments.at(0).or_else(|| arguments.named("path"))?;
    Some(NamedPath::of(path)?.beside(arguments.named("dir_fd")))
}

/// Whether it is the handler of the signal already.
fn is_handler(signal: &Bound<'_, PyAny>, wanted: &Bound<'_, PyAny>) -> bool {
    let get = signal
        .py()
        .import("_signal")
        .and_then(|module| module.getattr("getsignal"));
    let present = get.and_then(|get| get.call1((signal,)));
    present.is_ok_and(|present| present.eq(wanted).unwrap_or(false))
}

/// Whether it is the generator of the module `random`.
fn is_global(py: Python<'_>, generator: &Bound<'_, PyAny>) -> bool {
    let global = loaded(py, "random").and_then(|module| module.getattr("_inst").ok());
    global.is_some_and(|global| global.is(generator))
}

fn signal_name(signal: &Bound<'_, PyAny>) -> String {
    let number: i32 = signal.extract().unwrap_or(0);
    nix::sys::signal::Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}
