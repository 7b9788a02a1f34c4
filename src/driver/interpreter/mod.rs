//! Which Python runs the app, and how rcorn is loaded into it.

mod bootstrap;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::origin::Origin;

pub use bootstrap::{LOAD_FLAG, load_again};
pub(super) use bootstrap::{Loading, UNUSABLE_EXIT_CODE, not_started};

/// Why there is no Python.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// The one that was asked for cannot be run.
    #[error("cannot run {path} (the setting python): {reason}")]
    Chosen {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        reason: Unusable,
    },
    /// None was found.
    #[error("no python3 found (looked {looked})")]
    NotFound {
        /// Where.
        looked: String,
    },
}

impl InterpreterError {
    /// The way out.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Chosen { path, reason } => reason.hint(path),
            Self::NotFound { .. } => {
                "install CPython 3.9 or later, activate a virtual environment, or give --python PATH".into()
            }
        }
    }
}

/// Why a path is no interpreter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A bare name.
    #[error("there is no such command on PATH")]
    NoCommand,
    /// A link that leads nowhere, as in a virtual environment whose Python was removed.
    #[error("it leads to {}, which is not there", target.display())]
    Dangling {
        /// Where it leads.
        target: PathBuf,
        /// The virtual environment that it belongs to.
        environment: Option<PathBuf>,
    },
    /// A directory.
    #[error("it is a directory")]
    Directory {
        /// The interpreter in it.
        inside: Option<PathBuf>,
    },
    /// The system refuses it.
    #[error("{0}")]
    Refused(String),
}

impl Unusable {
    /// Looks at a path.
    fn of(path: &Path) -> Option<Self> {
        if let Some(target) = dangling(path) {
            let folder = path.parent().and_then(Path::parent);
            let environment = folder.filter(|folder| folder.join("pyvenv.cfg").exists());
            let environment = environment.map(Path::to_owned);
            return Some(Self::Dangling {
                target,
                environment,
            });
        }
        if path.is_dir() {
            let inside = path.join("bin/python3");
            let inside = is_program(&inside).then_some(inside);
            return Some(Self::Directory { inside });
        }
        let refused = access(path, AccessFlags::X_OK).err()?;
        Some(Self::Refused(refused.desc().to_owned()))
    }

    fn hint(&self, path: &Path) -> String {
        match self {
            Self::Dangling {
                environment: Some(folder),
                ..
            } => format!(
                "make the virtual environment again, with its packages: python3 -m venv --clear {}",
                folder.display()
            ),
            Self::Directory {
                inside: Some(python),
            } => format!("give --python {}", python.display()),
            Self::Refused(_) if path.exists() => format!(
                "let this user execute it: chmod +x {}, on a file system without noexec",
                path.display()
            ),
            Self::NoCommand
            | Self::Dangling { .. }
            | Self::Directory { inside: None }
            | Self::Refused(_) => {
                "give the path of a CPython 3.9 or later, such as --python .venv/bin/python3".into()
            }
        }
    }
}

/// Where a link leads that leads nowhere.
fn dangling(path: &Path) -> Option<PathBuf> {
    if path.exists() {
        return None;
    }
    let mut at = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("/")).join(target),
            Err(_no_link) => break,
        }
    }
    (at != path).then_some(at)
}

/// Where to look.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// `--python`.
    pub(super) chosen: Option<PathBuf>,
    /// The path of this executable, as it was spelled: pip installs it into a virtual environment.
    pub(super) executable: Option<PathBuf>,
    /// `$VIRTUAL_ENV`.
    pub(super) virtual_env: Option<PathBuf>,
    /// `$PATH`.
    pub(super) path: Option<OsString>,
}

/// Why an interpreter was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Chosen,
    OwnEnvironment,
    InstalledByPip,
    ActiveEnvironment,
    Path,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chosen => "the setting python",
            Self::OwnEnvironment => "the virtual environment that rcorn is installed in",
            Self::InstalledByPip => "the Python that rcorn is installed for",
            Self::ActiveEnvironment => "the virtual environment in VIRTUAL_ENV",
            Self::Path => "the first python3 on PATH",
        })
    }
}

/// A Python.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) python: PathBuf,
    pub(super) reason: Reason,
    /// Places before it where one was expected.
    pub(super) missed: Vec<String>,
}

