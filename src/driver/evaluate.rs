//! The evaluation of a `gunicorn.conf.py` by the Python that runs the app, in a helper process that
//! answers with data.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::{Registry, Token};

use rcorn_arbiter::Pid;
use rcorn_settings::{ConfigFile, EVALUATOR, Error, PythonFile, Resolved, Sources};
use rcorn_sys::spawn::Spawn;
use rcorn_types::Monotonic;

use super::helper::{Helper, HelperError, answer_pipe};
use super::interpreter;
use super::origin::Origin;

/// A file that takes longer than this is considered hung.
const EVALUATION_LIMIT: Duration = Duration::from_mins(1);

/// An evaluation that runs.
#[derive(Debug)]
pub(super) struct Evaluation {
    helper: Helper,
    shown: String,
}

impl Evaluation {
    /// Starts it. The file's `sys.argv` is rcorn's own command line.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or there is no Python to run it.
    pub(super) fn start(file: &PythonFile, origin: &Origin) -> Result<Self, Error> {
        let failed = |why: String| Error::NotEvaluated {
            file: file.shown(),
            why,
        };
        if let ConfigFile::Python(path) = &file.file {
            // Otherwise a missing file would look like an error of its code.
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
        let python = interpreter::find_for(file.python.clone(), origin)
            .map_err(|error| failed(error.to_string()))?;
        let system =
            |error: io::Error| failed(format!("cannot start {}: {error}", python.display()));
        let (answer, theirs) = answer_pipe().map_err(system)?;
        let (kind, place): (_, OsString) = match &file.file {
            ConfigFile::Yaml(path) | ConfigFile::Python(path) => ("file", path.into()),
            ConfigFile::Module(name) => ("module", name.into()),
        };
        let mut words: Vec<OsString> = vec!["-c".into(), EVALUATOR.into()];
        words.extend([theirs.as_raw_fd().to_string().into(), kind.into(), place]);
        words.extend_from_slice(&origin.arguments);
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
            helper: Helper::new(pid, answer, EVALUATION_LIMIT),
            shown: file.shown(),
        })
    }

    /// Makes the loop wake up for the answer.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.helper.register(registry, token)
    }

    /// When the evaluation is given up.
    pub(super) fn deadline(&self) -> Monotonic {
        self.helper.deadline()
    }

    /// The answer, once it is complete.
    pub(super) fn poll(&mut self, now: Monotonic) -> Option<Result<String, Error>> {
        let answer = self.helper.poll(now)?;
        Some(text(answer, &self.shown))
    }
}

/// The answer as text, or an error of the settings that says why there is none.
fn text(answer: Result<Vec<u8>, HelperError>, shown: &str) -> Result<String, Error> {
    match answer {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(Error::NotEvaluated {
            file: shown.to_owned(),
            why: error.to_string(),
        }),
    }
}

/// The settings of all sources, after a Python file has been evaluated if there is one: for a
/// start, and for commands that have no loop. The file's `sys.argv` is rcorn's own command line.
///
/// # Errors
///
/// The file cannot be read or evaluated; there is no Python; it took longer than a minute; or
/// something is wrong with the settings.
pub fn resolve(sources: Sources<'_>, origin: &Origin) -> Result<Resolved, Error> {
    let file = sources.python_file();
    let answer = file.map(|file| evaluate(&file, origin)).transpose()?;
    sources.resolve(answer.as_deref())
}

/// Evaluates a file and waits for the result.
fn evaluate(file: &PythonFile, origin: &Origin) -> Result<String, Error> {
    let Evaluation { helper, shown } = Evaluation::start(file, origin)?;
    text(helper.wait(), &shown)
}
