//! The link: the arbiter's messages, and the answers. When the link closes, the front ends.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rcorn_front_link::wire::{Reader, Received, Writer};
use rcorn_front_link::{Configuration, Descriptor, FromFront, FrontListener, Start, ToFront};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::counters::{Counters, sums};
use crate::process;
use crate::records::{Record, Records};
use crate::running::Running;
use crate::serving::{self, Open, Plan, QUEUE_WATCH};
use crate::tls;

/// For how long the last answer may take to be sent.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// The threads at work.
struct Serving {
    running: watch::Sender<Arc<Running>>,
    drain: watch::Sender<bool>,
    counters: Vec<Arc<Counters>>,
    open: Arc<Open>,
    /// Until when it drains, and until when its accept queues are watched at least.
    until: Option<(Instant, Instant)>,
    /// What the inner socket's path names.
    _inner: OwnedFd,
}

/// The front's side of the link.
struct Control {
    link: UnixStream,
    reader: Reader,
    writer: Writer,
    records: Records,
    serving: Option<Serving>,
}

/// What a message leads to.
enum Next {
    Continue,
    Exit(ExitCode),
}

/// Serves as the arbiter says, within a [`tokio::task::LocalSet`], until it drains or the link
/// closes.
///
/// # Errors
///
/// The link is broken.
pub(crate) async fn run(link: OwnedFd) -> io::Result<ExitCode> {
    let link = std::os::unix::net::UnixStream::from(link);
    link.set_nonblocking(true)?;
    let (records, mut waiting) = Records::channel();
    let mut control = Control {
        link: UnixStream::from_std(link)?,
        reader: Reader::default(),
        writer: Writer::default(),
        records,
        serving: None,
    };
    let code = control.serve(&mut waiting).await?;
    while let Ok(record) = waiting.try_recv() {
        control.log(record)?;
    }
    let sent = tokio::time::timeout(LAST_ANSWER, control.send_all());
    // There may be nobody to hear it.
    sent.await.ok();
    Ok(code)
}

