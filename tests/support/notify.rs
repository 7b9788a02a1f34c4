//! systemd's side of `sd_notify(3)`: a datagram socket that a test waits on.

use std::io::{ErrorKind, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use tempfile::TempDir;

use super::Deadline;

/// A notification socket.
#[derive(Debug)]
pub(crate) struct Notify {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Notify {
    /// Binds the socket.
    pub(crate) fn new() -> Self {
        let directory = TempDir::with_prefix("rcorn-notify-").unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { socket, directory }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("notify")
    }

    /// The next notification: its assignments, one a line.
    pub(crate) fn next(&self, deadline: Deadline) -> String {
        let left = deadline.left();
        assert!(!left.is_zero(), "no notification came");
        self.socket.set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 4096];
        let length = loop {
            match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.expect("a notification"),
            }
        };
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Waits for a notification with a line of this beginning, and returns the line. Earlier ones
    /// are passed over: they come in order.
    pub(crate) fn expect(&self, beginning: &str, deadline: Deadline) -> String {
        loop {
            let notification = self.next(deadline);
            if let Some(line) = notification
                .lines()
                .find(|line| line.starts_with(beginning))
            {
                return line.to_owned();
            }
        }
    }

    /// Whether one comes within this time; it is consumed.
    pub(crate) fn hears_within(&self, time: Duration) -> bool {
        self.socket.set_read_timeout(Some(time)).unwrap();
        self.socket.recv(&mut [0; 4096]).is_ok()
    }

    /// The next notification, with the descriptor that came with it.
    pub(crate) fn next_with_descriptor(&self, deadline: Deadline) -> (String, Option<OwnedFd>) {
        self.socket.set_read_timeout(Some(deadline.left())).unwrap();
        let mut buffer = [0; 4096];
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg::<()>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .unwrap();
        let descriptor = received.cmsgs().unwrap().find_map(|message| {
            let ControlMessageOwned::ScmRights(numbers) = message else {
                return None;
            };
            numbers.first().map(|number| super::process::own(*number))
        });
        let length = received.bytes;
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        (text, descriptor)
    }
}