/// Finds the interpreter: `--python`; the virtual environment or the Python rcorn is installed in;
/// the active environment; the first `python3` on the path.
pub(super) fn find(places: &Places) -> Result<Found, InterpreterError> {
    if let Some(chosen) = &places.chosen {
        // A bare name is looked up like a command.
        let found = if chosen.components().count() == 1 && chosen.symlink_metadata().is_err() {
            places
                .path
                .as_deref()
                .and_then(|path| on_path(path, chosen.as_os_str()))
        } else {
            Some(chosen.clone())
        };
        let failed = |reason| InterpreterError::Chosen {
            path: chosen.clone(),
            reason,
        };
        let found = found.ok_or_else(|| failed(Unusable::NoCommand))?;
        if let Some(reason) = Unusable::of(&found) {
            return Err(failed(reason));
        }
        return Ok(Found {
            python: found,
            reason: Reason::Chosen,
            missed: Vec::new(),
        });
    }
    let own = places.executable.as_deref().and_then(installed_beside);
    let active = places
        .virtual_env
        .as_ref()
        .map(|venv| (venv.join("bin/python3"), Reason::ActiveEnvironment));
    let mut missed = Vec::new();
    let named = [own, active].into_iter().flatten().find(|(candidate, _)| {
        let there = is_program(candidate);
        if !there {
            missed.push(match dangling(candidate) {
                Some(target) => format!(
                    "{} (it leads to {}, which is not there)",
                    candidate.display(),
                    target.display()
                ),
                None => candidate.display().to_string(),
            });
        }
        there
    });
    let path = places.path.as_deref();
    let first = || path.and_then(|path| on_path(path, OsStr::new("python3")));
    let found = named.or_else(|| Some((first()?, Reason::Path)));
    let Some((python, reason)) = found else {
        missed.push("on PATH".into());
        return Err(InterpreterError::NotFound {
            looked: missed.join(", "),
        });
    };
    Ok(Found {
        python,
        reason,
        missed,
    })
}

/// The Python that this executable is installed with: that of the folder in which it is, or, if it
/// is a link, that of the folder to which it leads.
fn installed_beside(executable: &Path) -> Option<(PathBuf, Reason)> {
    let target = executable.canonicalize().ok();
    let of_folder = |path: &Path| {
        let bin = path.parent()?;
        if bin.join("../pyvenv.cfg").exists() {
            Some((bin.join("python3"), Reason::OwnEnvironment))
        } else {
            Some((installed_by_pip(bin)?, Reason::InstalledByPip))
        }
    };
    of_folder(executable).or_else(|| of_folder(target.as_deref()?))
}

/// The Python in this folder for which pip has installed rcorn: its packages contain ours. So rcorn
/// of a conda environment or of one of pyenv's Pythons uses that one when it is called by its path.
/// A distribution's rcorn has no such package.
fn installed_by_pip(bin: &Path) -> Option<PathBuf> {
    let lib = fs::read_dir(bin.join("../lib")).ok()?;
    lib.flatten()
        .map(|entry| entry.path())
        .filter(|folder| folder.join("site-packages/rcorn").is_dir())
        .filter_map(|folder| Some(bin.join(folder.file_name()?)))
        .find(|python| is_program(python))
}

/// Where to look for programs when no `PATH` is set, as web servers start their CGI programs.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Finds the interpreter that is there now. `chosen`: `--python`; `origin`: how this process was
/// started.
///
/// # Errors
///
/// The chosen one cannot be run, or there is none.
pub fn find_for(chosen: Option<PathBuf>, origin: &Origin) -> Result<PathBuf, InterpreterError> {
    look_for(chosen, origin).map(|found| found.python)
}

/// The same, with the places where none was found.
pub(super) fn look_for(
    chosen: Option<PathBuf>,
    origin: &Origin,
) -> Result<Found, InterpreterError> {
    let said = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    find(&Places {
        chosen,
        executable: Some(origin.program.clone()),
        virtual_env: said("VIRTUAL_ENV").map(PathBuf::from),
        path: std::env::var_os("PATH").or_else(|| Some(USUAL_PATH.into())),
    })
}

