//! One request from its head to the end of its response: body, environ, app, access log,
//! scoreboard.

use std::io::IoSlice;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use rcorn_app::hooks::{HookedRequest, WorkerHooks};
use rcorn_connection::{Channel, Coalescing, Flush, IoThread, Next, Waiting, WorkerEntry};
use rcorn_http::{Refusal, Version};
use rcorn_python::context::enter_new_context;
use rcorn_python::{call, text, traceback};
use rcorn_scoreboard::{Metric, Timing};
use rcorn_settings::ServerHeader;
use rcorn_sys::clock;
use rcorn_types::{Monotonic, WallClock};
use rcorn_wsgi::{
    Attached, Body, CONTINUE, CommonHeaders, Completed, Ending, Endpoints, EnvironBuilder,
    EnvironError, ExchangeError, ExchangeSlot, Input, ResponseConstraints, Served,
};

use super::access_line::{AccessLine, Seen};
use super::buffer_body::BodyPlan;
use super::common_lines::{date_line, server_line};
use super::connection::Connection;
use super::endpoints;
use super::error_pages;
use super::health;
use super::hung_threads::OneOfSeveral;
use super::recorder::Recorder;
use super::refused::Received;
use super::request::{Outcome, Request, RequestOrigin};
use super::request_id::{self, RequestIds};
use super::rules::Rules;
use super::static_file;
use super::waiting_since::WaitingSince;

/// A response that the client's kernel takes at once.
const MAX_PROMPT_REPLY_BYTES: u64 = 32 * 1024;

/// Serves the requests of one request slot, one after the other.
#[derive(Debug)]
pub(super) struct RequestHandler {
    /// Builds the environ of each request; remembers the previous one.
    environ: EnvironBuilder,
    /// Calls the app: `start_response`, `write` and the response that they make.
    exchange: ExchangeSlot,
    /// Records requests for the access log and statsd.
    recorder: Recorder,
    /// The worker's scoreboard cell and counters.
    entry: WorkerEntry,
    /// The ids of requests, if they have any.
    ids: Option<RequestIds>,
    /// Serves the parked connections while the app runs.
    io: IoThread<Endpoints>,
    /// Decides which responses leave together.
    pub(super) coalescing: Coalescing,
    /// The `Server` field line; empty if there is none.
    server: Vec<u8>,
    /// Which of several threads it serves; `None`: there is one.
    one_of_several: Option<OneOfSeveral>,
    /// Since when the requests of the current turn may have waited.
    pub(super) waiting_since: Option<WaitingSince>,
    /// The second for which the exchange's common headers (`Server`, `Date`) were made.
    dated: WallClock,
}

/// The result of one call of the app.
struct Answered<'py> {
    served: Served,
    /// Bytes that were received after a streamed body; `None` if the body was not read to its end.
    left: Option<Vec<u8>>,
    /// Why the request is refused after all: its body is malformed, or its fields contradict each
    /// other.
    refusal: Option<Refusal>,
    /// For the access log; `None`: there is none.
    environ: Option<Bound<'py, PyDict>>,
    /// The arguments of the request hooks.
    hooked: Option<HookedRequest<'py>>,
    /// The head of the response, if a static file was sent and the app was not called.
    file_head: Option<Vec<u8>>,
}

impl RequestHandler {
    pub(super) fn new(
        environ: EnvironBuilder,
        exchange: ExchangeSlot,
        (recorder, ids): (Recorder, Option<RequestIds>),
        entry: WorkerEntry,
        io: IoThread<Endpoints>,
        server: &ServerHeader,
        one_of_several: Option<OneOfSeveral>,
    ) -> Self {
        Self {
            environ,
            exchange,
            recorder,
            entry,
            ids,
            io,
            coalescing: Coalescing::default(),
            server: server_line(server),
            one_of_several,
            waiting_since: None,
            dated: WallClock::default(),
        }
    }

