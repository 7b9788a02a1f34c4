//! A spare worker: it has imported the app, watches no listener, and waits until the arbiter tells
//! it to serve.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};
use pyo3::prelude::*;

use rcorn_link::{Report, report_with};
use rcorn_python::fork::pid;
use rcorn_sys::private::PrivateMark;
use rcorn_sys::process::set_title;

use super::orders::Orders;
use super::spec::WorkerSpec;

/// Waits for the order to serve. `false`: the worker must leave.
///
/// # Errors
///
/// Those of socketpair(2) and poll(2); the arbiter cannot be told.
pub(super) fn wait(py: Python<'_>, spec: &WorkerSpec<'_>, orders: &mut Orders) -> io::Result<bool> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    let _private = PrivateMark::new(&ours);
    let ready = Report::SpareReady {
        id: spec.id,
        pid: pid(),
    };
    report_with(spec.reports, &ready, Some(theirs.as_fd()))?;
    // The arbiter's copy alone must keep it open.
    drop(theirs);
    let serves = loop {
        if must_leave(orders) {
            break false;
        }
        let [told, woken] = {
            let wake = orders.wake();
            let mut wanted = [
                PollFd::new(ours.as_fd(), PollFlags::POLLIN),
                PollFd::new(wake.as_fd(), PollFlags::POLLIN),
            ];
            // Threads of the app may run meanwhile.
            match py.detach(|| poll(&mut wanted, PollTimeout::NONE)) {
                Ok(_) => {}
                // A handler has run: it has said so on the other descriptor.
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            wanted.each_ref().map(|one| one.any() == Some(true))
        };
        if woken {
            orders.follow(py);
        }
        if told {
            // 0: the end of the socket.
            let serves = recv(ours.as_raw_fd(), &mut [0], MsgFlags::empty())? > 0;
            // An order that came first would wake nobody any more.
            break serves && !must_leave(orders);
        }
    };
    let name = spec.start.settings.process_name();
    set_title(&format!("rcorn: worker [{name}]"));
    Ok(serves)
}

fn must_leave(orders: &Orders) -> bool {
    let leave = orders.leave();
    leave.drain() || leave.quit() || leave.abort() || orders.must_unwind()
}
