//! The answer to a request that has waited longer than `queue_timeout`, and its line in the access
//! log. The I/O thread gives it, without the GIL, so a line that must go through a logger of Python
//! is kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcorn_app::loggers;
use rcorn_connection::{Answer, OverdueAnswer, WireProtocol};
use rcorn_http::response::error_page;
use rcorn_http::{
    Head, Limits, Packet, Progress, ProxyVersions, first_line, parse_head, parse_packet,
    parse_preface,
};
use rcorn_log::{AccessForm, AccessLog as AccessFile};
use rcorn_scoreboard::Place;
use rcorn_settings::Settings;
use rcorn_sys::clock;
use rcorn_wsgi::Endpoints;

use super::access_log::write_to_file;
use super::common_lines::{date_line, server_line};
use super::connection::Connection;
use super::front;
use super::overdue_request::{KeptLines, OVERDUE_STATUS, OverdueRequest};
use super::refused::Received;
use super::request_id::{self, RequestIds};

/// Answers requests that have waited too long.
#[derive(Debug)]
pub(super) struct Overdue {
    pub(super) settings: &'static Settings,
    pub(super) limits: Limits,
    pub(super) proxy_versions: ProxyVersions,
    pub(super) access: AccessOutput,
    /// Where requests are noted for statsd, if they are.
    pub(super) sample: Option<&'static Place>,
    /// Makes the ids of the requests, if they have some.
    pub(super) ids: Option<Mutex<RequestIds>>,
}

/// Where the lines of the access log go that the I/O thread makes.
#[derive(Debug)]
pub(super) enum AccessOutput {
    /// There is no access log.
    Nowhere,
    /// To the file, unless somebody has changed `gunicorn.access`.
    File(&'static AccessFile, AccessForm, Arc<KeptLines>),
    /// To a logger of Python.
    Logger(Arc<KeptLines>),
}

impl OverdueAnswer<Endpoints> for Overdue {
    fn answer(&self, connection: &Connection, received: &[u8], waited: Duration) -> Answer {
        let mut request = self.read(connection, received);
        request.waited = waited;
        let mut page = Vec::new();
        let id = self.give_id(&mut request);
        let date = date_line(clock::wall());
        let fields = [&date[..], &id, b"Retry-After: 1\r\n"].concat();
        let body = error_page(
            &mut page,
            OVERDUE_STATUS,
            "Every thread was busy for too long.",
            &fields,
            &server_line(&self.settings.server_header),
            request.head.method(&request.text) == b"HEAD",
        );
        request.sent = u64::try_from(body).unwrap_or(u64::MAX);
        let (head, _body) = page.split_at(page.len().saturating_sub(body));
        request.response_head = head.to_vec();
        if let Some(sample) = self.sample {
            sample.note(OVERDUE_STATUS, waited);
        }
        let body_bytes = request.sent;
        self.access.write(request);
        Answer {
            bytes: page,
            body_bytes,
        }
    }
}

impl Overdue {
    /// Gives a request its id, if requests have ids; returns the field of the response, a whole
    /// line.
    fn give_id(&self, request: &mut OverdueRequest) -> Vec<u8> {
        let Some(ids) = &self.ids else {
            return Vec::new();
        };
        let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
        let given = request.with_request(|request| request_id::given(request).map(<[u8]>::to_vec));
        ids.begin(given.as_deref().filter(|_| request.is_trusted));
        request.id = Some(ids.current().to_owned());
        ids.field().unwrap_or_default().to_vec()
    }

    /// What is known of a request, of which only a part may have come.
    fn read(&self, connection: &Connection, received: &[u8]) -> OverdueRequest {
        let trusted = &self.settings.forwarded_allow_ips;
        let mut is_trusted = connection.is_on(trusted);
        let mut client = connection.client_address().to_string();
        let mut bytes = received;
        if connection.state.may_be_proxied {
            let allowed = connection.is_on(&self.settings.proxy_allow_ips);
            let preface = parse_preface(bytes, self.proxy_versions, allowed);
            if let Ok(Progress::Done(preface)) = preface {
                (_, bytes) = bytes.split_at(preface.length);
                if let Some(named) = preface.addresses {
                    client = named.client.ip().to_canonical().to_string();
                }
            }
        }
        let (head, text) = match connection.protocol() {
            WireProtocol::Http => self.read_head(bytes),
            WireProtocol::Front => {
                // The connection has been that of another client.
                let named = front::client_address(bytes);
                is_trusted = named.is_some_and(|address| trusted.allows(address));
                client = named.map_or(client, |address| address.to_string());
                self.read_head(bytes)
            }
            WireProtocol::Uwsgi => {
                let (mut head, mut packet) = (Head::default(), Packet::default());
                let parsed = parse_packet(bytes, &self.limits, &mut packet, &mut head);
                let received = Received::packet(self.settings, connection, bytes, &packet);
                if connection.is_on(&self.settings.uwsgi_allow_ips)
                    && let Some(named) = received.named_client()
                {
                    client = String::from_utf8_lossy(named).into_owned();
                }
                if matches!(parsed, Ok(Progress::Done(()))) {
                    (head, packet.text)
                } else {
                    self.read_head(received.line())
                }
            }
        };
        OverdueRequest {
            head,
            text,
            client,
            response_head: Vec::new(),
            sent: 0,
            waited: Duration::ZERO,
            is_trusted,
            id: None,
        }
    }

    /// The head, or that of the request line alone; an empty one if there is none.
    fn read_head(&self, bytes: &[u8]) -> (Head, Vec<u8>) {
        let limits = Limits {
            require_host: false,
            ..self.limits
        };
        let line = [first_line(bytes), b"\r\n\r\n"].concat();
        for (text, limits) in [(bytes, &self.limits), (&line, &limits)] {
            let mut head = Head::default();
            if let Ok(Progress::Done(())) = parse_head(text, limits, &mut head) {
                // Not the body.
                let (text, _body) = text.split_at(head.length);
                return (head, text.to_vec());
            }
        }
        (Head::default(), Vec::new())
    }
}

impl AccessOutput {
    fn write(&self, request: OverdueRequest) {
        match self {
            Self::Nowhere => {}
            Self::File(file, form, _) if !loggers::access_may_need_python() => {
                request.with_line(|line| write_to_file(file, form, line));
            }
            Self::File(_, _, kept) | Self::Logger(kept) => kept.keep(request),
        }
    }
}
