//! Which Python runs the app, and the few lines of Python that load rcorn into it.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::origin::Origin;

/// Why there is no Python.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// The one that was asked for cannot be run.
    #[error("cannot run {path} (the setting python): {reason}")]
    Chosen {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        reason: String,
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
            Self::Chosen { .. } => "give the path of a CPython 3.9 or later, such as --python .venv/bin/python3".into(),
            Self::NotFound { .. } => {
                "install CPython 3.9 or later, activate a virtual environment, or give --python PATH".into()
            }
        }
    }
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

/// A Python.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) python: PathBuf,
    /// Places before it where one was expected.
    pub(super) missed: Vec<String>,
}

/// Finds the interpreter: `--python`; the virtual environment or the Python rcorn is installed in;
/// the active environment; the first `python3` on the path.
pub(super) fn find(places: &Places) -> Result<Found, InterpreterError> {
    if let Some(chosen) = &places.chosen {
        // A bare name is looked up like a command.
        let found = if chosen.components().count() == 1 && !chosen.exists() {
            places
                .path
                .as_deref()
                .and_then(|path| on_path(path, chosen.as_os_str()))
        } else {
            Some(chosen.clone())
        };
        let failed = |reason: String| InterpreterError::Chosen {
            path: chosen.clone(),
            reason,
        };
        let found = found.ok_or_else(|| failed("there is no such command on PATH".into()))?;
        access(&found, AccessFlags::X_OK).map_err(|errno| failed(errno.desc().to_owned()))?;
        if found.is_dir() {
            return Err(failed("it is a directory".into()));
        }
        return Ok(Found {
            python: found,
            missed: Vec::new(),
        });
    }
    let own = places.executable.as_deref().and_then(installed_beside);
    let active = places
        .virtual_env
        .as_ref()
        .map(|venv| venv.join("bin/python3"));
    let mut missed = Vec::new();
    let named = [own, active].into_iter().flatten().find(|candidate| {
        let there = is_program(candidate);
        if !there {
            missed.push(candidate.display().to_string());
        }
        there
    });
    let path = places.path.as_deref();
    let python = named.or_else(|| path.and_then(|path| on_path(path, OsStr::new("python3"))));
    let Some(python) = python else {
        missed.push("on PATH".into());
        return Err(InterpreterError::NotFound {
            looked: missed.join(", "),
        });
    };
    Ok(Found { python, missed })
}

/// The Python that this executable is installed with: that of the folder in which it is, or, if it
/// is a link, that of the folder to which it leads.
fn installed_beside(executable: &Path) -> Option<PathBuf> {
    let target = executable.canonicalize().ok();
    let of_folder = |path: &Path| {
        let bin = path.parent()?;
        if bin.join("../pyvenv.cfg").exists() {
            Some(bin.join("python3"))
        } else {
            installed_by_pip(bin)
        }
    };
    of_folder(executable).or_else(|| of_folder(target.as_deref()?))
}

/// The Python in this folder for which pip has installed rcorn: its packages contain ours. So rcorn
/// of a conda environment or of one of pyenv's Pythons uses that one when it is called by its path.
/// A distribution's rcorn has no such package.
fn installed_by_pip(bin: &Path) -> Option<PathBuf> {
    let lib = std::fs::read_dir(bin.join("../lib")).ok()?;
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

/// Checks the interpreter, imports the native module from its descriptor and runs it to the end.
/// Exit code 78 (`EX_CONFIG` of sysexits.h): this Python cannot be used, and it has said why.
const BOOTSTRAP: &str = r#"
import sys
def no(why):
    sys.stderr.write("rcorn: error: %s is %s; hint: rcorn needs CPython 3.9 or later; choose another with --python\n" % (sys.executable, why))
    sys.exit(78)
v = sys.version_info
if v < (3, 9): no("Python %d.%d" % v[:2])
if sys.implementation.name != "cpython": no(sys.implementation.name)
if "t" in getattr(sys, "abiflags", ""): no("a free-threaded build")
import importlib.machinery, importlib.util
native, start, mode = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
loader = importlib.machinery.ExtensionFileLoader("_rcorn", "/proc/self/fd/%d" % native)
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("_rcorn", loader))
loader.exec_module(module)
module.template(native, start, mode)
"#;

/// The arguments after the program's name.
pub(super) fn arguments(native: RawFd, start: RawFd, mode: &str) -> Vec<OsString> {
    let numbers = [native.to_string(), start.to_string()];
    // The length of the bootstrap leaves enough room for a process title.
    let mut arguments: Vec<OsString> = vec!["-c".into(), BOOTSTRAP.into()];
    arguments.extend(numbers.into_iter().map(OsString::from));
    arguments.push(mode.into());
    arguments
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
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
        assert_eq!(find(&places).unwrap().python, active);
        std::fs::write(root.join("own/pyvenv.cfg"), "").unwrap();
        assert_eq!(find(&places).unwrap().python, own);
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
            std::fs::write(root.join(venv).join("pyvenv.cfg"), "").unwrap();
        }
        let link = |target: &str, name: &str| {
            let new = root.join("new");
            std::os::unix::fs::symlink(root.join(target), &new).unwrap();
            std::fs::rename(new, root.join(name)).unwrap();
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
            std::fs::create_dir_all(root.join(format!("lib/{of}/site-packages"))).unwrap();
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
        std::fs::create_dir(root.join("lib/python3.13/site-packages/rcorn")).unwrap();
        assert_eq!(find(&places).unwrap().python, root.join("usr/python3"));
        std::fs::create_dir(root.join("lib/python3.12/site-packages/rcorn")).unwrap();
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
