//! Drops privileges, before anything of the app is loaded.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, initgroups, setgid, setgroups, setuid};
use pyo3::prelude::*;

use rcorn_settings::Settings;
use rcorn_sys::user::{Identity, first_closed};

/// Becomes the user and group of the settings.
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
    // The groups of the previous user must not stay, because they are privileges, too.
    if let Some(name) = name.filter(|_| settings.initgroups) {
        let name = CString::new(name)?;
        initgroups(&name, gid)?;
    } else if geteuid().is_root() {
        setgroups(&[gid])?;
    }
    setgid(gid)?;
    setuid(uid)?;
    Ok(())
}

/// Checks that this user may read the standard library, most of which is imported later. Otherwise
/// an import would only say that a module does not exist.
pub(super) fn check_library(py: Python<'_>, settings: &Settings) -> io::Result<()> {
    let file = py.import("os").and_then(|os| os.getattr("__file__"));
    let file: PyResult<PathBuf> = file.and_then(|file| file.extract());
    // A module without a file is not in the file system.
    let Some(library) = file
        .ok()
        .as_deref()
        .and_then(Path::parent)
        .map(Path::to_owned)
    else {
        return Ok(());
    };
    let Some(closed) = first_closed(&library) else {
        return Ok(());
    };
    let user = settings
        .user
        .as_deref()
        .unwrap_or("the user of the workers");
    let (closed, library) = (closed.display(), library.display());
    Err(io::Error::other(format!(
        "{user} may not enter {closed}, and Python's library is {library}; hint: install Python and the virtual \
         environment where {user} can read them, such as /opt or /srv, and name it with --python; or chmod o+x {closed}"
    )))
}
