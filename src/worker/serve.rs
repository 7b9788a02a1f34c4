//! From bytes to replies: each whole request in what was received is served, in order; what is left waits
//! for more.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_app::hooks::WorkerHooks;
use rcorn_connection::channel::Channel;
use rcorn_http::{Framing, Head, Progress, Refusal, Version, parse_head};
use rcorn_log as log;
use rcorn_python::traceback;
use rcorn_settings::Protocol;
use rcorn_sys::clock;
use rcorn_wsgi::body::Body;
use rcorn_wsgi::environ::EnvironError;
use rcorn_wsgi::exchange::{Ending, ExchangeError, Served};
use rcorn_wsgi::input::Input;
use rcorn_wsgi::reply::ResponseConstraints;
use rcorn_wsgi::variables::Variables;

use super::connection::{Connection, Waiting};
use super::desk::Desk;
use super::gather::Gather;
use super::turn::Next;

/// A reply that the client's kernel takes at once.
const TAKEN: u64 = 32 * 1024;

/// One request whose head is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) head: &'a Head,
    /// What the head's places are in.
    pub(super) text: &'a [u8],
    /// The head's bytes on the wire.
    pub(super) length: usize,
    /// What was received behind them.
    pub(super) behind: &'a [u8],
    /// The variables that it came as.
    pub(super) variables: Option<Variables<'a>>,
    /// The client, for the logs.
    pub(super) peer: &'a str,
}

impl Request<'_> {
    /// Its first line, without the end.
    pub(super) fn line(&self) -> &[u8] {
        let line = self.text.get(..self.head.block.start()).unwrap_or(&[]);
        let line = line.strip_prefix(b"\r\n").unwrap_or(line);
        line.strip_suffix(b"\r\n").unwrap_or(line)
    }

    pub(super) fn method(&self) -> &[u8] {
        self.head.method(self.text)
    }

    pub(super) fn target(&self) -> &[u8] {
        self.head.target.of(self.text)
    }

    pub(super) fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }
}

/// What became of one call of the app.
struct Answered<'py> {
    served: Served,
    /// What a streamed body's decoder had too much, if the body was read to its end.
    left: Option<Vec<u8>>,
    /// What was wrong with the body's framing.
    malformed: Option<Refusal>,
    /// For the access log.
    environ: Bound<'py, PyDict>,
}