    /// Serves one request whose head is complete.
    pub(super) fn serve(
        &mut self,
        py: Python<'_>,
        rules: &Rules,
        connection: &mut Connection,
        request: &Request<'_>,
    ) -> Outcome {
        if let Some(path) = &rules.settings.health_path
            && health::is_check(request, path)
        {
            return self.answer_check(py, rules, connection, request);
        }
        let plan = BodyPlan::new(rules, connection, request);
        match plan {
            BodyPlan::Until(needed) => return Outcome::Wait(Waiting::Body(needed)),
            BodyPlan::Chunks => return Outcome::Wait(Waiting::Chunks),
            BodyPlan::Stream if !announce_work(py, connection, request) => {
                return Outcome::Leave(Next::Abort);
            }
            BodyPlan::Here(_) | BodyPlan::AllChunks | BodyPlan::Stream => {}
        }
        // The bytes after it are another request, with its own time limit.
        connection.state.waiting = Waiting::NextRequest;
        connection.chunks = None;
        let (body, used) = plan.source(py, rules, connection, request);
        let owes_continue = request.head.expect_continue && body.is_some();
        connection.channel.owe_continue(owes_continue);
        // The next request on the same connection must not wait for this response.
        let is_alone = used == request.behind.len();
        self.give_request_id(py, rules, connection, request);
        let begun = self.begin(connection, request, is_alone);
        let answered = match self.serve_file(py, rules, connection, request, body.is_some()) {
            Some(answered) => answered,
            None => self
                .answer(py, rules, connection, request, body)
                .unwrap_or_else(|error| Self::without_environ(&error)),
        };
        let Answered {
            served,
            left,
            refusal,
            environ,
            hooked,
            file_head,
        } = answered;
        let served = self.own_answer(connection, request, served, refusal);
        let seen = Seen {
            environ: environ.as_ref(),
            changed_fields: hooked.as_ref().and_then(HookedRequest::changed_fields),
            file_head: file_head.as_deref(),
        };
        self.end(py, request, &served, begun, seen);
        drop((environ, hooked));
        self.forget_id();
        connection.state.served = connection.state.served.saturating_add(1);
        let is_last = is_alone && is_last(request, &served);
        match plan {
            BodyPlan::Here(_) if served.ending == Ending::KeepAlive => {
                Outcome::Served(request.length.saturating_add(used))
            }
            BodyPlan::Here(_)
            | BodyPlan::Until(_)
            | BodyPlan::Chunks
            | BodyPlan::AllChunks
            | BodyPlan::Stream => outcome(&connection.channel, served.ending, left, is_last),
        }
    }

    /// Gives a request its id, if requests have ids.
    fn give_request_id(
        &mut self,
        py: Python<'_>,
        rules: &Rules,
        connection: &mut Connection,
        request: &Request<'_>,
    ) {
        if self.ids.is_some() {
            let trusted = &rules.settings.forwarded_allow_ips;
            let is_trusted = endpoints::of(py, connection, trusted).trusted;
            self.give_id(request_id::given(request).filter(|_| is_trusted));
        }
    }

    /// Gives what is answered next an id: this one that a trusted proxy has sent, or another.
    fn give_id(&mut self, given: Option<&[u8]>) {
        if let Some(ids) = &mut self.ids {
            ids.begin(given);
            self.exchange
                .set_request_id(ids.field().unwrap_or_default());
        }
    }

    /// The id of the current request, if requests have ids.
    fn id(&self) -> Option<&str> {
        self.ids.as_ref().map(RequestIds::current)
    }

    /// What comes next is another request.
    fn forget_id(&mut self) {
        if let Some(ids) = &mut self.ids {
            ids.end();
        }
    }

    /// Answers a health check.
    fn answer_check(
        &mut self,
        py: Python<'_>,
        rules: &Rules,
        connection: &mut Connection,
        request: &Request<'_>,
    ) -> Outcome {
        self.give_request_id(py, rules, connection, request);
        let shared = rules.scoreboard.shared();
        let keeps = Self::may_keep_alive(rules, connection, request);
        let common = self.common_headers();
        let common = [&common.server[..], &common.date, &common.request_id].concat();
        let page = health::answer(shared, &common, request.is_head(), !keeps);
        self.forget_id();
        connection.channel.send_or_give_up(&page);
        self.entry.counters.count(Metric::HealthChecks);
        connection.state.served = connection.state.served.saturating_add(1);
        connection.state.waiting = Waiting::NextRequest;
        if keeps {
            Outcome::Served(request.length)
        } else {
            Outcome::Leave(Next::Close)
        }
    }

    /// How many requests it has served.
    pub(super) fn requests(&self) -> u64 {
        self.entry.cell.requests()
    }

    /// Notes that nothing more is ready: what waits for that leaves.
    pub(super) fn end_turn(&mut self) {
        if self.coalescing.turn_ends() {
            self.io.flush();
        }
        self.write_held_lines();
    }

    /// Writes the lines of the access log that are held.
    pub(super) fn write_held_lines(&self) {
        self.recorder.write_held_lines();
    }

