//! A new build takes over from a running one.

mod beside;
mod builds;
mod during_reload;
mod in_place;
mod moved_link;

use std::fs;
use std::path::Path;

use nix::unistd::Pid;

use crate::support::{Server, wait_until};

pub(super) fn read_pid(server: &Server, path: &Path) -> Pid {
    let mut pid = None;
    wait_until(server.deadline(), "a pid file", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        pid = text.trim().parse().ok();
        pid.is_some()
    });
    Pid::from_raw(pid.unwrap())
}