impl Desk<'_> {
    /// Serves every complete request in `bytes`; keeps the rest with the connection.
    pub(super) fn serve_all(
        &mut self,
        py: Python<'_>,
        connection: &mut Connection,
        bytes: &[u8],
    ) -> Next {
        let mut at = 0_usize;
        if connection.passport.may_be_proxied {
            match self.introduce(connection, bytes) {
                Ok(used) => at = used,
                Err(next) => return next,
            }
        }
        if connection.protocol() == Protocol::Uwsgi {
            return self.serve_packet(py, connection, bytes.get(at..).unwrap_or(&[]));
        }
        let mut bytes = Cow::Borrowed(bytes);
        loop {
            let rest = bytes.get(at..).unwrap_or(&[]);
            if rest.is_empty() {
                connection.buffer = Vec::new();
                return Next::Park(Self::between_requests(connection));
            }
            let mut head = std::mem::take(&mut self.head);
            let parsed = parse_head(rest, &self.limits, &mut head);
            let step = match parsed {
                Ok(Progress::More) => Step::Wait(Waiting::Head),
                Ok(Progress::Done(())) => {
                    let request = Request {
                        head: &head,
                        text: rest,
                        length: head.length,
                        behind: rest.get(head.length..).unwrap_or(&[]),
                        variables: None,
                        peer: &connection.peer_address(),
                    };
                    self.one(py, connection, request)
                }
                Err(refusal) => {
                    self.refuse(connection, &refusal);
                    Step::Leave(Next::Close)
                }
            };
            self.head = head;
            match step {
                Step::Served(used) => at = at.saturating_add(used),
                Step::ServedStream(left) => {
                    // The connection's next bytes are what the body's decoder had too much.
                    (bytes, at) = (Cow::Owned(left), 0);
                }
                Step::Wait(waiting) => {
                    // With room for what is awaited: it is not moved when it comes.
                    let room = if let Waiting::Body(needed) = waiting {
                        needed.max(rest.len())
                    } else {
                        rest.len()
                    };
                    connection.buffer = Vec::with_capacity(room);
                    connection.buffer.extend_from_slice(rest);
                    return Next::Park(waiting);
                }
                Step::Leave(next) => return next,
            }
            if self.orders.quit() {
                return Next::Abort;
            }
            // The client takes this reply before the next is made.
            if connection.channel.owes() {
                connection.buffer = bytes.get(at..).unwrap_or(&[]).to_vec();
                return Next::Park(Waiting::NextRequest);
            }
        }
    }

    fn between_requests(connection: &Connection) -> Waiting {
        if connection.passport.served == 0 {
            Waiting::FirstByte
        } else {
            Waiting::NextRequest
        }
    }

    /// One request.
    pub(super) fn one(
        &mut self,
        py: Python<'_>,
        connection: &mut Connection,
        request: Request<'_>,
    ) -> Step {
        let Request { head, behind, .. } = request;
        let gather = match head.framing {
            Framing::None => Gather::Here(0),
            Framing::Length(length) => self.gather(&request, length),
            Framing::Chunked => self.gather_chunks(connection, &request),
        };
        match gather {
            Gather::Until(needed) => return Step::Wait(Waiting::Body(needed)),
            Gather::Chunks => return Step::Wait(Waiting::Chunks),
            Gather::Here(_) | Gather::Stream => {}
        }
        // What comes behind it is another request, with a time of its own.
        connection.waiting = Waiting::NextRequest;
        connection.chunks = None;
        let (input, used) = self.body(py, connection, &request, &gather);
        connection
            .channel
            .owe_continue(head.expect_continue && input.is_some());
        let begun = clock::monotonic();
        // What follows on the same connection must not wait for this reply.
        let alone = used == behind.len();
        if self.coalescing.begin(begun, alone && connection.is_near) {
            self.deputy.flush();
        }
        self.attend();
        self.cell
            .begin(begun, request.line(), request.peer.as_bytes());
        let answered = self.answer(py, connection, &request, input);
        let (served, left, environ) = match answered {
            Ok(answered) => {
                let left = answered.left;
                let served =
                    self.own_answer(connection, &request, answered.served, answered.malformed);
                (served, left, Some(answered.environ))
            }
            Err(error) => {
                let served = self.own_failure(connection, &request, &error);
                (served, None, None)
            }
        };
        self.cell.end(clock::coarse());
        self.log_access(py, &request, &served, begun, environ.as_ref());
        drop(environ);
        connection.passport.served = connection.passport.served.saturating_add(1);
        Self::log_trouble(&request, served.error);
        let gathered = matches!(gather, Gather::Here(_));
        let whole = used == behind.len() && left.is_some();
        match served.ending {
            Ending::KeepAlive if gathered => Step::Served(request.length.saturating_add(used)),
            Ending::KeepAlive => match left {
                Some(left) => Step::ServedStream(left),
                // The app left part of the body unread and the rest is not here: nothing after it can be found.
                None => Step::Leave(Next::Close),
            },
            // The client said that this was its last request, and all of it was read. Should it send something all the
            // same, a close would cost what of the reply it has not taken yet: a short one it has.
            Ending::Close if whole && !head.keep_alive && served.sent <= TAKEN => {
                Step::Leave(Next::Done)
            }
            Ending::Close | Ending::Unanswered => Step::Leave(Next::Close),
            Ending::Abort => {
                // What the app gave before it failed.
                drop(connection.channel.pump());
                drop(rcorn_sys::net::reset_on_close(connection.channel.socket()));
                Step::Leave(Next::Abort)
            }
        }
    }

    /// What the server says where the app gave no answer.
    fn own_answer(
        &self,
        connection: &Connection,
        request: &Request<'_>,
        served: Served,
        malformed: Option<Refusal>,
    ) -> Served {
        if served.ending != Ending::Unanswered {
            return served;
        }
        let Some(refusal) = malformed else {
            let message = "The app failed to answer this request.";
            let sent = self.page(connection, 500, message, request.is_head());
            return Served { sent, ..served };
        };
        // The client's fault, whatever the app made of it.
        Served {
            status: refusal.status(),
            sent: self.refuse(connection, &refusal),
            error: None,
            ..served
        }
    }

    /// Environ, app, reply.
    fn answer<'py>(
        &mut self,
        py: Python<'py>,
        connection: &mut Connection,
        request: &Request<'_>,
        body: Option<Body>,
    ) -> Result<Answered<'py>, EnvironError> {
        let wanted = self
            .scoreboard
            .shared()
            .wanted
            .load(std::sync::atomic::Ordering::Relaxed);
        self.environ.set_multiprocess(py, wanted > 1)?;
        let input = body
            .map(|body| Bound::new(py, Input::new(body)))
            .transpose()?;
        let trusted = &self.settings.forwarded_allow_ips;
        let most = self.settings.max_keepalive_requests;
        let last = most > 0 && connection.passport.served.saturating_add(1) >= most;
        let (head, text) = (request.head, request.text);
        let keep_alive = head.keep_alive && !last && self.keeps_alive();
        let ends = connection.ends(py, trusted)?;
        let environ = match request.variables {
            None => self.environ.build(py, text, head, ends, input.as_ref())?,
            Some(variables) => {
                let input = input.as_ref();
                self.environ
                    .build_from(py, text, head, variables, ends, input)?
            }
        };
        let constraints = ResponseConstraints {
            head_only: request.is_head(),
            http11: head.version == Version::Http11,
            keep_alive,
            coalesce: keep_alive && self.coalescing.waits(),
        };
        let served = match self.hooks {
            None => self.app.serve(
                py,
                &mut self.exchange,
                &environ,
                &connection.channel,
                constraints,
            )?,
            Some(hooks) => {
                self.serve_with(py, hooks, &environ, &connection.channel, constraints)?
            }
        };
        let (left, malformed) = match &input {
            None => (Some(Vec::new()), None),
            Some(input) => (input.get().finish(), input.get().malformed()),
        };
        Ok(Answered {
            served,
            left,
            malformed,
            environ,
        })
    }

    /// With the hooks of a `gunicorn.conf.py` around it.
    fn serve_with(
        &mut self,
        py: Python<'_>,
        hooks: &WorkerHooks,
        environ: &Bound<'_, PyDict>,
        channel: &Channel,
        constraints: ResponseConstraints,
    ) -> PyResult<Served> {
        let request = match hooks.before(py, environ) {
            Ok(request) => request,
            Err(error) => {
                return Ok(Served {
                    status: 500,
                    sent: 0,
                    ending: Ending::Unanswered,
                    error: Some(ExchangeError::App(traceback::format(py, &error))),
                });
            }
        };
        let served = self
            .app
            .serve(py, &mut self.exchange, environ, channel, constraints)?;
        self.exchange.with_reply_head(|head| {
            hooks.after(py, request, environ, head, served.status, served.sent);
        });
        Ok(served)
    }

    /// What went wrong, in the log.
    fn log_trouble(request: &Request<'_>, trouble: Option<ExchangeError>) {
        let Some(trouble) = trouble else { return };
        let (method, target) = (
            log::escaped(request.method()),
            log::escaped(request.target()),
        );
        match trouble {
            ExchangeError::App(text) => {
                log::error(format_args!(
                    "Error handling request {method} {target}\n{text}"
                ));
            }
            ExchangeError::Close(text) => {
                log::error(format_args!(
                    "Error in close() after request {method} {target}\n{text}"
                ));
            }
            ExchangeError::Length(text) => log::error(format_args!(
                "Error handling request {method} {target}: {text}"
            )),
            ExchangeError::Client(text) => {
                log::info(format_args!(
                    "Client left during request {method} {target}: {text}"
                ));
            }
            ExchangeError::Leaving => {
                log::warning(format_args!(
                    "Dropped request {method} {target}: told to leave at once"
                ));
            }
        }
    }
}

/// What one request leads to.
pub(super) enum Step {
    /// Served; it took so many bytes.
    Served(usize),
    /// Served, its body came by stream; these bytes are the next request's.
    ServedStream(Vec<u8>),
    /// More bytes are needed.
    Wait(Waiting),
    /// The connection is done.
    Leave(Next),
}
