//! Signals to the arbiter, and the order that each gives. The handlers only write to a pipe, which
//! the loop reads in order.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use signal_hook::consts;

use rcorn_arbiter::Order;
use rcorn_sys::signal::SendByte;

/// The signals that the arbiter handles.
pub const HANDLED: [i32; 10] = [
    consts::SIGHUP,
    consts::SIGINT,
    consts::SIGQUIT,
    consts::SIGTERM,
    consts::SIGTTIN,
    consts::SIGTTOU,
    consts::SIGUSR1,
    consts::SIGUSR2,
    consts::SIGWINCH,
    consts::SIGCHLD,
];

/// The order that a signal gives; `None` for one that is not an order.
pub(super) fn order(signal: Signal) -> Option<Order> {
    let orders = [
        (Signal::SIGTERM, Order::Stop),
        (Signal::SIGINT, Order::Quit),
        (Signal::SIGQUIT, Order::Quit),
        (Signal::SIGHUP, Order::Reload),
        (Signal::SIGTTIN, Order::More),
        (Signal::SIGTTOU, Order::Fewer),
        (Signal::SIGUSR1, Order::Reopen),
        (Signal::SIGUSR2, Order::Upgrade),
        (Signal::SIGWINCH, Order::Dismiss),
    ];
    let mut orders = orders.into_iter();
    orders.find_map(|(known, order)| (known == signal).then_some(order))
}

/// The reading end of the pipe.
#[derive(Debug)]
pub(super) struct Signals {
    pipe: mio::net::UnixStream,
}

impl Signals {
    /// Installs the handlers.
    pub(super) fn install() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        for number in HANDLED {
            // A byte that does not fit is dropped: the unread ones suffice.
            let to = writer.try_clone()?.into();
            let byte = u8::try_from(number).map_err(io::Error::other)?;
            rcorn_sys::signal::handle(number, SendByte { to, byte })?;
        }
        Ok(Self {
            pipe: mio::net::UnixStream::from_std(reader),
        })
    }

    /// What to wait on.
    pub(super) fn source(&mut self) -> &mut mio::net::UnixStream {
        &mut self.pipe
    }

    /// The signals that have arrived, in order, each as often as it arrived (SIGCHLD once).
    pub(super) fn take(&mut self) -> Vec<Signal> {
        let mut taken = Vec::new();
        let mut bytes = [0; 256];
        while let Ok(count) = self.pipe.read(&mut bytes) {
            if count == 0 {
                break;
            }
            for byte in bytes.iter().take(count) {
                if let Ok(signal) = Signal::try_from(i32::from(*byte))
                    && !(signal == Signal::SIGCHLD && taken.contains(&signal))
                {
                    taken.push(signal);
                }
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_but_that_of_children_is_an_order() {
        for number in HANDLED {
            let signal = Signal::try_from(number).unwrap();
            assert_eq!(
                order(signal).is_none(),
                signal == Signal::SIGCHLD,
                "{signal}"
            );
        }
    }
}
