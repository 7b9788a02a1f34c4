//! What the front may do, and who may look into it.

use std::os::unix::fs::MetadataExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getegid, geteuid};
use rcorn_front_link::{Configuration, ListenerKind, User};

use crate::support::client::plain;
use crate::support::front::{Front, Options};
use crate::support::worker::echo;

/// A user without rights (`nobody` on Debian).
const NOBODY: u32 = 65_534;

/// The effective number in a line of `/proc/PID/status`.
fn effective(status: &str, name: &str) -> u32 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let mut numbers = line.unwrap().split_whitespace().skip(1);
    numbers.next().unwrap().parse().unwrap()
}

/// As root another user; everybody else stays who they are.
#[test]
fn it_becomes_the_user_and_nobody_reads_its_memory() {
    let (uid, gid) = if geteuid().is_root() {
        (NOBODY, NOBODY)
    } else {
        (geteuid().as_raw(), getegid().as_raw())
    };
    let worker = echo();
    worker.give_to(uid);
    let user = User {
        uid,
        gid,
        groups: vec![gid],
    };
    let options = Options {
        kinds: vec![ListenerKind::Http],
        threads: 2,
        user: Some(user),
        ..Options::default()
    };
    let front = Front::start(&worker, Configuration::default(), options);
    // The workers' socket is reached by its inode, whoever may enter its folder.
    assert_eq!(plain(front.address()).get("/").status, 200);
    let process = format!("/proc/{}", front.process.child.id());
    for thread in std::fs::read_dir(format!("{process}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert_eq!(effective(&status, "Uid:"), uid);
        assert_eq!(effective(&status, "Gid:"), gid);
    }
    // Of a process that cannot be traced, root owns these files (proc(5)).
    let maps = std::fs::metadata(format!("{process}/maps")).unwrap();
    assert_eq!(maps.uid(), 0);
    let title = std::fs::read_to_string(format!("{process}/cmdline")).unwrap();
    assert!(title.starts_with("rcorn: front\0"), "{title:?}");
}

#[test]
fn signals_to_the_whole_group_are_the_arbiters_business() {
    let worker = echo();
    let front = Front::http(&worker, Configuration::default());
    let pid = Pid::from_raw(front.process.child.id().try_into().unwrap());
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
    ] {
        kill(pid, signal).unwrap();
    }
    assert_eq!(plain(front.address()).get("/").status, 200);
}
