//! What a template does before it imports the app: log, title, directory, privileges, `sys.path`; and the
//! import itself, with its outcome put into words.

use std::io;
use std::path::PathBuf;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, geteuid, initgroups, setgid, setgroups, setuid};
use pyo3::prelude::*;
use pyo3::types::PyList;

use rcorn_link::Start;
use rcorn_settings::Settings;
use rcorn_sys::user::Identity;

use rcorn_app::develop;

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
