//! Certificates that a front looks at before they are put into force: whether each has its key, is
//! valid now, and can be used. It is a front of its own, which serves nobody.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use rcorn_front_link::{FromFront, Tls, ToFront};
use rcorn_sys::clock;
use rcorn_types::Monotonic;

use super::process::FrontProcess;
use super::program::FrontProgram;

/// How long it may take.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

/// A check that runs. Dropping it ends its process.
#[derive(Debug)]
pub(crate) struct CertificateCheck {
    process: FrontProcess,
    deadline: Monotonic,
}

impl CertificateCheck {
    /// Begins.
    ///
    /// # Errors
    ///
    /// The program cannot be written or executed.
    pub(crate) fn start(program: &FrontProgram, tls: &Tls) -> io::Result<Self> {
        let check = ToFront::Check(Box::new(tls.clone()));
        Ok(Self {
            process: FrontProcess::start(program, &check, Vec::new(), 0)?,
            deadline: clock::now().after(CHECK_LIMIT),
        })
    }

    /// Makes the loop wake up for the end.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.process.register(registry, token)
    }

    /// When it is given up.
    pub(crate) fn deadline(&self) -> Monotonic {
        self.deadline
    }

    /// Whether they are good, or a sentence that says why not; `None`: it is not known yet.
    pub(crate) fn poll(&mut self, now: Monotonic) -> Option<Result<(), String>> {
        let messages = match self.process.receive() {
            Ok(messages) => messages,
            Err(error) => return Some(Err(format!("the check of certificates: {error}"))),
        };
        for message in messages {
            match message {
                FromFront::Checked { .. } => return Some(Ok(())),
                FromFront::Refused { reason } => return Some(Err(reason)),
                FromFront::Ready { .. } | FromFront::Log { .. } | FromFront::Status { .. } => {}
            }
        }
        if self.process.has_closed() {
            let what = "the check of certificates: its process ended early";
            return Some(Err(what.to_owned()));
        }
        (self.deadline <= now).then(|| {
            let limit = CHECK_LIMIT.as_secs();
            Err(format!(
                "the check of certificates was not done within {limit} s"
            ))
        })
    }

    /// The same for commands that have no loop.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with them.
    pub(crate) fn wait(mut self) -> Result<(), String> {
        loop {
            let now = clock::now();
            if let Some(end) = self.poll(now) {
                return end;
            }
            let left = self
                .deadline
                .since(now)
                .saturating_add(Duration::from_millis(1));
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut wanted = [PollFd::new(self.process.link(), PollFlags::POLLIN)];
            // The next look shows what has happened.
            poll(&mut wanted, left).ok();
        }
    }
}

impl Drop for CertificateCheck {
    fn drop(&mut self) {
        self.process.kill_child();
    }
}
