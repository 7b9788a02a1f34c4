//! Plans the listening sockets for new settings: which of the old ones stay, and which are new.

use rcorn_log as log;
use rcorn_settings::Settings;

use super::listener::{ListenError, Listener, same_socket};
use super::lookup::Addresses;
use super::open::open;
use super::owner::Owner;

/// The sockets for new settings. The old ones do not change until the plan is put into force.
#[derive(Debug)]
pub(super) struct Plan {
    parts: Vec<Part>,
}

/// One socket of the plan.
#[derive(Debug)]
enum Part {
    /// An old socket, by its index.
    Kept(usize),
    /// A socket that was opened for the plan.
    New(Box<Listener>),
}

impl Plan {
    /// Opens the sockets that the settings name and `before` does not have.
    ///
    /// # Errors
    ///
    /// An address cannot be bound; the sockets that were opened before it are closed again.
    pub(super) fn make(
        settings: &Settings,
        before: &[Listener],
        addresses: &Addresses,
        owner: Owner,
    ) -> Result<Self, ListenError> {
        // systemd's sockets stay as long as the service runs, whatever `bind` says.
        if before.iter().any(|listener| listener.address.is_none()) {
            let parts = (0..before.len()).map(Part::Kept).collect();
            return Ok(Self { parts });
        }
        let known: Vec<_> = before.iter().map(|old| old.address.as_ref()).collect();
        let mut plan = Self { parts: Vec::new() };
        for address in &settings.bind {
            let old = same_socket(&known, address);
            let old = old.filter(|index| !before.get(*index).is_some_and(is_lost));
            let part = match old {
                Some(index) => Part::Kept(index),
                None => match open(address, settings, addresses, owner) {
                    Ok(listener) => Part::New(Box::new(listener)),
                    Err(error) => {
                        plan.discard();
                        return Err(error);
                    }
                },
            };
            plan.parts.push(part);
        }
        Ok(plan)
    }

    /// All sockets of the plan, in the order of `bind`.
    pub(super) fn sockets<'a>(&'a self, before: &'a [Listener]) -> Vec<&'a Listener> {
        let socket = |part: &'a Part| match part {
            Part::Kept(index) => before.get(*index),
            Part::New(listener) => Some(&**listener),
        };
        self.parts.iter().filter_map(socket).collect()
    }

    /// Puts the plan into force; sockets that are no longer needed are closed.
    pub(super) fn commit(self, listeners: &mut Vec<Listener>) {
        let mut old: Vec<Option<Listener>> =
            std::mem::take(listeners).into_iter().map(Some).collect();
        for part in self.parts {
            match part {
                Part::Kept(index) => listeners.extend(old.get_mut(index).and_then(Option::take)),
                Part::New(listener) => listeners.push(*listener),
            }
        }
        for mut listener in old.into_iter().flatten() {
            listener.remove_file();
        }
    }

    /// Gives the plan up: new unix sockets leave no file behind.
    pub(super) fn discard(self) {
        for part in self.parts {
            if let Part::New(mut listener) = part {
                listener.remove_file();
            }
        }
    }
}

/// Whether no client finds it any more: then it must be made again.
fn is_lost(listener: &Listener) -> bool {
    let is_lost = listener.is_lost();
    if is_lost {
        log::warning(format_args!(
            "The socket {} was removed; it is made again.",
            listener.name()
        ));
    }
    is_lost
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcorn_settings::{Address, Value};

    use super::*;

    fn settings(folder: &Path, names: &[&str]) -> Settings {
        let address = |name: &&str| {
            let text = format!("unix:{}", folder.join(name).display());
            Address::parse(&text).ok().unwrap()
        };
        Settings {
            bind: names.iter().map(address).collect(),
            ..Settings::default()
        }
    }

    fn plan(settings: &Settings, before: &[Listener]) -> Result<Plan, ListenError> {
        let owner = Owner::find(settings).unwrap();
        Plan::make(settings, before, &Addresses::default(), owner)
    }

    #[test]
    fn what_is_wanted_again_stays_and_the_rest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut listeners = Vec::new();
        let first = settings(folder, &["a", "b"]);
        plan(&first, &[]).unwrap().commit(&mut listeners);
        let kept = listeners[1].number();
        let second = plan(&settings(folder, &["c", "b"]), &listeners).unwrap();
        let numbers = second.sockets(&listeners);
        assert_eq!(numbers[1].number(), kept);
        assert!(folder.join("a").exists(), "nothing is closed before");
        second.commit(&mut listeners);
        assert_eq!(listeners.len(), 2);
        assert_eq!(listeners[1].number(), kept);
        assert!(!folder.join("a").exists());
        assert!(folder.join("b").exists() && folder.join("c").exists());
    }

    #[test]
    fn a_socket_whose_file_was_removed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut listeners = Vec::new();
        let same = settings(folder, &["a", "b"]);
        plan(&same, &[]).unwrap().commit(&mut listeners);
        let numbers = [listeners[0].number(), listeners[1].number()];
        std::fs::remove_file(folder.join("a")).unwrap();
        plan(&same, &listeners).unwrap().discard();
        assert!(!folder.join("a").exists(), "a plan that is given up");
        plan(&same, &listeners).unwrap().commit(&mut listeners);
        assert_ne!(listeners[0].number(), numbers[0]);
        assert_eq!(listeners[1].number(), numbers[1]);
        std::os::unix::net::UnixStream::connect(folder.join("a")).unwrap();
        // The file of somebody else stays.
        std::fs::remove_file(folder.join("b")).unwrap();
        std::fs::write(folder.join("b"), "").unwrap();
        plan(&same, &listeners).unwrap().commit(&mut listeners);
        assert_eq!(listeners[1].number(), numbers[1]);
        listeners[1].remove_file();
        assert!(folder.join("b").exists());
    }

    #[test]
    fn a_plan_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut listeners = Vec::new();
        plan(&settings(folder, &["a"]), &[])
            .unwrap()
            .commit(&mut listeners);
        plan(&settings(folder, &["b"]), &listeners)
            .unwrap()
            .discard();
        assert!(folder.join("a").exists() && !folder.join("b").exists());
    }

    #[test]
    fn a_plan_that_fails_half_way_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("file"), "").unwrap();
        let error = plan(&settings(folder, &["a", "file"]), &[]).unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
        assert!(!folder.join("a").exists() && folder.join("file").exists());
    }

    #[test]
    fn systemds_sockets_stay_whatever_bind_says() {
        let folder = tempfile::tempdir().unwrap();
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let given = Listener::wrap(socket2::Socket::from(socket), None).unwrap();
        let number = given.number();
        let mut listeners = vec![given];
        plan(&settings(folder.path(), &["a"]), &listeners)
            .unwrap()
            .commit(&mut listeners);
        assert_eq!(listeners.len(), 1);
        assert_eq!(listeners[0].number(), number);
        assert!(!folder.path().join("a").exists());
    }
}
