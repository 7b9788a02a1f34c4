//! Sets up a worker's event loop: makes limits of settings, and sockets of inherited descriptors.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;

use rcorn_app::loggers;
use rcorn_connection::{
    Acceptor, ClientTimeouts, Connections, FdBudget, HandoffQueue, IoThread, Listener, Poller,
    Source, WaitTimeouts, WorkerEntry,
};
use rcorn_http::environ::FieldRules;
use rcorn_link::Start;
use rcorn_log::{self as log, AccessForm};
use rcorn_scoreboard::Cell;
use rcorn_settings::{HeaderMap, ProxyProtocol, Settings};
use rcorn_sys::descriptor::keep_open;
use rcorn_wsgi::{
    Endpoints, EnvironBuilder, EnvironObjects, Errors, ExchangeSlot, FileWrapper, WsgiApp,
};

use super::access_log::AccessLog;
use super::access_log_fields::PythonLogger;
use super::event_loop::EventLoop;
use super::handler::RequestHandler;
use super::lifecycle::Lifecycle;
use super::orders::Orders;
use super::retirement::Retirement;
use super::rules::Rules;
use super::slot::RequestSlot;
use super::spec::WorkerSpec;

/// `SERVER_SOFTWARE` in the environ.
const SERVER_SOFTWARE: &str = concat!("rcorn/", env!("CARGO_PKG_VERSION"));
/// How long a client may take to close after we did.
const MAX_CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Puts the worker together: it can serve after this.
pub(super) fn event_loop<'a>(
    py: Python<'_>,
    spec: &'a WorkerSpec<'_>,
    app: Bound<'_, PyAny>,
    orders: Orders,
    listeners: Vec<Listener>,
) -> io::Result<EventLoop<'a>> {
    let start = spec.start;
    let settings = &start.settings;
    let cell = spec.own_cell()?;
    let counters = spec.scoreboard.counters(spec.cell);
    let entry = WorkerEntry { cell, counters };
    let poller = Arc::new(Poller::new()?);
    poller.add(orders.wake(), Source::Wake)?;
    let handoff = HandoffQueue::new(
        keep_open(start.handoff_queue.0)?,
        keep_open(start.handoff_queue.1)?,
    );
    let handoff = Arc::new(handoff);
    let connections = Connections::new(
        Arc::clone(&poller),
        cell.connections_gauge(),
        wait_timeouts(settings),
        FdBudget::new(settings.worker_connections),
    );
    let io = IoThread::new(
        &connections,
        Arc::clone(&poller),
        Arc::clone(&handoff),
        cell,
        spec.scoreboard,
        orders.drain_flag(),
    )?;
    let mut acceptor = Acceptor::new(
        Arc::clone(&poller),
        listeners,
        handoff,
        client_timeouts(settings, entry),
        settings.proxy_protocol != ProxyProtocol::Off,
    );
    acceptor.open()?;
    let app = WsgiApp::new(py, app, settings.sendfile);
    let quit = orders.quit_flag();
    let rules = Rules::new(settings, spec.scoreboard, app, spec.hooks.as_ref(), quit);
    Ok(EventLoop {
        slot: slot(py, start, entry, &io)?,
        lifecycle: lifecycle(spec, orders, cell),
        poller,
        acceptor,
        connections,
        io,
        rules,
        cell,
    })
}

/// Who decides when the worker leaves.
fn lifecycle<'a>(spec: &'a WorkerSpec<'_>, orders: Orders, cell: &'static Cell) -> Lifecycle<'a> {
    let retirement = Retirement::new(&spec.start.settings, spec.id, cell);
    Lifecycle::new(
        orders,
        retirement,
        spec.start.arbiter,
        spec.scoreboard,
        spec.id,
        spec.reports,
    )
}

/// The listening sockets of this generation.
pub(super) fn listeners(start: &Start) -> io::Result<Vec<Listener>> {
    let listeners = start.listeners.iter().map(|listener| {
        Ok(Listener {
            socket: keep_open(listener.fd)?,
            protocol: listener.protocol,
        })
    });
    listeners.collect()
}

/// What makes environs, the exchange that they are served with, and the access log.
fn slot(
    py: Python<'_>,
    start: &Start,
    entry: WorkerEntry,
    io: &IoThread<Endpoints>,
) -> io::Result<RequestSlot> {
    let exchange = ExchangeSlot::new(py, Arc::new(io.clone())).map_err(io::Error::other)?;
    let environ = environ(py, start, &exchange).map_err(io::Error::other)?;
    let access = access_log(start)?;
    let server = &start.settings.server_header;
    let handler = RequestHandler::new(environ, exchange, access, entry, io.clone(), server);
    Ok(RequestSlot::new(handler))
}

fn environ(py: Python<'_>, start: &Start, exchange: &ExchangeSlot) -> PyResult<EnvironBuilder> {
    let settings = &start.settings;
    let rules = FieldRules::new(
        &settings.secure_scheme_headers,
        &settings.forwarder_headers,
        settings.header_map == HeaderMap::Dangerous,
    );
    let objects = EnvironObjects {
        software: SERVER_SOFTWARE,
        errors: Bound::new(py, Errors)?.into_any(),
        file_wrapper: py.get_type::<FileWrapper>().into_any(),
        early_hints: exchange.early_hints(py)?,
    };
    EnvironBuilder::new(py, rules, &start.listeners, &objects)
}

/// The access log, if there is one.
fn access_log(start: &Start) -> io::Result<Option<AccessLog>> {
    let settings = &start.settings;
    let form = AccessForm::of(settings).map_err(io::Error::other)?;
    let logger = PythonLogger::new(&settings.access_log_format, form.clone());
    if loggers::are_configured(start) {
        return Ok(Some(AccessLog::to_logger(logger)));
    }
    let Some(file) = log::access_log() else {
        return Ok(None);
    };
    Ok(Some(AccessLog::to_file(file, form, logger)))
}

fn client_timeouts(settings: &Settings, entry: WorkerEntry) -> ClientTimeouts {
    ClientTimeouts {
        read: settings.body_timeout.limit(),
        write: settings.write_timeout.limit(),
        buffer: usize::try_from(settings.response_buffer.bytes()).unwrap_or(usize::MAX),
        entry: Some(entry),
    }
}

fn wait_timeouts(settings: &Settings) -> WaitTimeouts {
    WaitTimeouts {
        head: settings.header_timeout.limit(),
        body: settings.body_timeout.limit(),
        idle: settings.keepalive.limit(),
        write: settings.write_timeout.limit(),
        close: Some(MAX_CLOSE_WAIT),
    }
}
