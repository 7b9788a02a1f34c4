//! The owner of the files that the arbiter makes: the user and group of the workers. Workers must
//! be able to reopen a log after they have dropped their privileges, and a proxy in their group may
//! connect to a unix socket, as with gunicorn.

use std::io;
use std::path::Path;

use nix::unistd::{Gid, Uid, getegid, geteuid};
use serde::{Deserialize, Serialize};

use rcorn_settings::Settings;
use rcorn_sys::user::Identity;

/// A user and a group, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// Looks names up, which may ask servers and take any time (nss(5)). Called only in a helper
    /// process, or before the loop runs.
    ///
    /// # Errors
    ///
    /// There is no such user or group, or they cannot be looked up.
    pub(super) fn find(settings: &Settings) -> io::Result<Self> {
        if let Some(owner) = Self::of_numbers(settings) {
            return Ok(owner);
        }
        let identity = Identity::find(settings.user.as_deref(), settings.group.as_deref())?;
        Ok(Self {
            uid: identity.uid.as_raw(),
            gid: identity.gid.as_raw(),
        })
    }

    /// The owner, if no name has to be looked up for it.
    pub(super) fn of_numbers(settings: &Settings) -> Option<Self> {
        let number = |said: &Option<String>, current: u32| match said {
            None => Some(current),
            Some(text) => text.parse().ok(),
        };
        Some(Self {
            uid: number(&settings.user, geteuid().as_raw())?,
            gid: number(&settings.group, getegid().as_raw())?,
        })
    }

    /// User and group, unless this process has both.
    pub(super) fn if_other(self) -> Option<(Uid, Gid)> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        (uid != geteuid() || gid != getegid()).then_some((uid, gid))
    }

    /// Gives a file to this user and group.
    ///
    /// # Errors
    ///
    /// Those of chown(2).
    pub(super) fn take(self, path: &Path) -> io::Result<()> {
        match self.if_other() {
            None => Ok(()),
            Some((uid, gid)) => {
                std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(user: Option<&str>, group: Option<&str>) -> Settings {
        Settings {
            user: user.map(str::to_owned),
            group: group.map(str::to_owned),
            ..Settings::default()
        }
    }

    #[test]
    fn numbers_need_no_lookup_and_names_do() {
        let of = |user, group| Owner::of_numbers(&settings(user, group));
        assert_eq!(of(None, None).unwrap().if_other(), None);
        let other = of(Some("65533"), Some("65532")).unwrap();
        assert_eq!(
            other.if_other(),
            Some((Uid::from_raw(65533), Gid::from_raw(65532)))
        );
        assert_eq!(of(Some("root"), None), None);
        assert_eq!(of(Some("0"), Some("root")), None);
        let root = Owner::find(&settings(Some("root"), Some("root"))).unwrap();
        assert_eq!(root, Owner { uid: 0, gid: 0 });
    }

    #[test]
    fn a_name_that_does_not_exist_is_named() {
        let error = Owner::find(&settings(None, Some("no such group"))).unwrap_err();
        assert!(error.to_string().contains("'no such group'"), "{error}");
    }
}
