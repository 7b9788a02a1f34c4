//! Whether a balancer may send clients.

use rcorn_control::Status;

/// Whether a worker serves, and new clients are welcome.
pub(super) fn is_ready(status: &Status) -> bool {
    status.state != "stopping" && status.serving() > 0
}
