//! Privileges: dropped before anything of the app is loaded.

use std::ffi::CString;
use std::io;

use nix::unistd::{geteuid, initgroups, setgid, setgroups, setuid};

use rcorn_settings::Settings;
use rcorn_sys::user::Identity;

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
    // The groups of the user before must not stay: they are rights too.
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
