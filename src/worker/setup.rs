//! Sets up a worker's event loop: makes limits of settings, and sockets of inherited descriptors.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pyo3::prelude::*;

use rcorn_app::loggers;
use rcorn_connection::{
    Acceptor, Attendance, ClientTimeouts, Connections, FdBudget, HandoffQueue, IoThread, Listener,
    OneThread, Poller, Published, QueueLimit, Source, WaitTimeouts, WireProtocol, WorkerEntry,
};
use rcorn_http::environ::FieldRules;
use rcorn_link::Start;
use rcorn_log::{self as log, AccessForm};
use rcorn_python::thread::{has_gil, set_switch_interval};
use rcorn_scoreboard::Cell;
use rcorn_settings::{HeaderMap, ProxyProtocol, RequestId, Settings};
use rcorn_sys::descriptor::keep_open;
use rcorn_wsgi::{
    Endpoints, EnvironBuilder, EnvironObjects, Errors, ExchangeSlot, FileWrapper, WsgiApp,
};

use super::access_log::AccessLog;
use super::access_log_fields::PythonLogger;
use super::event_loop::{Driver, EventLoop, ThreadPool};
use super::handler::RequestHandler;
use super::hung_threads::{HungThreads, OneOfSeveral};
use super::leadership::Leadership;
use super::lifecycle::Lifecycle;
use super::orders::{LeaveOrders, Orders};
use super::overdue::{AccessOutput, Overdue};
use super::overdue_request::KeptLines;
use super::recorder::Recorder;
use super::request_id::RequestIds;
use super::request_quota::RequestQuota;
use super::retirement::Retirement;
use super::rules::{Rules, limits, proxy_versions};
use super::slot::RequestSlot;
use super::spec::WorkerSpec;
use super::turn::Turn;
use super::wake_event::WakeEvent;

/// `SERVER_SOFTWARE` in the environ.
const SERVER_SOFTWARE: &str = concat!("rcorn/", env!("CARGO_PKG_VERSION"));
/// How long a client may take to close after we did.
const MAX_CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Puts the worker together: it can serve after this.
pub(super) fn event_loop(
    py: Python<'_>,
    spec: &WorkerSpec<'_>,
    app: Bound<'_, PyAny>,
    driver: Driver,
    (leave, kept): (&LeaveOrders, &Arc<KeptLines>),
    listeners: Vec<Listener>,
) -> io::Result<EventLoop> {
    let start = spec.start;
    let settings = &start.settings;
    let cell = spec.own_cell()?;
    let counters = spec.scoreboard.counters(spec.cell);
    let poller = Arc::new(Poller::new()?);
    let (attendance, threads) = watch_driver(&driver, &poller, cell)?;
    let entry = WorkerEntry {
        cell,
        threads,
        counters,
    };
    let handoff = Arc::new(handoff_queue(start)?);
    let connections = Connections::new(
        Arc::clone(&poller),
        Published {
            held: cell.connections_gauge(),
            idle: cell.idle_connections_gauge(),
        },
        wait_timeouts(settings),
        FdBudget::new(settings.worker_connections),
    );
    let io = IoThread::new(
        &connections,
        Arc::clone(&poller),
        Arc::clone(&handoff),
        attendance,
        (spec.scoreboard, cell),
        leave.flags(),
        queue_limit(spec, &listeners, entry, kept)?,
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
    let quit = leave.quit_flag();
    let quota = RequestQuota::new(settings, spec.id, spec.scoreboard, cell, threads);
    let quota = Arc::new(quota);
    let lifecycle = lifecycle(spec, leave.clone(), Arc::clone(&quota));
    let rules = Rules::new(settings, spec.scoreboard, app, spec.hooks, quota, quit);
    Ok(EventLoop {
        lifecycle,
        driver,
        poller,
        acceptor,
        connections,
        io,
        rules: Arc::new(rules),
        cell,
        turn: Turn::new(settings.status_bind.is_some()),
    })
}

/// The queue that all workers share.
fn handoff_queue(start: &Start) -> io::Result<HandoffQueue> {
    let (sender, receiver) = start.handoff_queue;
    Ok(HandoffQueue::new(keep_open(sender)?, keep_open(receiver)?))
}

/// Lets the poller tell of what wakes the loop's driver. Returns how the driver attends to the
/// loop, and the cells of its threads.
fn watch_driver(
    driver: &Driver,
    poller: &Poller,
    cell: &'static Cell,
) -> io::Result<(Arc<dyn Attendance>, &'static [&'static Cell])> {
    match driver {
        Driver::Alone(orders) => {
            poller.add(orders.wake(), Source::Wake)?;
            Ok((Arc::new(OneThread(cell)), &[]))
        }
        Driver::Threads(pool) => {
            poller.add(&pool.wake, Source::Wake)?;
            let leadership = Arc::clone(&pool.leadership);
            Ok((leadership, pool.cells))
        }
    }
}

