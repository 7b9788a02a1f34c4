//! What a server is started with: socket, arguments, files, environment. Everything that could leak
//! in from the machine or the test runner is removed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::start;
use super::server::{Kit, Server};
use super::{Deadline, Gate, Notify, Place};

/// How long a test may take with one server.
const PATIENCE: Duration = Duration::from_secs(30);
/// Variables of the machine or of the test runner that would change what the server does.
const FOREIGN: [&str; 16] = [
    "FDSTORE",
    "GUNICORN_CMD_ARGS",
    "GUNICORN_FD",
    "GUNICORN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "PORT",
    "PYTHONPATH",
    "RCORN_CMD_ARGS",
    "RCORN_HANDOVER",
    "SENDFILE",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "WEB_CONCURRENCY",
];

/// What a server is to be started with.
#[derive(Debug)]
pub(crate) struct Builder {
    app: Option<OsString>,
    program: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    python: Option<PathBuf>,
    listen: Listen,
    keeps_listener: bool,
    inherited: Vec<RawFd>,
    files: Vec<(PathBuf, String)>,
    allowed: Vec<String>,
    patience: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Listen {
    Tcp,
    Unix,
    Nowhere,
}

/// rcorn itself.
fn usual_program() -> OsString {
    let program = std::env::var_os("RCORN_UNDER_TEST");
    program.unwrap_or_else(|| env!("CARGO_BIN_EXE_rcorn").into())
}

impl Builder {
    /// The default server, for this app.
    pub(super) fn new(app: Option<OsString>) -> Self {
        Self {
            app,
            program: vec![usual_program()],
            arguments: Vec::new(),
            environment: Vec::new(),
            python: None,
            listen: Listen::Tcp,
            keeps_listener: false,
            inherited: Vec::new(),
            files: Vec::new(),
            allowed: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// Runs another program, with its first arguments, instead of rcorn.
    pub(crate) fn program(mut self, words: impl IntoIterator<Item: Into<OsString>>) -> Self {
        self.program = words.into_iter().map(Into::into).collect();
        self
    }

    /// Adds arguments, before the app.
    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item: Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Chooses the interpreter. Without it `RCORN_TEST_PYTHON` does, if rcorn is started as usual;
    /// or the server.
    pub(crate) fn python(mut self, path: impl Into<PathBuf>) -> Self {
        self.python = Some(path.into());
        self
    }

    /// Listens on a unix socket.
    pub(crate) fn unix(mut self) -> Self {
        self.listen = Listen::Unix;
        self
    }

    /// Passes no socket on: the server binds its own, or none.
    pub(crate) fn unbound(mut self) -> Self {
        self.listen = Listen::Nowhere;
        self
    }

    /// Keeps the test's copy of the listening socket open, as systemd does: after the server's end
    /// connections wait in the queue instead of being refused.
    pub(crate) fn keep_listener(mut self) -> Self {
        self.keeps_listener = true;
        self
    }

    /// Passes another descriptor on, under the same number.
    pub(crate) fn inherit(mut self, descriptor: RawFd) -> Self {
        self.inherited.push(descriptor);
        self
    }

    /// Writes a file to the server's directory, which then is also its `chdir`.
    pub(crate) fn file(mut self, name: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Tells the app where this gate is.
    pub(crate) fn gate(mut self, gate: &Gate) -> Self {
        self.environment.extend(gate.variables());
        self
    }

    /// Sends notifications to this socket.
    pub(crate) fn notify(self, notify: &Notify) -> Self {
        self.env("NOTIFY_SOCKET", notify.path())
    }

    /// Expects complaints that contain this text.
    pub(crate) fn allow(mut self, text: impl Into<String>) -> Self {
        self.allowed.push(text.into());
        self
    }

    /// Sets a deadline other than 30 seconds.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts the server.
    pub(crate) fn start(self) -> Server {
        let directory = TempDir::with_prefix("rcorn-test-").unwrap();
        for (name, text) in &self.files {
            write(&directory.path().join(name), text);
        }
        let (listener, place) = self.listen.bind(directory.path());
        let mut command = self.command(directory.path(), listener.as_ref());
        let ours = listener.iter().map(AsRawFd::as_raw_fd);
        let inherit = ours.chain(self.inherited.iter().copied()).collect();
        let child = start(&mut command, inherit).unwrap();
        let kit = Kit {
            place,
            directory,
            allowed: self.allowed,
            deadline: Deadline::after(self.patience),
            _listener: listener.filter(|_| self.keeps_listener),
        };
        Server::new(child, kit)
    }

    /// How many threads the workers get: `RCORN_TEST_THREADS`, unless the test itself says it, in
    /// an argument, a variable or a file, or runs another program.
    fn threads(&self) -> Option<OsString> {
        let threads = std::env::var_os("RCORN_TEST_THREADS")?;
        let says = |text: &OsStr| text.to_string_lossy().contains("threads");
        let variables = self.environment.iter().map(|(_, value)| value);
        let is_said = self
            .arguments
            .iter()
            .chain(variables)
            .any(|word| says(word))
            || self.files.iter().any(|(_, text)| text.contains("threads"));
        let is_own = self.program == [usual_program()];
        (self.app.is_some() && is_own && !is_said).then_some(threads)
    }

    fn command(&self, directory: &Path, listener: Option<&OwnedFd>) -> Command {
        let (program, first) = self.program.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(first).current_dir(directory);
        if let Some(listener) = listener {
            command.args([
                "--bind".to_owned(),
                format!("fd://{}", listener.as_raw_fd()),
            ]);
        }
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps");
        let chdir = if self.files.is_empty() {
            apps.as_path()
        } else {
            directory
        };
        if self.app.is_some() {
            command.arg("--chdir").arg(chdir);
        }
        let python = self.python.clone().map(PathBuf::into_os_string);
        for name in FOREIGN {
            command.env_remove(name);
        }
        // A test that starts rcorn in another way, or in an environment, knows why.
        let is_usual = self.program == [usual_program()]
            && self
                .environment
                .iter()
                .all(|(name, _)| name != "VIRTUAL_ENV");
        let usual = || std::env::var_os("RCORN_TEST_PYTHON").filter(|_| is_usual);
        if let Some(python) = python.or_else(usual) {
            command.arg("--python").arg(python);
        }
        if let Some(threads) = self.threads() {
            command.arg("--threads").arg(threads);
        }
        command.args(&self.arguments).args(&self.app);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Whether workers have several threads where the test does not say how many.
pub(crate) fn have_threads() -> bool {
    std::env::var("RCORN_TEST_THREADS").is_ok_and(|threads| threads != "1")
}

impl Listen {
    fn bind(self, directory: &Path) -> (Option<OwnedFd>, Option<Place>) {
        match self {
            Self::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let place = Place::Tcp(listener.local_addr().unwrap());
                (Some(listener.into()), Some(place))
            }
            Self::Unix => {
                // Not in the server's directory, in which no socket may be left.
                let folder = directory.join("listener");
                fs::create_dir(&folder).unwrap();
                let path = folder.join("socket");
                let listener = UnixListener::bind(&path).unwrap();
                (Some(listener.into()), Some(Place::Unix(path)))
            }
            Self::Nowhere => (None, None),
        }
    }
}

/// Writes a file in one step: a server that reads it meanwhile sees the old contents or the new.
pub(super) fn write(path: &Path, text: &str) {
    let folder = path.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    let draft = folder.join(format!(
        ".{}",
        path.file_name().and_then(OsStr::to_str).unwrap()
    ));
    fs::write(&draft, text).unwrap();
    fs::rename(&draft, path).unwrap();
}
