//! A server under test, as a value: built, started, used, stopped. The test binds the listening
//! socket and passes it on, so that no test waits for the server to listen: the kernel queues
//! connections. Each server has one deadline; when a test fails, its log and its processes are
//! printed, and its group is killed.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::builder::{Builder, write};
use super::ctl::{Told, ctl, serves};
use super::process::{describe_group, reap_group};
use super::{Deadline, Output, Pidfd, Place, Reply, Wire, children, title, wait_until};

/// How long after the arbiter's end its other processes may take to end.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// What belongs to a server besides its process.
#[derive(Debug)]
pub(super) struct Kit {
    pub(super) place: Option<Place>,
    pub(super) directory: TempDir,
    pub(super) allowed: Vec<String>,
    pub(super) deadline: Deadline,
    /// Held open, not used.
    pub(super) _listener: Option<OwnedFd>,
}

/// A running server. It must be ended by [`Server::stop`], [`Server::exit`], [`Server::finish`] or
/// [`Server::kill`].
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pid: Pid,
    pidfd: Pidfd,
    output: Output,
    kit: Kit,
    is_done: bool,
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
    /// A server for this app, such as `hello:app`. `RCORN_UNDER_TEST` names another program to
    /// test.
    pub(crate) fn app(app: impl Into<OsString>) -> Builder {
        Builder::new(Some(app.into()))
    }

    /// The program with only the arguments that the test gives.
    pub(crate) fn without_app() -> Builder {
        Builder::new(None)
    }

    /// Takes charge of a process that was just started as leader of its group.
    pub(super) fn new(mut child: Child, kit: Kit) -> Self {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let output = Output::new(kit.deadline);
        output.collect("stdout", child.stdout.take().unwrap());
        output.collect("stderr", child.stderr.take().unwrap());
        // The child has not been waited for, so the pid is still its own.
        let pidfd = Pidfd::open(pid).unwrap();
        Self {
            child,
            pid,
            pidfd,
            output,
            kit,
            is_done: false,
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
        self.kit.deadline
    }

    /// Where it listens, when the test bound the socket.
    pub(crate) fn place(&self) -> &Place {
        self.kit.place.as_ref().unwrap()
    }

    /// Its working directory.
    pub(crate) fn directory(&self) -> &Path {
        self.kit.directory.path()
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
        // It has not been waited for, so the pid is still its own.
        kill(self.pid, signal).unwrap();
    }

    /// The arbiter's children whose title has this beginning, ordered by pid.
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

    /// Waits until exactly `count` processes are workers, and returns them. They have their titles
    /// before they serve and until they have ended: see `wait_serving`.
    pub(crate) fn wait_workers(&self, count: usize) -> Vec<Pid> {
        let mut workers = Vec::new();
        wait_until(
            self.kit.deadline,
            &format!("there are {count} workers"),
            || {
                workers = self.workers();
                workers.len() == count
            },
        );
        workers
    }

    /// Waits until exactly this many workers serve.
    pub(crate) fn wait_serving(&self, workers: usize) {
        wait_until(self.deadline(), &format!("{workers} workers serve"), || {
            serves(self.pid(), workers)
        });
    }

    /// Runs `rcorn ctl` for this server.
    pub(crate) fn ctl(&self, words: &[&str]) -> Told {
        let pid = self.pid().to_string();
        ctl(&[&["--pid", &pid], words].concat())
    }

    /// What `rcorn ctl --json status` shows.
    pub(crate) fn status(&self) -> Value {
        let told = self.ctl(&["--json", "status"]);
        serde_json::from_str::<Value>(told.done()).unwrap()["status"].clone()
    }

    /// The ids of the workers that serve.
    pub(crate) fn serving_ids(&self) -> Vec<u64> {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap().iter();
        workers
            .filter(|worker| worker["stage"] == "serving")
            .map(|worker| worker["id"].as_u64().unwrap())
            .collect()
    }

    /// Waits until this process, found earlier, has ended.
    pub(crate) fn wait_gone(&self, pid: Pid) {
        if let Ok(pidfd) = Pidfd::open(pid) {
            assert!(
                pidfd.wait(self.kit.deadline),
                "waited too long for the end of process {pid}"
            );
        }
    }

    /// Waits for the end of the arbiter alone; others of its group may live on (an upgrade).
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        assert!(
            self.pidfd.wait(self.kit.deadline),
            "waited too long for the server's end"
        );
        self.child.wait().unwrap()
    }

    /// Stops the server, and checks that it ends properly: exit code 0, and the standing check.
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

    /// Waits for the server's end, whatever its cause, and makes the standing check: no process
    /// left, no complaint in the log but those allowed, no socket file left.
    pub(crate) fn exit(mut self) -> Ended {
        self.wait_exit();
        self.finish()
    }

    /// The standing check, after [`Server::wait_exit`].
    pub(crate) fn finish(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let group = self.pid;
        let soon = self.kit.deadline.or_after(AFTERWARDS);
        wait_until(soon, "all processes of the server are gone", || {
            reap_group(group)
        });
        self.output.expect_end();
        let complaints = self.output.complaints(&self.kit.allowed);
        assert!(
            complaints.is_empty(),
            "unexpected in the log:\n{}",
            complaints.join("\n")
        );
        let sockets = sockets_in(self.kit.directory.path());
        assert!(sockets.is_empty(), "socket files left: {sockets:?}");
        self.is_done = true;
        Ended {
            status,
            text: self.output.text(),
        }
    }

    /// Kills everything, for tests whose server cannot end properly. Makes no check.
    pub(crate) fn kill(mut self) {
        self.is_done = true;
        self.end_group();
    }

    fn end_group(&mut self) {
        // ESRCH: all have ended already.
        killpg(self.pid, Signal::SIGKILL).ok();
        self.child.wait().ok();
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

fn sockets_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    sockets.map(|entry| entry.path()).collect()
}