/// `queue_timeout`, if it is set, of a worker with several threads.
fn queue_limit(
    spec: &WorkerSpec<'_>,
    listeners: &[Listener],
    entry: WorkerEntry,
    kept: &Arc<KeptLines>,
) -> io::Result<Option<QueueLimit<Endpoints>>> {
    let settings = &spec.start.settings;
    let limit = settings.queue_timeout.limit();
    let Some(limit) = limit.filter(|_| settings.threads > 1) else {
        return Ok(None);
    };
    let answer = Overdue {
        settings,
        limits: limits(settings),
        proxy_versions: proxy_versions(settings.proxy_protocol),
        access: access_output(spec.start, kept)?,
        sample: spec.scoreboard.sample(spec.cell),
        ids: request_ids(settings)?.map(Mutex::new),
    };
    Ok(Some(QueueLimit::new(
        limit,
        Box::new(answer),
        listeners.to_vec(),
        client_timeouts(settings, entry),
        settings.proxy_protocol != ProxyProtocol::Off,
        usize::try_from(settings.worker_connections).unwrap_or(usize::MAX),
    )))
}

/// Makes ids that nobody else makes, if requests have ids.
fn request_ids(settings: &Settings) -> io::Result<Option<RequestIds>> {
    match settings.request_id {
        RequestId::Off => Ok(None),
        RequestId::On => RequestIds::new().map(Some),
    }
}

/// Where the I/O thread writes lines of the access log.
fn access_output(start: &Start, kept: &Arc<KeptLines>) -> io::Result<AccessOutput> {
    if loggers::are_configured(start) {
        return Ok(AccessOutput::Logger(Arc::clone(kept)));
    }
    let Some(file) = log::access_log() else {
        return Ok(AccessOutput::Nowhere);
    };
    let form = AccessForm::of(&start.settings).map_err(io::Error::other)?;
    Ok(AccessOutput::File(file, form, Arc::clone(kept)))
}

/// Who decides when the worker leaves.
fn lifecycle(spec: &WorkerSpec<'_>, leave: LeaveOrders, quota: Arc<RequestQuota>) -> Lifecycle {
    let retirement = Retirement::new(&spec.start.settings, quota);
    Lifecycle::new(
        leave,
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
            protocol: WireProtocol::of(listener.protocol, listener.is_inner),
        })
    });
    listeners.collect()
}