    /// Notes that a request begins, and returns when. `is_alone`: no other request follows on its
    /// connection.
    fn begin(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        is_alone: bool,
    ) -> Monotonic {
        let begun = clock::now();
        if let Some(since) = self.waiting_since
            && let Some(waited) = since.waited(connection, begun)
        {
            self.entry.counters.observe(Timing::Queue, waited);
        }
        let may_wait = is_alone && connection.is_local();
        if self.coalescing.begin(begun, may_wait) {
            self.io.flush();
        }
        let entry = self.entry.cell.request_entry();
        let line = request.line();
        let line = self.ids.as_mut().map_or(line, |ids| ids.with_line(line));
        entry.begin(begun, line, request.peer.as_bytes());
        // The I/O thread looks after the other connections, and writes lines that are held, if
        // there are any. Only now: it goes to sleep if it finds no request, and would sleep through
        // this one. That of a worker with several threads knows already.
        let in_hand = u32::from(connection.has_place());
        let holds_lines = self.recorder.begin(begun);
        if self.entry.cell.connections() > in_hand || holds_lines {
            self.io.attend();
        }
        begun
    }

    /// Sends a static file, if the request is for one.
    fn serve_file<'py>(
        &self,
        py: Python<'py>,
        rules: &Rules,
        connection: &Connection,
        request: &Request<'_>,
        has_body: bool,
    ) -> Option<Answered<'py>> {
        let files = rules.static_files.as_ref()?;
        let response = static_file::find(py, files, rules.settings, request)?;
        let keep_alive = Self::may_keep_alive(rules, connection, request) && !has_body;
        let common = self.common_headers();
        let channel = &connection.channel;
        let (served, head) = static_file::send(py, channel, response, &common, request, keep_alive);
        Some(Answered {
            served,
            // A body of a request for a file is nothing that somebody would read.
            left: (!has_body).then(Vec::new),
            refusal: None,
            environ: None,
            hooked: None,
            file_head: Some(head),
        })
    }

    /// Whether the connection may be kept open for another request.
    fn may_keep_alive(rules: &Rules, connection: &Connection, request: &Request<'_>) -> bool {
        let is_last = rules.is_last(connection.state.served);
        request.head.keep_alive && !is_last && rules.keeps_alive()
    }

    /// Makes the environ, calls the app, and sends the response.
    #[inline]
    fn answer<'py>(
        &mut self,
        py: Python<'py>,
        rules: &Rules,
        connection: &mut Connection,
        request: &Request<'_>,
        body: Option<Body>,
    ) -> Result<Answered<'py>, EnvironError> {
        self.environ.set_multiprocess(py, rules.is_multiprocess())?;
        let input = body
            .map(|body| Bound::new(py, Input::new(body)))
            .transpose()?;
        let (head, text) = (request.head, request.text);
        let keep_alive = Self::may_keep_alive(rules, connection, request);
        let trusted = &rules.settings.forwarded_allow_ips;
        let ends = endpoints::of(py, connection, trusted);
        let is_trusted = ends.trusted;
        let source = input.as_ref();
        // In one place: it is worth being inlined.
        let environ = match request.origin {
            RequestOrigin::Client | RequestOrigin::Front(_) => {
                self.environ.build(py, text, head, ends, source)?
            }
            RequestOrigin::Packet(variables) => self
                .environ
                .build_from(py, text, head, variables, ends, source)?,
        };
        if let RequestOrigin::Front(client) = request.origin {
            client.set_variables(py, &environ)?;
        }
        if let Some(ids) = &self.ids {
            let id = text::latin1(py, ids.bytes())?;
            environ.set_item(intern!(py, "HTTP_X_REQUEST_ID"), id)?;
        }
        let constraints = self.constraints(request, keep_alive, input.is_some());
        let channel = &connection.channel;
        let context = self.one_of_several.as_ref();
        let context = context.map(|_thread| enter_new_context(py)).transpose()?;
        let (served, hooked) = match rules.hooks {
            None => (
                self.call_app(py, rules, (request, None), &environ, channel, constraints)?,
                None,
            ),
            Some(hooks) => {
                let number = connection.state.served.saturating_add(1);
                let given = (hooks, request, number, is_trusted);
                self.serve_with_hooks(py, rules, given, &environ, channel, constraints)?
            }
        };
        drop(context);
        let (left, refusal) = match &input {
            None => (Some(Vec::new()), None),
            Some(input) => (input.get().finish(py), input.get().malformed(py)),
        };
        Ok(Answered {
            served,
            left,
            refusal,
            environ: Some(environ),
            hooked,
            file_head: None,
        })
    }

    /// Calls the app. The request is recorded before the `close()` of what it returns.
    /// `changed_fields`: those of the request that a hook has changed.
    #[inline]
    fn call_app<'py>(
        &mut self,
        py: Python<'py>,
        rules: &Rules,
        (request, changed_fields): (&Request<'_>, Option<&Bound<'py, PyList>>),
        environ: &Bound<'py, PyDict>,
        channel: &Channel,
        constraints: ResponseConstraints,
    ) -> PyResult<Served> {
        let prepared = self.exchange.begin(py)?;
        let app = &rules.app;
        app.serve(py, &prepared, environ, channel, constraints, |completed| {
            let seen = Seen {
                environ: Some(environ),
                changed_fields,
                file_head: None,
            };
            self.record_early(py, request, completed, seen);
        })
    }

    /// Records the request in hand: its response is complete, and code of the app follows.
    #[inline(never)]
    fn record_early(
        &mut self,
        py: Python<'_>,
        request: &Request<'_>,
        completed: Completed,
        seen: Seen<'_, '_>,
    ) {
        if self.recorder.is_due() {
            self.record(py, clock::now(), request, completed, seen);
            if self.may_hold_line() {
                // It must not wait for what follows.
                self.io.attend();
            }
        }
    }

    /// What the request demands of its response.
    fn constraints(
        &mut self,
        request: &Request<'_>,
        keep_alive: bool,
        has_body: bool,
    ) -> ResponseConstraints {
        let head = request.head;
        ResponseConstraints {
            head_only: request.is_head(),
            http11: head.version == Version::Http11,
            keep_alive,
            coalesce: keep_alive && self.coalescing.waits(),
            // Otherwise both would read the body.
            offers_socket: head.upgrades_to_websocket
                && !has_body
                && !matches!(request.origin, RequestOrigin::Packet(_)),
        }
    }

    /// Calls the hooks of a `gunicorn.conf.py` around it.
    ///
    /// The tuple: the hooks, the request, which request of its connection it is (counted from 1),
    /// and whether its peer's forwarding headers count.
    fn serve_with_hooks<'py>(
        &mut self,
        py: Python<'py>,
        rules: &Rules,
        (hooks, request, number, is_trusted): (&WorkerHooks, &Request<'_>, u64, bool),
        environ: &Bound<'py, PyDict>,
        channel: &Channel,
        constraints: ResponseConstraints,
    ) -> PyResult<(Served, Option<HookedRequest<'py>>)> {
        // Fields that a hook changes are written into the environ. So the hook must not see a field
        // that the environ ignores.
        let (text, head) = (request.text, request.head);
        let fields = self.environ.visible_fields(text, head, is_trusted);
        let called = call::in_app(|| hooks.pre_request(py, environ, fields, number));
        let hooked = match called {
            Ok(hooked) => hooked,
            Err(error) => {
                let served = Served {
                    status: 500,
                    sent: 0,
                    ending: Ending::Unanswered,
                    error: Some(ExchangeError::App(traceback::format(py, &error))),
                };
                return Ok((served, None));
            }
        };
        let changed = hooked.as_ref().and_then(HookedRequest::changed_fields);
        let served = self.call_app(py, rules, (request, changed), environ, channel, constraints)?;
        if served.error.is_none() {
            channel.answered();
        }
        if matches!(served.ending, Ending::KeepAlive | Ending::Close) {
            let seen = Seen {
                environ: Some(environ),
                changed_fields: changed,
                file_head: None,
            };
            self.record_early(py, request, served.completed(), seen);
        }
        self.exchange.with_response_head(py, |head| {
            let hooked = hooked.as_ref();
            call::in_app(|| {
                hooks.post_request(py, hooked, environ, head, served.status, served.sent);
            });
        });
        Ok((served, hooked))
    }

    /// What to answer if the app was not called: the request is refused, or the environ or
    /// `start_response` could not be made.
    fn without_environ<'py>(error: &EnvironError) -> Answered<'py> {
        let (error, refusal) = match error {
            EnvironError::Scheme => (None, Some(Refusal::Scheme)),
            EnvironError::ScriptName(..) | EnvironError::Python(_) => {
                (Some(ExchangeError::Environ(error.to_string())), None)
            }
        };
        Answered {
            served: Served {
                status: 500,
                sent: 0,
                ending: Ending::Unanswered,
                error,
            },
            left: None,
            refusal,
            environ: None,
            hooked: None,
            file_head: None,
        }
    }

    /// Notes that a request has ended, and how.
    fn end(
        &mut self,
        py: Python<'_>,
        request: &Request<'_>,
        served: &Served,
        begun: Monotonic,
        seen: Seen<'_, '_>,
    ) {
        let now = clock::now();
        let entry = self.entry.cell.request_entry();
        // It was moved by what the app has waited for its client.
        let in_app = now.since(entry.begun().unwrap_or(begun));
        entry.end(now);
        if let Some(thread) = &self.one_of_several {
            thread.request_ended(py);
        }
        self.count(served, in_app);
        self.record(py, now, request, served.completed(), seen);
        if let Some(error) = &served.error {
            request.log_error(error, self.id());
        }
    }

    fn count(&self, served: &Served, in_app: Duration) {
        let counters = self.entry.counters;
        counters.observe(Timing::Request, in_app);
        match served.status {
            // By far the most frequent class, so it is not searched for.
            200..300 => counters.count(Metric::Responses2xx),
            status => counters.count_response(status),
        }
        counters.add(Metric::SentBodyBytes, served.sent);
        match served.error {
            None | Some(ExchangeError::Leaving | ExchangeError::Environ(_)) => {}
            Some(ExchangeError::App(_) | ExchangeError::Close(_) | ExchangeError::Length(_)) => {
                counters.count(Metric::AppErrors);
            }
            Some(ExchangeError::Client(_)) => counters.count(Metric::ClientDisconnects),
        }
    }

    /// Refuses a request before the app is called.
    pub(super) fn refuse(
        &mut self,
        connection: &Connection,
        refusal: &Refusal,
        received: &Received<'_>,
    ) {
        self.give_id(received.id);
        let sent = self.send_refusal(connection, refusal, received);
        self.forget_id();
        self.count_page(refusal.status(), sent);
    }

    /// Sends the page of a refusal and counts the refused request; returns the length of the page.
    /// The caller counts the response.
    fn send_refusal(
        &self,
        connection: &Connection,
        refusal: &Refusal,
        received: &Received<'_>,
    ) -> u64 {
        self.entry.counters.count(Metric::RefusedRequests);
        self.entry.counters.count(reason(refusal));
        let common = self.common_headers();
        error_pages::refuse(&common, connection, refusal, received, self.id())
    }

    /// Counts an error page that answers no call of the app.
    fn count_page(&self, status: u16, sent: u64) {
        self.entry.counters.count_response(status);
        self.entry.counters.add(Metric::SentBodyBytes, sent);
    }

    /// Answers a head or body that did not come in time.
    pub(super) fn refuse_late(&mut self, rules: &Rules, connection: &Connection) {
        let received = Received::partial(rules, connection);
        self.give_id(received.id);
        let common = self.common_headers();
        let sent = error_pages::too_slow(&common, connection, &received, self.id());
        self.forget_id();
        self.count_page(error_pages::LATE_STATUS, sent);
    }

    /// Sends an error page if the app gave no response: that of the refusal, or else 500.
    fn own_answer(
        &self,
        connection: &Connection,
        request: &Request<'_>,
        served: Served,
        refusal: Option<Refusal>,
    ) -> Served {
        if served.ending != Ending::Unanswered {
            return served;
        }
        let Some(refusal) = refusal else {
            let common = self.common_headers();
            let message = "The app failed to answer this request.";
            let sent = error_pages::send(&common, connection, 500, message, request.is_head());
            return Served { sent, ..served };
        };
        // The client is to blame, however the app has reacted.
        Served {
            status: refusal.status(),
            sent: self.send_refusal(connection, &refusal, &Received::request(request)),
            error: None,
            ..served
        }
    }

    /// Whether the line of the request in hand may wait for those of others.
    fn may_hold_line(&self) -> bool {
        // Those of other threads would wait for a turn that is not theirs.
        self.one_of_several.is_none() && self.coalescing.do_others_follow()
    }

    /// Records the request in hand, unless that was done when its response was complete.
    fn record(
        &mut self,
        py: Python<'_>,
        now: Monotonic,
        request: &Request<'_>,
        completed: Completed,
        seen: Seen<'_, '_>,
    ) {
        if !self.recorder.is_due() {
            return;
        }
        let may_be_held = self.may_hold_line();
        let Completed { status, sent } = completed;
        let Some((access, duration)) = self.recorder.record(now, status) else {
            return;
        };
        let request_id = self.ids.as_ref().map(RequestIds::current);
        self.exchange.with_response_head(py, |app_head| {
            let line = AccessLine {
                request,
                status,
                sent,
                duration,
                response_head: seen.file_head.unwrap_or(app_head),
                request_id,
                seen,
            };
            access.write(py, &line, may_be_held);
        });
    }

    /// What every response of this slot ends with.
    fn common_headers(&self) -> CommonHeaders {
        let mut common = self.exchange.common_headers();
        // That of the request before is not that of one which is refused.
        if self.ids.as_ref().is_none_or(|ids| ids.field().is_none()) {
            common.request_id.clear();
        }
        common
    }

    /// Makes `Server` and `Date`, once a second.
    pub(super) fn refresh_common_headers(&mut self) {
        let now = clock::wall();
        if now == self.dated {
            return;
        }
        self.dated = now;
        self.exchange
            .set_common_headers(&self.server, &date_line(now));
    }
}