impl Control {
    async fn serve(&mut self, waiting: &mut Receiver<Record>) -> io::Result<ExitCode> {
        loop {
            let is_blocked = !self.flush()?;
            let drained = drained(self.serving.as_ref());
            tokio::select! {
                ready = self.link.readable() => {
                    ready?;
                    let received = self.receive()?;
                    while let Some((message, descriptors)) = self.reader.take()? {
                        if let Next::Exit(code) = self.obey(message, descriptors)? {
                            return Ok(code);
                        }
                    }
                    if received == Received::Closed {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                ready = self.link.writable(), if is_blocked => ready?,
                Some(record) = waiting.recv() => self.log(record)?,
                () = drained => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    async fn send_all(&mut self) -> io::Result<()> {
        while !self.flush()? {
            self.link.writable().await?;
        }
        Ok(())
    }

    /// Sends what the link takes; returns whether that was all.
    fn flush(&mut self) -> io::Result<bool> {
        if self.writer.is_empty() {
            return Ok(true);
        }
        let (link, writer) = (&self.link, &mut self.writer);
        let flushed = link.try_io(Interest::WRITABLE, || {
            let is_all = writer.flush(link.as_fd())?;
            is_all
                .then_some(())
                .ok_or_else(|| io::ErrorKind::WouldBlock.into())
        });
        match flushed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what is there.
    fn receive(&mut self) -> io::Result<Received> {
        let (link, reader) = (&self.link, &mut self.reader);
        let received = link.try_io(Interest::READABLE, || match reader.read(link.as_fd())? {
            Received::Closed => Ok(()),
            Received::Drained => Err(io::ErrorKind::WouldBlock.into()),
        });
        match received {
            Ok(()) => Ok(Received::Closed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Drained),
            Err(error) => Err(error),
        }
    }

    fn answer(&mut self, message: &FromFront) -> io::Result<()> {
        self.writer.push(message, Vec::new())
    }

    fn log(&mut self, Record { level, text }: Record) -> io::Result<()> {
        self.answer(&FromFront::Log { level, text })
    }

    fn obey(&mut self, message: ToFront, descriptors: Vec<OwnedFd>) -> io::Result<Next> {
        match message {
            ToFront::Start(start) => {
                if let Err(reason) = self.start(*start, descriptors) {
                    self.answer(&FromFront::Refused { reason })?;
                    return Ok(Next::Exit(ExitCode::FAILURE));
                }
                self.ready()?;
            }
            ToFront::Reload(configuration) => match self.reload(*configuration) {
                Ok(()) => self.ready()?,
                Err(reason) => self.answer(&FromFront::Refused { reason })?,
            },
            ToFront::Check(tls) => {
                let answer = match tls::check(&tls) {
                    Ok(certificates) => FromFront::Checked { certificates },
                    Err(reason) => FromFront::Refused { reason },
                };
                self.answer(&answer)?;
            }
            ToFront::TicketKeys(keys) => {
                if let Some(serving) = &self.serving
                    && let Some(tls) = &serving.running.borrow().tls
                {
                    tls.tickets.replace(&keys);
                }
            }
            ToFront::Drain { seconds } => {
                let Some(serving) = &mut self.serving else {
                    return Ok(Next::Exit(ExitCode::SUCCESS));
                };
                let now = Instant::now();
                let until = now.checked_add(Duration::from_secs(seconds));
                let watched = now.checked_add(QUEUE_WATCH.saturating_mul(2));
                serving.until = until.zip(watched);
                serving.drain.send_replace(true);
            }
            ToFront::Status => {
                let status = self.status();
                self.answer(&status)?;
            }
        }
        Ok(Next::Continue)
    }

    fn ready(&mut self) -> io::Result<()> {
        let running = self
            .serving
            .as_ref()
            .map(|serving| serving.running.borrow());
        let tls = running.and_then(|running| running.tls.clone());
        let certificates = tls.map_or_else(Vec::new, |tls| tls.certificates);
        self.answer(&FromFront::Ready { certificates })
    }

    fn reload(&mut self, configuration: Configuration) -> Result<(), String> {
        let Some(serving) = &self.serving else {
            return Err("the front was not started; hint: this is a fault in rcorn".to_owned());
        };
        let running = Running::new(configuration)?;
        serving.running.send_replace(Arc::new(running));
        Ok(())
    }

    fn start(&mut self, start: Start, descriptors: Vec<OwnedFd>) -> Result<(), String> {
        if self.serving.is_some() {
            return Err("the front was started before; hint: this is a fault in rcorn".to_owned());
        }
        let running = Arc::new(Running::new(start.configuration)?);
        let given = Given::sort(&start.descriptors, descriptors, start.listeners)?;
        if let Some(log) = given.error_log {
            nix::unistd::dup2_stderr(log)
                .map_err(|errno| format!("the front cannot write to the error log: {errno}"))?;
        }
        process::confine(start.user.as_ref())?;
        let threads = match start.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let (running, running_seen) = watch::channel(running);
        let (drain, drain_seen) = watch::channel(false);
        let plan = Arc::new(Plan {
            listeners: given.listeners,
            inner: PathBuf::from(format!("/proc/self/fd/{}", given.inner.as_raw_fd())),
            challenges: given.challenges.map(Arc::new),
            threads,
            room: process::room(),
            running: running_seen,
            drain: drain_seen,
            records: self.records.clone(),
            open: Arc::default(),
        });
        let counters: Vec<Arc<Counters>> = (0..threads).map(|_thread| Arc::default()).collect();
        for (number, counters) in counters.iter().enumerate() {
            let (plan, counters) = (Arc::clone(&plan), Arc::clone(counters));
            if number == 0 {
                tokio::task::spawn_local(serving::serve(plan, counters));
            } else {
                serving::start_thread(plan, counters, number).map_err(|error| {
                    format!("the front cannot start thread {number}: {error}; hint: fewer threads")
                })?;
            }
        }
        self.serving = Some(Serving {
            running,
            drain,
            counters,
            open: Arc::clone(&plan.open),
            until: None,
            _inner: given.inner,
        });
        Ok(())
    }

    fn status(&self) -> FromFront {
        let serving = self.serving.as_ref();
        let threads = serving.map_or(&[][..], |serving| &serving.counters);
        let open = serving.map_or(0, |serving| serving.open.count());
        FromFront::Status {
            counters: sums(threads),
            connections: u64::try_from(open).unwrap_or(u64::MAX),
        }
    }
}

/// Waits until a front that drains has no connection, or its time is over.
fn drained(serving: Option<&Serving>) -> impl Future<Output = ()> + use<> {
    let draining = serving.and_then(|serving| Some((Arc::clone(&serving.open), serving.until?)));
    async move {
        match draining {
            Some((open, (until, watched))) => {
                tokio::time::sleep_until(watched.min(until)).await;
                // Whichever it was.
                tokio::time::timeout_at(until, open.until_none()).await.ok();
            }
            None => std::future::pending().await,
        }
    }
}

/// The descriptors of a start.
struct Given {
    listeners: Vec<(OwnedFd, FrontListener)>,
    inner: OwnedFd,
    challenges: Option<OwnedFd>,
    error_log: Option<OwnedFd>,
}

impl Given {
    fn sort(
        kinds: &[Descriptor],
        descriptors: Vec<OwnedFd>,
        listeners: Vec<FrontListener>,
    ) -> Result<Self, String> {
        let fault = |what: &str| format!("{what}; hint: this is a fault in rcorn");
        if kinds.len() != descriptors.len() {
            return Err(fault("a descriptor of the start is missing"));
        }
        let (mut sockets, mut inner, mut challenges, mut error_log) =
            (Vec::new(), None, None, None);
        for (kind, descriptor) in kinds.iter().zip(descriptors) {
            match kind {
                Descriptor::Listener => sockets.push(descriptor),
                Descriptor::Inner => inner = Some(descriptor),
                Descriptor::AcmeChallenges => challenges = Some(descriptor),
                Descriptor::ErrorLog => error_log = Some(descriptor),
            }
        }
        if sockets.len() != listeners.len() {
            return Err(fault("listeners and their descriptors differ in number"));
        }
        Ok(Self {
            listeners: sockets.into_iter().zip(listeners).collect(),
            inner: inner.ok_or_else(|| fault("the workers' socket is missing"))?,
            challenges,
            error_log,
        })
    }
}
