//! What the front does to itself before it reads a byte of a client.

use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rcorn_front_link::User;
use rcorn_sys::process::{set_title, widen_title_area};

/// What `ps` shows.
const TITLE: &str = "rcorn: front";

/// Signals that a terminal or a service manager sends to all processes of a group, or an operator
/// by pkill(1). The arbiter decides what they mean, and the front ends with it.
const OF_THE_GROUP: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGWINCH,
];

/// Sets what `ps` shows, ignores signals that are not for it alone, and lets it have as many
/// descriptors as it may.
pub(crate) fn prepare() {
    for signal in OF_THE_GROUP {
        // It cannot fail for these; if it did, the front would end and be started again.
        rcorn_sys::signal::ignore(signal).ok();
    }
    // Without room the title is cut.
    widen_title_area().ok();
    set_title(TITLE);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}

/// How many connections of clients there is room for: each takes a descriptor, and its request
/// another.
pub(crate) fn room() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _hard)| soft);
    usize::try_from(limit / 2).unwrap_or(usize::MAX).max(1)
}

/// Becomes the user, for good, and hides the keys: another process of the same user, which may run
/// the app, can neither trace this one nor read its memory, and it leaves no core.
///
/// # Errors
///
/// A sentence that names the cause and the way out.
pub(crate) fn confine(user: Option<&User>) -> Result<(), String> {
    if let Some(user) = user {
        become_user(user).map_err(|error| {
            format!(
                "the front cannot become user {} and group {}: {error}; hint: start rcorn as root",
                user.uid, user.gid
            )
        })?;
    }
    // After the change of user, which clears both.
    prctl::set_dumpable(false)
        .and_then(|()| prctl::set_pdeathsig(Signal::SIGKILL))
        .map_err(|errno| format!("the front cannot hide its memory: {errno}"))
}

fn become_user(user: &User) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if uid == Uid::effective() && gid == Gid::effective() && !uid.is_root() {
        return Ok(());
    }
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setgid(gid)?;
    setuid(uid)?;
    Ok(())
}
