//! What can happen, and the threads that wait for it. They end with the process: none has anything
//! to lose.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ratatui::termion::event::Key;
use ratatui::termion::input::TermRead;

use rcorn_control::{Answer, Request, Status, place};
use rcorn_sys::signal::{SendByte, SetFlag, handle, number};

/// An instance that does not tell its state for this long is said to give no answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The signals that end it.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// What has happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A key was pressed.
    Key(Key),
    /// The terminal has another size.
    Resize,
    /// A signal says to end.
    End,
    /// The terminal cannot be read.
    Broken(io::Error),
    /// An instance has told its state, or has not.
    Seen {
        /// Its control socket.
        path: PathBuf,
        /// When the answer came.
        at: Instant,
        /// The state, or why there is none.
        outcome: Box<Result<Status, String>>,
    },
    /// An instance has answered an order, or has not.
    Answered {
        /// The order.
        order: Order,
        /// The answer in words; whether it was carried out.
        outcome: Result<String, String>,
    },
}

/// What an instance is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Its control socket.
    pub(crate) path: PathBuf,
    /// What is asked.
    pub(crate) request: Request,
    /// Whom it is about, for the title of the answer.
    pub(crate) about: String,
}

/// Which instances are to be shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Those with these control sockets, whether they run or not.
    pub(crate) sockets: Vec<PathBuf>,
    /// Those with these pids that run. With neither: all of this user.
    pub(crate) pids: Vec<u32>,
}

impl Wanted {
    /// The control sockets of the instances that are to be shown now.
    pub(crate) fn paths(&self, environment: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
        let mut paths = self.sockets.clone();
        if !self.pids.is_empty() || self.sockets.is_empty() {
            paths.extend(place::of(environment, &self.pids));
        }
        paths.sort();
        paths.dedup();
        paths
    }
}

/// Waits for the signals that end it, and for the one that tells of another size.
pub(crate) fn signals(events: &Sender<Event>) -> io::Result<()> {
    let (mut reader, writer) = UnixStream::pair()?;
    // Not told by the byte alone: none fits into a full socket.
    let ends = Arc::new(AtomicBool::new(false));
    let wake = || {
        io::Result::Ok(SendByte {
            to: writer.try_clone()?.into(),
            byte: 0,
        })
    };
    for signal in ENDING {
        handle(number(signal), (SetFlag(Arc::clone(&ends)), wake()?))?;
    }
    handle(number(Signal::SIGWINCH), wake()?)?;
    let events = events.clone();
    thread::spawn(move || {
        while reader.read_exact(&mut [0]).is_ok() {
            let event = if ends.load(Ordering::Relaxed) {
                Event::End
            } else {
                Event::Resize
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Waits for keys.
pub(crate) fn keys(events: Sender<Event>) {
    thread::spawn(move || {
        for key in io::stdin().keys() {
            let event = match key {
                Ok(key) => Event::Key(key),
                Err(error) => Event::Broken(error),
            };
            if events.send(event).is_err() {
                return;
            }
        }
        // The terminal is gone.
        events.send(Event::End).ok();
    });
}

/// Asks an instance for its state, in a thread: one that hangs does not hold up the others.
pub(crate) fn look(path: PathBuf, events: Sender<Event>) {
    thread::spawn(move || {
        let answer = query(&path, &Request::Status, Some(PATIENCE));
        let outcome = answer.and_then(|answer| answer.status.ok_or(answer.text));
        let seen = Event::Seen {
            path,
            at: Instant::now(),
            outcome: Box::new(outcome),
        };
        // Nobody is there any more to see it.
        events.send(seen).ok();
    });
}

/// Gives an order, and sends the answer, however late it comes: the instance itself bounds the time
/// of what it does.
pub(crate) fn ask(order: Order, events: Sender<Event>) {
    thread::spawn(move || {
        let answer = query(&order.path, &order.request, None);
        let outcome = answer.and_then(|answer| {
            if answer.ok {
                Ok(answer.text)
            } else {
                Err(answer.text)
            }
        });
        // Nobody is there any more to see it.
        events.send(Event::Answered { order, outcome }).ok();
    });
}

fn query(path: &Path, request: &Request, patience: Option<Duration>) -> Result<Answer, String> {
    let asked = UnixStream::connect(path).and_then(|stream| {
        stream.set_read_timeout(patience)?;
        rcorn_control::ask(stream, request)
    });
    asked.map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            format!("none for {} s", PATIENCE.as_secs())
        } else {
            error.to_string()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_those_named_or_all() {
        let folder = std::env::temp_dir().join(format!("rcorn-top-{}", std::process::id()));
        let sockets = folder.join("rcorn");
        std::fs::create_dir_all(&sockets).unwrap();
        for pid in [11, 12] {
            std::fs::write(sockets.join(format!("{pid}.sock")), "").unwrap();
        }
        let runtime = folder.to_str().unwrap().to_owned();
        let environment = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| runtime.clone());
        let paths = |named: &[&str], pids: &[u32]| {
            let wanted = Wanted {
                sockets: named.iter().map(PathBuf::from).collect(),
                pids: pids.to_vec(),
            };
            let mut paths = wanted.paths(&environment);
            // Those of the machine's own instances, if there are any.
            paths.retain(|path| path.starts_with(&folder) || path.starts_with("/named"));
            let names = paths
                .iter()
                .map(|path| path.file_name().unwrap().to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(paths(&[], &[]), ["11.sock", "12.sock"]);
        assert_eq!(paths(&[], &[12]), ["12.sock"]);
        assert_eq!(paths(&["/named/x"], &[]), ["x"]);
        assert_eq!(paths(&["/named/x", "/named/x"], &[11]), ["x", "11.sock"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_instance_that_is_gone_gives_no_answer() {
        let error = query(Path::new("/nonexistent/x.sock"), &Request::Status, None).unwrap_err();
        assert!(error.contains("No such file"), "{error}");
    }
}
