//! Signals to the arbiter, and the order that each gives. The handlers only count, and write to a
//! pipe, which the loop reads in order.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;
use signal_hook::consts;

use rcorn_arbiter::Order;
use rcorn_sys::signal::{Count, SendByte, number};

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

/// How many times [`Signals::take`] reads the pipe: whoever sends signals without a pause does not
/// keep the loop from its work.
const READS: usize = 16;

/// The signals that wait to be taken.
///
/// The pipe tells their order, and wakes the loop. It has room for a few hundred, and a signal is
/// not lost when it is full: the counts tell which have come.
#[derive(Debug)]
pub(super) struct Signals {
    pipe: mio::net::UnixStream,
    counts: Vec<(Signal, Arc<AtomicU32>)>,
}

impl Signals {
    /// Installs the handlers.
    pub(super) fn install() -> io::Result<Self> {
        let (mut signals, writer) = Self::new()?;
        for handled in HANDLED {
            let (count, wake) = signals.add(Signal::try_from(handled)?, &writer)?;
            rcorn_sys::signal::handle(handled, (count, wake))?;
        }
        Ok(signals)
    }

    fn new() -> io::Result<(Self, UnixStream)> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        let signals = Self {
            pipe: mio::net::UnixStream::from_std(reader),
            counts: Vec::new(),
        };
        Ok((signals, writer))
    }

    /// What the handler of a signal does.
    fn add(&mut self, signal: Signal, writer: &UnixStream) -> io::Result<(Count, SendByte)> {
        let count = Arc::new(AtomicU32::new(0));
        let to = writer.try_clone()?.into();
        let byte = u8::try_from(number(signal)).map_err(io::Error::other)?;
        self.counts.push((signal, Arc::clone(&count)));
        Ok((Count(count), SendByte { to, byte }))
    }

    /// What to wait on.
    pub(super) fn source(&mut self) -> &mut mio::net::UnixStream {
        &mut self.pipe
    }

    /// The signals that have arrived: those whose bytes are in the pipe in order, then the others.
    /// TTIN and TTOU as often as they arrived, the orders to stop at most twice (the second makes
    /// haste), and others not twice in succession: the second orders nothing new.
    pub(super) fn take(&mut self) -> Vec<Signal> {
        let mut taken = Vec::new();
        let mut bytes = [0; 256];
        for _ in 0..READS {
            let Ok(read) = self.pipe.read(&mut bytes) else {
                break;
            };
            let bytes = bytes.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            for byte in bytes {
                let mut counts = self.counts.iter();
                if let Some((signal, count)) =
                    counts.find(|(signal, _)| number(*signal) == i32::from(*byte))
                {
                    // None is left if it was taken without its byte.
                    let one = |count: u32| count.checked_sub(1);
                    let had = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one);
                    push(&mut taken, *signal, u32::from(had.is_ok()));
                }
            }
        }
        for (signal, count) in &self.counts {
            push(&mut taken, *signal, count.swap(0, Ordering::Relaxed));
        }
        taken
    }
}

fn push(taken: &mut Vec<Signal>, signal: Signal, times: u32) {
    let is_new = |taken: &[Signal]| {
        if matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU) {
            true
        } else if matches!(order(signal), Some(Order::Stop | Order::Quit)) {
            taken.iter().filter(|one| **one == signal).count() < 2
        } else if signal == Signal::SIGCHLD {
            !taken.contains(&signal)
        } else {
            taken.last() != Some(&signal)
        }
    };
    for _ in 0..times {
        if !is_new(taken) {
            break;
        }
        taken.push(signal);
    }
}

#[cfg(test)]
mod tests {
    use rcorn_sys::signal::AsyncSignalSafe;

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

    #[test]
    fn signals_are_taken_in_order_and_none_is_lost_when_the_pipe_is_full() {
        let (mut signals, writer) = Signals::new().unwrap();
        let mut add = |signal| signals.add(signal, &writer).unwrap();
        let ttin = add(Signal::SIGTTIN);
        let window = add(Signal::SIGWINCH);
        let term = add(Signal::SIGTERM);
        for handler in [&term, &ttin, &window, &window, &ttin] {
            handler.run();
        }
        let (ttin_, window_, term_) = (Signal::SIGTTIN, Signal::SIGWINCH, Signal::SIGTERM);
        assert_eq!(signals.take(), [term_, ttin_, window_, ttin_]);
        // The second order to stop is another one, and so is one to change what came in between.
        for handler in [&term, &term, &term, &window, &ttin, &window] {
            handler.run();
        }
        assert_eq!(signals.take(), [term_, term_, window_, ttin_, window_]);
        assert_eq!(signals.take(), []);
        // Far more than there is room for.
        for _ in 0..100_000 {
            window.run();
        }
        for handler in [&ttin, &term, &ttin] {
            handler.run();
        }
        // How often depends on the room in the pipe.
        let taken = signals.take();
        let count = |signal| taken.iter().filter(|one| **one == signal).count();
        assert!(count(window_) > 0);
        assert_eq!((count(ttin_), count(term_)), (2, 1));
        // Bytes that are still in the pipe are those of signals that were taken.
        ttin.run();
        assert_eq!(signals.take(), [ttin_]);
        assert_eq!(signals.take(), []);
    }
}
