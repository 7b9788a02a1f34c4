//! systemd's side of `sd_notify(3)`: a datagram socket that a test waits on.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

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
        let length = self.socket.recv(&mut buffer).expect("a notification");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Waits for a notification with a line that begins so, and returns the line. Earlier ones are passed
    /// over: they come in order.
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
}
