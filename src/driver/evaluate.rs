//! A `gunicorn.conf.py` is evaluated by the Python that runs the app, in a process of its own that answers with data. The
//! loop waits for the answer as it waits for everything else.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid as NixPid, pipe2};

use rcorn_arbiter::Pid;
use rcorn_settings::{ConfigFile, EVALUATOR, Error, PythonFile};
use rcorn_sys::spawn::Spawn;
use rcorn_types::Monotonic;

use super::children::signal;
use super::{interpreter, now};

/// A file that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(1);

/// An evaluation that goes on.
#[derive(Debug)]
pub(super) struct Evaluation {
    pid: Pid,
    answer: std::fs::File,
    text: Vec<u8>,
    shown: String,
    /// When it is given up.
    pub(super) deadline: Monotonic,
}

impl Evaluation {
    /// Starts it. `arguments`: rcorn's own command line, the file's `sys.argv`.
    pub(super) fn start(file: &PythonFile, arguments: &[OsString]) -> Result<Self, Error> {
        let failed = |why: String| Error::NotEvaluated {
            file: file.shown(),
            why,
        };
        if let ConfigFile::Python(path) = &file.file {
            // Else its absence looks as if its code had failed.
            let there = path.metadata().and_then(|about| {
                if about.is_dir() {
                    Err(io::ErrorKind::IsADirectory.into())
                } else {
                    Ok(())
                }
            });
            there.map_err(|source| Error::Unreadable {
                file: file.shown(),
                source,
            })?;
        }
        let python = interpreter::find_for(file.python.clone())
            .map_err(|error| failed(error.to_string()))?;
        let system =
            |error: io::Error| failed(format!("cannot start {}: {error}", python.display()));
        let (answer, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| system(errno.into()))?;
        fcntl(&answer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|errno| system(errno.into()))?;
        let (kind, place): (_, OsString) = match &file.file {
            ConfigFile::Yaml(path) | ConfigFile::Python(path) => ("file", path.into()),
            ConfigFile::Module(name) => ("module", name.into()),
        };
        let mut words: Vec<OsString> = vec!["-c".into(), EVALUATOR.into()];
        words.extend([theirs.as_raw_fd().to_string().into(), kind.into(), place]);
        words.extend_from_slice(arguments);
        let spawn = Spawn {
            program: python.clone(),
            arguments: words,
            inherit: vec![theirs.as_raw_fd()],
            ignore_interrupt: false,
            die_with_parent: true,
            directory: Some(file.directory.clone()),
            ..Spawn::default()
        };
        let pid = Pid(spawn.start().map_err(system)?);
        Ok(Self {
            pid,
            answer: answer.into(),
            text: Vec::new(),
            shown: file.shown(),
            deadline: now().after(LIMIT),
        })
    }

    /// What to wait on.
    pub(super) fn descriptor(&self) -> RawFd {
        self.answer.as_raw_fd()
    }

    /// Reads what is there: the whole answer, once it is complete.
    pub(super) fn hear(&mut self) -> Option<Result<String, Error>> {
        match self.answer.read_to_end(&mut self.text) {
            Ok(_) => Some(Ok(String::from_utf8_lossy(&self.text).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let over = self.deadline <= now();
                over.then(|| {
                    self.end();
                    Err(self.failed(&format!("it was not done within {} s", LIMIT.as_secs())))
                })
            }
            Err(error) => Some(Err(self.failed(&error.to_string()))),
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn end(&self) {
        signal(self.pid, Signal::SIGKILL);
    }

    fn failed(&self, why: &str) -> Error {
        Error::NotEvaluated {
            file: self.shown.clone(),
            why: why.to_owned(),
        }
    }
}

/// Evaluates a file and waits for it: before there is a loop.
pub fn evaluate(file: &PythonFile, arguments: &[OsString]) -> Result<String, Error> {
    let mut evaluation = Evaluation::start(file, arguments)?;
    let begun = Instant::now();
    let answer = loop {
        if let Some(answer) = evaluation.hear() {
            break answer;
        }
        let left = LIMIT.saturating_sub(begun.elapsed());
        let left = PollTimeout::try_from(left.saturating_add(Duration::from_millis(1)));
        let mut wanted = [PollFd::new(evaluation.answer.as_fd(), PollFlags::POLLIN)];
        // Whatever it says, the next look tells.
        poll(&mut wanted, left.unwrap_or(PollTimeout::MAX)).ok();
    };
    // Its answer came first: it is about to be gone.
    waitpid(NixPid::from_raw(evaluation.pid.0), None).ok();
    answer
}
