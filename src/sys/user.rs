//! Users and groups by name or number.

use std::io;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid};

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
