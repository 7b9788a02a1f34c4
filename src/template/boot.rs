//! What a template does before it imports the app: log, title, directory, privileges, `sys.path`; and the
//! import itself, with its outcome put into words.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, geteuid, initgroups, setgid, setgroups, setuid};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::link::{Failure, Start};
use crate::log;
use crate::settings::Settings;
use crate::sys::user::Identity;
use crate::wsgi::app::{LoadError, load};

use super::develop;

/// Changes to the settings' directory and umask. Before the privileges go: the directory may need them.
pub(super) fn settle(settings: &Settings) -> io::Result<()> {
    chdir(&settings.chdir)?;
    umask(Mode::from_bits_truncate(settings.umask.bits()));
    Ok(())
}

/// Becomes the settings' user and group, before anything of the app is loaded.
pub(super) fn drop_privileges(settings: &Settings) -> io::Result<()> {
    let identity = Identity::find(settings.user.as_deref(), settings.group.as_deref())?;
    if identity.is_current() {
        return Ok(());
    }
    become_identity(settings, identity).map_err(|error| {
        let said = [("user", &settings.user), ("group", &settings.group)];
        let said = said
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name} {}", value.as_deref()?)));
        io::Error::other(format!(
            "cannot become {}: {error}; hint: only root may; start rcorn as root, or leave the setting out",
            said.collect::<Vec<_>>().join(", ")
        ))
    })
}

fn become_identity(settings: &Settings, identity: Identity) -> io::Result<()> {
    let Identity { uid, gid, name } = identity;
    // The groups of the user before must not stay: they are rights too.
    if let Some(name) = name.filter(|_| settings.initgroups) {
        let name = std::ffi::CString::new(name).map_err(io::Error::other)?;
        initgroups(&name, gid)?;
    } else if geteuid().is_root() {
        setgroups(&[gid])?;
    }
    setgid(gid)?;
    setuid(uid)?;
    Ok(())
}

/// `sys.path` and `sys.argv` as an app under gunicorn finds them: the working directory first, the command
/// line of the server.
pub(super) fn prepare_sys(py: Python<'_>, start: &Start) -> PyResult<()> {
    let sys = py.import("sys")?;
    let path = sys.getattr("path")?.cast_into::<PyList>()?;
    // `python -c` puts an empty string first (unless PYTHONSAFEPATH): the directory of the moment, whatever
    // that is. Ours is said by name.
    if path.len() > 0
        && path
            .get_item(0)?
            .extract::<String>()
            .is_ok_and(|first| first.is_empty())
    {
        path.del_item(0)?;
    }
    let mut at = 0_usize;
    let first = std::iter::once(start.settings.chdir.as_path());
    for directory in first.chain(start.settings.pythonpath.iter().map(PathBuf::as_path)) {
        path.insert(at, directory.to_string_lossy())?;
        at = at.saturating_add(1);
    }
    sys.setattr("argv", PyList::new(py, &start.argv)?)?;
    if start.settings.reload {
        develop::prepare(py)?;
    }
    Ok(())
}

/// Imports the app; what went wrong is in the log when this gives an error. With `reload` there is always an app:
/// one that shows what went wrong, until the next reload.
pub(crate) fn import<'py>(
    py: Python<'py>,
    settings: &Settings,
    reports: BorrowedFd<'_>,
) -> Result<Bound<'py, PyAny>, Failure> {
    let Some(app) = &settings.wsgi_app else {
        return Err(Failure {
            code: 4,
            summary: "No application module specified.".to_owned(),
        });
    };
    let loaded = load(py, app);
    if settings.reload {
        let error = loaded.as_ref().err().and_then(LoadError::raised);
        develop::tell_places(py, error, reports);
    }
    let error = match loaded {
        Ok(app) => return Ok(app),
        Err(error) => error,
    };
    match &error {
        LoadError::Raised { traceback, .. } => {
            log::error(format_args!("Exception in worker process\n{traceback}"));
        }
        LoadError::NoAttribute { .. } | LoadError::NotCallable { .. } => {
            log::error(format_args!("{error}"));
        }
    }
    if settings.reload
        && let Ok(stand_in) = develop::stand_in(py, &error.to_string())
    {
        return Ok(stand_in);
    }
    Err(Failure {
        code: error.code(),
        summary: error.summary(),
    })
}
