//! One request whose head is complete, before the app has seen it.

use std::fmt;

use rcorn_connection::{Next, Waiting};
use rcorn_http::Head;
use rcorn_log as log;
use rcorn_types::Level;
use rcorn_wsgi::{ExchangeError, Variables};

use super::front::FrontClient;

/// Who has sent a request, and what came with it beside its head.
#[derive(Clone, Copy, Debug)]
pub(super) enum RequestOrigin<'a> {
    /// A client, or a proxy as if it were one.
    Client,
    /// A proxy, as variables (uwsgi).
    Packet(Variables<'a>),
    /// A front of ours, with what it says of its client.
    Front(&'a FrontClient),
}

/// A request, as it lies in the bytes that were received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) head: &'a Head,
    /// The bytes that the head's spans refer to.
    pub(super) text: &'a [u8],
    /// The head's bytes on the wire.
    pub(super) length: usize,
    /// What was received after them.
    pub(super) behind: &'a [u8],
    pub(super) origin: RequestOrigin<'a>,
    /// The client, for the logs.
    pub(super) peer: &'a str,
}

impl Request<'_> {
    /// Its first line, without the end.
    pub(super) fn line(&self) -> &[u8] {
        let (line, _fields) = self.text.split_at(self.head.block.start());
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

    /// Logs what went wrong. `id`: that of the request, if it has one.
    pub(super) fn log_error(&self, error: &ExchangeError, id: Option<&str>) {
        let method = log::escaped(self.method());
        let target = log::escaped(self.target());
        let shown = Shown(id);
        let record = |level, text: fmt::Arguments<'_>| log::record_about(level, id, text);
        match error {
            ExchangeError::App(text) => log::exception(
                id,
                format_args!("Error handling request {method} {target}{shown}\n{text}"),
            ),
            ExchangeError::Close(text) => record(
                Level::Error,
                format_args!("Error in close() after request {method} {target}{shown}\n{text}"),
            ),
            ExchangeError::Length(text) | ExchangeError::Environ(text) => record(
                Level::Error,
                format_args!("Error handling request {method} {target}{shown}: {text}"),
            ),
            ExchangeError::Client(text) => record(
                Level::Info,
                format_args!("Client left during request {method} {target}{shown}: {text}"),
            ),
            ExchangeError::Leaving => record(
                Level::Warning,
                format_args!("Dropped request {method} {target}{shown}: told to leave at once"),
            ),
        }
    }
}

/// The id of a request, if it has one, as the text of a record has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a>(pub(super) Option<&'a str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(f, " [{id}]"))
    }
}

/// The outcome of one request.
pub(super) enum Outcome {
    /// Served; it took this many bytes.
    Served(usize),
    /// Served; its body was streamed, and these bytes belong to the next request.
    ServedStream(Vec<u8>),
    /// More bytes are needed.
    Wait(Waiting),
    /// No further request is served on the connection.
    Leave(Next),
}
