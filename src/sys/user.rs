//! Users and groups by name or number, and what a user may not enter.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access, getegid, geteuid};

/// Whom workers run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
    /// The user's name, when the user has one (for its supplementary groups).
    pub name: Option<String>,
}

impl Identity {
    /// Looks both up; `None` means what this process is.
    ///
    /// # Errors
    ///
    /// There is no such user or group, or they cannot be looked up (getpwnam(3), getgrnam(3)).
    pub fn find(user: Option<&str>, group: Option<&str>) -> io::Result<Self> {
        let missing =
            |what: &str, name: &str| io::Error::other(format!("there is no {what} '{name}'"));
        let gid = match group {
            None => getegid(),
            Some(name) => match name.parse() {
                Ok(number) => Gid::from_raw(number),
                Err(_name) => {
                    Group::from_name(name)?
                        .ok_or_else(|| missing("group", name))?
                        .gid
                }
            },
        };
        let (uid, entry) = match user {
            None => (geteuid(), None),
            Some(name) => match name.parse() {
                Ok(number) => (
                    Uid::from_raw(number),
                    User::from_uid(Uid::from_raw(number))?,
                ),
                Err(_name) => {
                    let entry = User::from_name(name)?.ok_or_else(|| missing("user", name))?;
                    (entry.uid, Some(entry))
                }
            },
        };
        Ok(Self {
            uid,
            gid,
            name: entry.map(|entry| entry.name),
        })
    }

    /// Whether this process is that already.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.uid == geteuid() && self.gid == getegid()
    }
}

/// The first part of a path that the user of this process may not enter. Modules can also be in an
/// archive (`python311.zip`), which must be readable. What is not there at all is not closed.
#[must_use]
pub fn first_closed(path: &Path) -> Option<&Path> {
    let parts: Vec<&Path> = path.ancestors().collect();
    let mut from_root = parts.into_iter().rev();
    from_root.find(|part| {
        let needed = if part.is_file() {
            AccessFlags::R_OK
        } else {
            AccessFlags::X_OK
        };
        access(*part, needed) == Err(Errno::EACCES)
    })
}
