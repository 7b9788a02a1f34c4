//! A program that runs to its end: its input, and what it leaves. Its environment is bare, so that
//! nothing of the machine or the test runner leaks in.

use std::ffi::OsString;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::unistd::Pid;

use super::Deadline;
use super::process::{Pidfd, start};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(110);

/// A program to run.
#[derive(Debug)]
pub(crate) struct Once {
    command: Command,
    input: Vec<u8>,
}

/// What a program left.
pub(crate) struct Left {
    pub(crate) status: ExitStatus,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: String,
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, output {:?}, errors {:?}",
            self.status,
            self.text(),
            self.errors
        )
    }
}

impl Left {
    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The output of a program that succeeded.
    pub(crate) fn done(&self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.text()
    }
}

impl Once {
    /// A program with its arguments.
    pub(crate) fn new(
        program: impl Into<OsString>,
        words: impl IntoIterator<Item: Into<OsString>>,
    ) -> Self {
        let mut command = Command::new(program.into());
        command.args(words.into_iter().map(Into::into));
        command.env_clear();
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        // What a program under test prints, and where it looks for Python, must not depend on the
        // machine.
        command
            .env("LANG", "C.UTF-8")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Self {
            command,
            input: Vec::new(),
        }
    }

    /// rcorn itself.
    pub(crate) fn rcorn(words: impl IntoIterator<Item: Into<OsString>>) -> Self {
        let program = std::env::var_os("RCORN_UNDER_TEST");
        Self::new(
            program.unwrap_or_else(|| env!("CARGO_BIN_EXE_rcorn").into()),
            words,
        )
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.command.env(name.into(), value.into());
        self
    }

    /// Removes a variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets its working directory.
    pub(crate) fn within(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets its standard input.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Starts it with pipes as its three streams; the caller reads, writes and waits.
    pub(crate) fn start(mut self) -> Child {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        start(&mut self.command, Vec::new()).unwrap()
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Left {
        let input = std::mem::take(&mut self.input);
        let mut child = self.start();
        let mut stdin = child.stdin.take().unwrap();
        let writer = thread::spawn(move || match stdin.write_all(&input) {
            // It need not read all of it.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("cannot write: {error}"),
            Ok(()) | Err(_) => {}
        });
        let output = collect(child.stdout.take().unwrap());
        let errors = collect(child.stderr.take().unwrap());
        let status = wait(&mut child);
        writer.join().unwrap();
        Left {
            status,
            output: output.join().unwrap(),
            errors: String::from_utf8_lossy(&errors.join().unwrap()).into_owned(),
        }
    }
}

/// Waits for a program's end. Panics if it takes too long.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let pid = Pid::from_raw(child.id().cast_signed());
    if !Pidfd::open(pid).unwrap().wait(Deadline::after(PATIENCE)) {
        child.kill().ok();
        panic!("the program took too long");
    }
    child.wait().unwrap()
}

/// Reads to the end, in a thread.
pub(crate) fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}
