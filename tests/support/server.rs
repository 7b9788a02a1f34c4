//! A server under test, as a value: built, started, asked, stopped. The test binds the listening socket
//! and passes it on, so that nothing waits for "it listens": the kernel queues the connection. Each server
//! has one deadline; when a test fails, its log and its processes are printed, and its group is killed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::process::{describe_group, reap_group, start};
use super::{
    Deadline, Gate, Notify, Output, Pidfd, Place, Reply, Wire, children, title, wait_until,
};

/// How long a test may take with one server.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long after the arbiter's end the last of its processes may need to end too.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// Variables of the machine or of the test runner that would change what the server does.
const FOREIGN: [&str; 12] = [
    "GUNICORN_CMD_ARGS",
    "GUNICORN_FD",
    "GUNICORN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "PORT",
    "PYTHONPATH",
    "SENDFILE",
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

impl Builder {
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

    /// Chooses the interpreter. Without it `RCORN_TEST_PYTHON` does, or the server itself.
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

    /// Keeps the test's copy of the listening socket open, as systemd does: connections then wait in the
    /// queue when the server is gone, and are not refused.
    pub(crate) fn keep_listener(mut self) -> Self {
        self.keeps_listener = true;
        self
    }

    /// Writes a file to the server's directory, which is then also where its app is looked for.
    pub(crate) fn file(mut self, name: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Lets the app reach for this gate.
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

    /// Another deadline than the usual 30 seconds.
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
        let inherit = listener.iter().map(AsRawFd::as_raw_fd).collect();
        let mut child = start(&mut command, inherit).unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let deadline = Deadline::after(self.patience);
        let output = Output::new(deadline);
        output.collect("stdout", child.stdout.take().unwrap());
        output.collect("stderr", child.stderr.take().unwrap());
        Server {
            child,
            pid,
            // The child is not waited for yet, so the pid is its own.
            pidfd: Pidfd::open(pid).unwrap(),
            output,
            place,
            deadline,
            directory,
            allowed: self.allowed,
            is_done: false,
            _listener: listener.filter(|_| self.keeps_listener),
        }
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
        if let Some(python) = python.or_else(|| std::env::var_os("RCORN_TEST_PYTHON")) {
            command.arg("--python").arg(python);
        }
        command.args(&self.arguments).args(&self.app);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
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
                // Not in the server's directory, which must be free of sockets in the end.
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

/// A running server. It must be ended by [`Server::stop`], [`Server::exit`], [`Server::finish`] or
/// [`Server::kill`].
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pid: Pid,
    pidfd: Pidfd,
    output: Output,
    place: Option<Place>,
    deadline: Deadline,
    directory: TempDir,
    allowed: Vec<String>,
    is_done: bool,
    _listener: Option<OwnedFd>,
}

/// A server that has ended, with all that it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    text: String,
}

impl Ended {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Everything it printed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Server {
    /// A server for this app, such as `hello:app`. `RCORN_UNDER_TEST` names another program to test.
    pub(crate) fn app(app: impl Into<OsString>) -> Builder {
        Builder {
            app: Some(app.into()),
            ..Self::without_app()
        }
    }

    /// The program with only the arguments that the test gives.
    pub(crate) fn without_app() -> Builder {
        let program = std::env::var_os("RCORN_UNDER_TEST");
        Builder {
            app: None,
            program: vec![program.unwrap_or_else(|| env!("CARGO_BIN_EXE_rcorn").into())],
            arguments: Vec::new(),
            environment: Vec::new(),
            python: None,
            listen: Listen::Tcp,
            keeps_listener: false,
            files: Vec::new(),
            allowed: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// What it prints.
    pub(crate) fn log(&self) -> &Output {
        &self.output
    }

    /// The pid of the process that was started: the arbiter.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// When this test has taken too long.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Where it listens, when the test bound the socket.
    pub(crate) fn place(&self) -> &Place {
        self.place.as_ref().unwrap()
    }

    /// Its working directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Replaces a file of its directory in one step.
    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.directory().join(name), text);
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.place())
    }

    /// Gets one page, on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Reply {
        self.connect().get(target)
    }

    /// Sends the arbiter a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // It is not waited for before the end, so the pid is its own.
        kill(self.pid, signal).unwrap();
    }

    /// The arbiter's children whose title begins so, by pid.
    pub(crate) fn titled(&self, beginning: &str) -> Vec<Pid> {
        let mut pids = children(self.pid);
        pids.retain(|pid| title(*pid).starts_with(beginning));
        pids.sort_unstable();
        pids
    }

    /// The arbiter's workers.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        self.titled("rcorn: worker")
    }

    /// Waits until there are exactly so many workers, and returns them.
    pub(crate) fn wait_workers(&self, count: usize) -> Vec<Pid> {
        let mut workers = Vec::new();
        wait_until(self.deadline, &format!("there are {count} workers"), || {
            workers = self.workers();
            workers.len() == count
        });
        workers
    }

    /// Waits until this process, found earlier, has ended.
    pub(crate) fn wait_gone(&self, pid: Pid) {
        if let Ok(pidfd) = Pidfd::open(pid) {
            assert!(
                pidfd.wait(self.deadline),
                "waited too long for the end of process {pid}"
            );
        }
    }

    /// Waits for the end of the arbiter alone; others of its group may live on (an upgrade).
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        assert!(
            self.pidfd.wait(self.deadline),
            "waited too long for the server's end"
        );
        self.child.wait().unwrap()
    }

    /// Orders the server to stop, and checks that it did so well: exit code 0, and the standing check.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        let ended = self.exit();
        assert_eq!(
            ended.status.code(),
            Some(0),
            "{}\n{}",
            ended.status,
            ended.text
        );
        ended
    }

    /// Waits for the server's end, however it comes, and makes the standing check: no process left, no
    /// complaint in the log that is not allowed, no socket file left.
    pub(crate) fn exit(mut self) -> Ended {
        self.wait_exit();
        self.finish()
    }

    /// The standing check, after [`Server::wait_exit`].
    pub(crate) fn finish(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let group = self.pid;
        let soon = self.deadline.or_after(AFTERWARDS);
        wait_until(soon, "all processes of the server are gone", || {
            reap_group(group)
        });
        self.output.expect_end();
        let complaints = self.output.complaints(&self.allowed);
        assert!(
            complaints.is_empty(),
            "unexpected in the log:\n{}",
            complaints.join("\n")
        );
        let sockets = sockets_in(self.directory.path());
        assert!(sockets.is_empty(), "socket files left: {sockets:?}");
        self.is_done = true;
        Ended {
            status,
            text: self.output.text(),
        }
    }

    /// Ends everything by force, for tests whose server cannot end well. No check is made.
    pub(crate) fn kill(mut self) {
        self.is_done = true;
        self.end_group();
    }

    fn end_group(&mut self) {
        // ESRCH: all are gone already.
        drop(killpg(self.pid, Signal::SIGKILL));
        drop(self.child.wait());
        let (group, soon) = (self.pid, Deadline::after(AFTERWARDS));
        if !thread::panicking() {
            wait_until(soon, "all processes of the server are killed", || {
                reap_group(group)
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        if thread::panicking() {
            let text = self.output.text();
            let processes = describe_group(self.pid);
            eprintln!("--- the server's output\n{text}--- its processes\n{processes}---");
        }
        self.end_group();
        assert!(
            thread::panicking(),
            "the test must end its server: stop, exit, finish or kill"
        );
    }
}

/// Writes a file in one step: a server that reads it meanwhile sees the old or the new one.
fn write(path: &Path, text: &str) {
    let folder = path.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    let draft = folder.join(format!(
        ".{}",
        path.file_name().and_then(OsStr::to_str).unwrap()
    ));
    fs::write(&draft, text).unwrap();
    fs::rename(&draft, path).unwrap();
}

fn sockets_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    sockets.map(|entry| entry.path()).collect()
}
