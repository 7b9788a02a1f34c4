//! Under systemd.

mod notify;
mod sockets;
mod units;
mod watchdog;