/// Tells a front that the app is called for a request that has not arrived as a whole; whether that
/// was sent. What a front was not told so of, and not all of which was read, may be sent to another
/// worker: no app has seen it (`Exchange::may_retry` in `src/front/exchange.rs`).
fn announce_work(py: Python<'_>, connection: &Connection, request: &Request<'_>) -> bool {
    // Who waits for `100 Continue` is not told before the app reads, and sends nothing twice.
    let is_front = matches!(request.origin, RequestOrigin::Front(_));
    if !is_front || request.head.expect_continue {
        return true;
    }
    let parts = &mut [IoSlice::new(CONTINUE)];
    let sent = connection.channel.send(&Attached(py), parts, Flush::Now);
    matches!(sent, Ok(true))
}

/// The counter of the reason why a request is refused.
fn reason(refusal: &Refusal) -> Metric {
    match refusal {
        Refusal::NotHttp
        | Refusal::LineEnd
        | Refusal::RequestLine
        | Refusal::Method
        | Refusal::Target
        | Refusal::Connect
        | Refusal::VersionForm
        | Refusal::Version => Metric::RefusedLine,
        Refusal::FieldName
        | Refusal::Underscore
        | Refusal::FieldValue
        | Refusal::Folded
        | Refusal::Expectation => Metric::RefusedField,
        Refusal::RequestLineTooLong | Refusal::TooManyFields | Refusal::FieldTooLong => {
            Metric::RefusedSize
        }
        Refusal::NoHost | Refusal::ManyHosts | Refusal::Host | Refusal::Scheme => {
            Metric::RefusedHost
        }
        Refusal::Twice(_)
        | Refusal::Length
        | Refusal::LengthAndCoding
        | Refusal::FramingTwin
        | Refusal::Coding
        | Refusal::UnknownCoding
        | Refusal::CodingInHttp10 => Metric::RefusedFraming,
        Refusal::ChunkSize
        | Refusal::ChunkExtension
        | Refusal::ChunkEnd
        | Refusal::TrailerField => Metric::RefusedChunk,
        Refusal::Modifier
        | Refusal::Packet
        | Refusal::VariableName
        | Refusal::VariableValue
        | Refusal::ProxyHeader
        | Refusal::ProxyTooLong
        | Refusal::FrontFacts => Metric::RefusedProxy,
        Refusal::UwsgiPeer | Refusal::ProxyPeer => Metric::RefusedPeer,
    }
}

/// What becomes of the connection if the request did not end within the bytes that have arrived.
/// `left`: the bytes after its body; `None` if the body was not read to its end, so that the next
/// request cannot be found. `is_last`: the client sends nothing more ([`is_last`]).
fn outcome(channel: &Channel, ending: Ending, left: Option<Vec<u8>>, is_last: bool) -> Outcome {
    match (ending, left) {
        (Ending::KeepAlive, Some(left)) => Outcome::ServedStream(left),
        (Ending::Close, Some(_)) if is_last => Outcome::Leave(Next::Done),
        (Ending::KeepAlive | Ending::Close | Ending::Unanswered, _) => Outcome::Leave(Next::Close),
        (Ending::Abort, _) => {
            // What the app produced before it failed.
            channel.pump().ok();
            channel.transport().reset_on_close();
            Outcome::Leave(Next::Abort)
        }
    }
}

/// Whether the client has announced its last request and the response is short. If the client sends
/// more all the same, closing the connection resets it, and the unread part of the response is
/// lost. A short response has reached the client's kernel by then.
fn is_last(request: &Request<'_>, served: &Served) -> bool {
    !request.head.keep_alive && served.sent <= MAX_PROMPT_REPLY_BYTES
}