fn on_path(path: &OsStr, name: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.is_file() && access(file, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_order_is_own_venv_active_venv_path() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let (own, active, path) = (
            root.join("own/bin/python3"),
            root.join("active/bin/python3"),
            root.join("usr/python3"),
        );
        for file in [&own, &active, &path] {
            program(file);
        }
        let places = Places {
            chosen: None,
            executable: Some(root.join("own/bin/rcorn")),
            virtual_env: Some(root.join("active")),
            path: Some(root.join("usr").into()),
        };
        // Without pyvenv.cfg the folder beside us is just a folder.
        let found = find(&places).unwrap();
        assert_eq!(
            (found.python, found.reason),
            (active, Reason::ActiveEnvironment)
        );
        fs::write(root.join("own/pyvenv.cfg"), "").unwrap();
        let found = find(&places).unwrap();
        assert_eq!((found.python, found.reason), (own, Reason::OwnEnvironment));
        // An environment that was removed is not passed over in silence.
        let removed = Places {
            virtual_env: Some(root.join("removed")),
            executable: None,
            path: places.path.clone(),
            chosen: None,
        };
        let found = find(&removed).unwrap();
        assert_eq!(found.python, path);
        assert!(
            found.missed[0].ends_with("removed/bin/python3"),
            "{found:?}"
        );
        let bare = Places {
            virtual_env: None,
            executable: None,
            ..places
        };
        assert_eq!(find(&bare).unwrap().python, path);
    }

    #[test]
    fn an_executable_that_is_a_link_has_the_python_of_its_folder_or_of_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in [
            "1/bin/python3",
            "1/bin/rcorn",
            "2/bin/python3",
            "2/bin/rcorn",
        ] {
            program(&root.join(file));
        }
        for venv in ["1", "2"] {
            fs::write(root.join(venv).join("pyvenv.cfg"), "").unwrap();
        }
        let link = |target: &str, name: &str| {
            let new = root.join("new");
            std::os::unix::fs::symlink(root.join(target), &new).unwrap();
            fs::rename(new, root.join(name)).unwrap();
        };
        let found = |executable: &str| {
            let places = Places {
                executable: Some(root.join(executable)),
                ..Places::default()
            };
            find(&places).unwrap().python
        };
        // The link of a virtual environment is followed each time.
        link("1", "current");
        assert_eq!(found("current/bin/rcorn"), root.join("current/bin/python3"));
        link("2", "current");
        let python = found("current/bin/rcorn");
        assert_eq!(
            python.canonicalize().unwrap(),
            root.join("2/bin/python3").canonicalize().unwrap()
        );
        // A link to the executable alone.
        link("1/bin/rcorn", "rcorn");
        assert_eq!(
            found("rcorn"),
            root.join("1/bin/python3").canonicalize().unwrap()
        );
    }

    #[test]
    fn a_python_that_pip_installed_rcorn_for_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in ["bin/python3", "bin/python3.9", "bin/python3.12"] {
            program(&root.join(file));
        }
        program(&root.join("usr/python3"));
        let lib = |of: &str| {
            fs::create_dir_all(root.join(format!("lib/{of}/site-packages"))).unwrap();
        };
        let places = Places {
            executable: Some(root.join("bin/rcorn")),
            path: Some(root.join("usr").into()),
            ..Places::default()
        };
        for of in ["python3.9", "python3.12", "python3.13", "other"] {
            lib(of);
        }
        assert_eq!(find(&places).unwrap().python, root.join("usr/python3"));
        // A Python that is not there any more does not count.
        fs::create_dir(root.join("lib/python3.13/site-packages/rcorn")).unwrap();
        assert_eq!(find(&places).unwrap().python, root.join("usr/python3"));
        fs::create_dir(root.join("lib/python3.12/site-packages/rcorn")).unwrap();
        assert_eq!(find(&places).unwrap().python, root.join("bin/python3.12"));
    }

    #[test]
    fn a_missing_python_is_said_with_all_places() {
        let places = Places {
            virtual_env: Some("/nonexistent/venv".into()),
            path: Some("/nonexistent/bin".into()),
            ..Places::default()
        };
        let error = find(&places).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("/nonexistent/venv/bin/python3, on PATH"),
            "{error}"
        );
        let chosen = Places {
            chosen: Some("/nonexistent/python9".into()),
            ..Places::default()
        };
        assert!(
            find(&chosen)
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/python9")
        );
    }
}