/// Who drives the loop of this worker, and how often Python changes threads. With several threads
/// the main thread does not, and follows orders.
pub(super) fn driver(
    py: Python<'_>,
    spec: &WorkerSpec<'_>,
    orders: Orders,
) -> io::Result<(Driver, Option<(ThreadPool, Orders)>)> {
    let settings = &spec.start.settings;
    let threads = u16::try_from(settings.threads).unwrap_or(u16::MAX);
    if threads <= 1 {
        return Ok((Driver::Alone(orders), None));
    }
    if let Some(interval) = settings.switch_interval.limit() {
        set_switch_interval(py, interval).map_err(io::Error::other)?;
    }
    let patience = settings.abort_timeout.limit().unwrap_or_default();
    let pool = ThreadPool {
        leadership: Arc::new(Leadership::new(!has_gil(py))),
        wake: Arc::new(WakeEvent::new()?),
        finished: Arc::new(WakeEvent::new()?),
        counters: spec.scoreboard.counters(spec.cell),
        cells: thread_cells(spec, threads)?,
        hung: Arc::new(HungThreads::new(usize::from(threads), patience)),
    };
    Ok((Driver::Threads(pool.clone()), Some((pool, orders))))
}

/// The cells of the worker's threads.
fn thread_cells(spec: &WorkerSpec<'_>, threads: u16) -> io::Result<&'static [&'static Cell]> {
    let scoreboard = spec.scoreboard;
    let cell = |slot| {
        let cell = scoreboard.slot(spec.cell, slot);
        cell.ok_or_else(|| io::Error::other("the scoreboard has no cell for each thread"))
    };
    let cells = (0..threads).map(cell).collect::<io::Result<Vec<_>>>()?;
    spec.own_cell()?.set_slots(threads);
    Ok(Vec::leak(cells))
}

/// The request slots of this worker, one for each thread that serves.
pub(super) fn slots(
    py: Python<'_>,
    spec: &WorkerSpec<'_>,
    io: &IoThread<Endpoints>,
    pool: Option<(&ThreadPool, &Arc<KeptLines>)>,
) -> io::Result<Vec<RequestSlot>> {
    let entry = |cell, counters| WorkerEntry {
        cell,
        threads: &[],
        counters,
    };
    let Some((pool, kept)) = pool else {
        let entry = entry(spec.own_cell()?, spec.scoreboard.counters(spec.cell));
        return Ok(vec![slot(py, spec, io, entry, None)?]);
    };
    let slots = (0..).zip(pool.cells).map(|(number, cell)| {
        let entry = entry(*cell, spec.scoreboard.slot_counters(spec.cell, number));
        let one_of_several = OneOfSeveral {
            hung: Arc::clone(&pool.hung),
            index: usize::from(number),
            cell,
        };
        slot(py, spec, io, entry, Some((one_of_several, kept)))
    });
    slots.collect()
}

/// A request slot: what makes environs, the exchange that they are served with, and the access log.
fn slot(
    py: Python<'_>,
    spec: &WorkerSpec<'_>,
    io: &IoThread<Endpoints>,
    entry: WorkerEntry,
    one_of_several: Option<(OneOfSeveral, &Arc<KeptLines>)>,
) -> io::Result<RequestSlot> {
    let start = spec.start;
    let exchange = ExchangeSlot::new(py, Arc::new(io.clone())).map_err(io::Error::other)?;
    let environ = environ(py, start, &exchange).map_err(io::Error::other)?;
    let (one_of_several, kept) = one_of_several.unzip();
    let access = access_log(start)?.map(|log| log.with_kept(kept.cloned()));
    if let (Some(log), Some(lines), None) = (
        &access,
        spec.scoreboard.held_lines(spec.cell),
        &one_of_several,
    ) {
        log.hold_in(lines);
    }
    let ids = request_ids(&start.settings)?;
    let server = &start.settings.server_header;
    let handler = RequestHandler::new(
        environ,
        exchange,
        (
            Recorder::new(access, spec.scoreboard.sample(spec.cell)),
            ids,
        ),
        entry,
        io.clone(),
        server,
        one_of_several,
    );
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
        // gunicorn says so of this kind of workers, also where they have one thread.
        multithread: settings.worker_class == "gthread" || settings.threads > 1,
        request_ids: settings.request_id == RequestId::On,
    };
    EnvironBuilder::new(py, rules, &start.listeners, &objects)
}

/// The access log, if there is one.
pub(super) fn access_log(start: &Start) -> io::Result<Option<AccessLog>> {
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
