//! A worker's desk is set up: settings become limits, inherited descriptors become sockets.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use pyo3::prelude::*;

use rcorn_app::loggers;
use rcorn_connection::Coalescing;
use rcorn_connection::channel::Patience;
use rcorn_http::{Head, Limits, Packet};
use rcorn_link::Start;
use rcorn_log::AccessLog;
use rcorn_settings::{HeaderMap, LogTarget, Settings};
use rcorn_sys::clock;
use rcorn_sys::process::adopt;
use rcorn_wsgi::environ::{EnvironBuilder, EnvironRules};
use rcorn_wsgi::errors::Errors;
use rcorn_wsgi::exchange::WsgiApp;
use rcorn_wsgi::file::FileWrapper;
use rcorn_wsgi::slot::ExchangeSlot;

use super::Birth;
use super::access::{Access, FileAccess};
use super::atoms::Logger;
use super::deputy::{Deputy, Sender};
use super::desk::{Desk, Door, Limiting, PIECE, WAKE};
use super::orders::Orders;
use super::retire::Retirement;
use super::room::Room;

/// `SERVER_SOFTWARE` in the environ.
const SERVER_SOFTWARE: &str = concat!("rcorn/", env!("CARGO_PKG_VERSION"));
/// How long a client may take to close after we did.
const CLOSING: Duration = Duration::from_secs(2);

impl<'a> Desk<'a> {
    /// Sets the desk up; the worker can serve after this.
    pub(super) fn new(
        py: Python<'_>,
        birth: &'a Birth<'_>,
        app: Bound<'_, PyAny>,
        orders: Orders,
    ) -> io::Result<Self> {
        let start = birth.start;
        let settings = &start.settings;
        let cell = birth.scoreboard.cell(birth.slot);
        let cell = cell.ok_or_else(|| io::Error::other("no such scoreboard slot"))?;
        let mut doors = Vec::new();
        for listener in &start.listeners {
            doors.push(Door {
                socket: adopt(listener.fd)?,
                protocol: listener.protocol,
            });
        }
        let lot = (adopt(start.handoff_queue.0)?, adopt(start.handoff_queue.1)?);
        let deputy = Deputy::new(
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            lot.0.try_clone()?,
            cell,
            birth.scoreboard,
            orders.draining(),
        )?;
        let sender = Arc::new(Sender(Arc::clone(&deputy)));
        let (environ, exchange) = stage(py, start, sender).map_err(io::Error::other)?;
        let app = WsgiApp::new(py, app, settings.sendfile);
        let access = access(py, start)?;
        let mut desk = Self {
            start,
            settings,
            scoreboard: birth.scoreboard,
            cell,
            reports: birth.reports.as_fd(),
            id: birth.id,
            orders,
            deputy,
            coalescing: Coalescing::default(),
            doors,
            doors_open: false,
            sit_out_until: 0,
            lot,
            watches_lot: false,
            in_hand: 0,
            room: Room::new(settings.worker_connections),
            next_sweep: u64::MAX,
            leaving: None,
            limits: limits(settings),
            limiting: limiting(settings),
            patience: Patience {
                read: settings.body_timeout.limit(),
                write: settings.write_timeout.limit(),
                buffer: usize::try_from(settings.response_buffer.bytes()).unwrap_or(usize::MAX),
                cell: Some(cell),
            },
            head: Head::default(),
            packet: Packet::default(),
            // A head and a body of the size that buffers have: in one piece.
            scratch: vec![0; PIECE.saturating_add(16 * 1024)],
            environ,
            exchange,
            app,
            hooks: birth.hooks.as_ref(),
            access,
            path: Vec::new(),
            standing_second: 0,
            retirement: Retirement::new(settings, birth.id),
        };
        desk.deputy.epoll.add(
            desk.orders.wake(),
            EpollEvent::new(EpollFlags::EPOLLIN, WAKE),
        )?;
        desk.watch_lot()?;
        desk.open_doors()?;
        Ok(desk)
    }
}

/// What makes environs, and the exchange that they are served with.
fn stage(
    py: Python<'_>,
    start: &Start,
    sender: Arc<Sender>,
) -> PyResult<(EnvironBuilder, ExchangeSlot)> {
    let settings = &start.settings;
    let rules = EnvironRules {
        secure_scheme_headers: &settings.secure_scheme_headers,
        forwarder_headers: &settings.forwarder_headers,
        underscores: settings.header_map == HeaderMap::Dangerous,
        software: SERVER_SOFTWARE,
    };
    let errors = Bound::new(py, Errors)?;
    let wrapper = py.get_type::<FileWrapper>();
    let exchange = ExchangeSlot::new(py, sender)?;
    let environ = EnvironBuilder::new(
        py,
        &rules,
        &start.listeners,
        errors.as_any(),
        wrapper.as_any(),
        &exchange.early_hints(py)?,
    )?;
    Ok((environ, exchange))
}

/// The access log, if there is one.
fn access(py: Python<'_>, start: &Start) -> io::Result<Option<Access>> {
    if loggers::are_shaped(start) {
        let logger = Logger::new(py, &start.settings.access_log_format);
        return logger
            .map(Access::Logger)
            .map(Some)
            .map_err(io::Error::other);
    }
    let Some(fd) = start.access_log else {
        return Ok(None);
    };
    let path = start.settings.accesslog.as_ref().and_then(LogTarget::path);
    FileAccess::new(
        AccessLog::new(adopt(fd)?, path),
        &start.settings.access_log_format,
    )
    .map(Access::File)
    .map(Some)
}

fn limit(seconds: Option<Duration>) -> u64 {
    seconds.map_or(0, clock::nanoseconds)
}

/// What the parser enforces.
fn limits(settings: &Settings) -> Limits {
    let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let line = size(settings.limit_request_line.bytes());
    let field = size(settings.limit_request_field_size.bytes());
    Limits {
        request_line: if line == 0 { 1024 * 1024 } else { line },
        fields: match settings.limit_request_fields {
            0 => 32768,
            fields => usize::try_from(fields).unwrap_or(usize::MAX),
        },
        field_size: if field == 0 { 8190 } else { field },
        require_host: settings.require_host,
        permit_obsolete_folding: settings.permit_obsolete_folding,
        permit_unconventional_http_method: settings.permit_unconventional_http_method,
        permit_unconventional_http_version: settings.permit_unconventional_http_version,
        casefold_http_method: settings.casefold_http_method,
        refuse_underscores: settings.header_map == HeaderMap::Refuse,
    }
}

fn limiting(settings: &Settings) -> Limiting {
    Limiting {
        head: limit(settings.header_timeout.limit()),
        body: limit(settings.body_timeout.limit()),
        idle: limit(settings.keepalive.limit()),
        write: limit(settings.write_timeout.limit()),
        close: clock::nanoseconds(CLOSING),
    }
}
