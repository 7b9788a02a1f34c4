//! A static file instead of a call of the app.

use std::io::IoSlice;
use std::path::PathBuf;

use pyo3::prelude::*;

use rcorn_connection::{Channel, FileRest, Flush, Lost};
use rcorn_http::Version;
use rcorn_settings::Settings;
use rcorn_static_files::{Answer, Body, Response, StaticFiles, reason};
use rcorn_wsgi::{Attached, CommonHeaders, Ending, ExchangeError, Served};

use super::request::Request;

/// The files that the settings name; `None`: there are none.
pub(super) fn of(settings: &Settings) -> Option<StaticFiles> {
    if settings.static_files.is_empty() {
        return None;
    }
    let maps = settings.static_files.iter();
    let maps = maps.map(|(prefix, path)| (prefix.clone(), PathBuf::from(path)));
    let cache = settings.static_cache_control.clone();
    let index = settings.static_index.clone();
    Some(StaticFiles::new(maps, cache, index))
}

/// What answers this request instead of the app, if anything does.
pub(super) fn find(
    py: Python<'_>,
    files: &StaticFiles,
    settings: &Settings,
    request: &Request<'_>,
) -> Option<Response> {
    let text = request.text;
    let fields = request.head.fields.iter();
    let fields: Vec<(&[u8], &[u8])> = fields
        .map(|field| (field.name.of(text), field.value.of(text)))
        .collect();
    let asked = rcorn_static_files::Request {
        method: request.method(),
        path: request.head.path.of(text),
        fields: &fields,
    };
    // The disk may be slow: let the app's threads run meanwhile.
    match py.detach(|| files.answer(&asked)) {
        Answer::NotOurs => None,
        Answer::Missing(_) if settings.static_fallthrough => None,
        Answer::Missing(response) | Answer::Response(response) => Some(response),
    }
}

/// Sends it; also gives the head, for the access log.
pub(super) fn send(
    py: Python<'_>,
    channel: &Channel,
    response: Response,
    common: &CommonHeaders,
    request: &Request<'_>,
    keep_alive: bool,
) -> (Served, Vec<u8>) {
    let status = response.status;
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
    head.extend_from_slice(&common.server);
    head.extend_from_slice(&common.date);
    head.extend_from_slice(&common.request_id);
    head.extend_from_slice(match (keep_alive, request.head.version) {
        (false, _) => b"Connection: close\r\n",
        (true, Version::Http11) => b"",
        (true, Version::Http10) => b"Connection: keep-alive\r\n",
    });
    head.extend_from_slice(response.fields.as_bytes());
    head.extend_from_slice(b"\r\n");
    channel.ending();
    let (sent, result) = send_body(Attached(py), channel, &head, response.body);
    let served = match result {
        Ok(()) => Served {
            status,
            sent,
            ending: if keep_alive {
                Ending::KeepAlive
            } else {
                Ending::Close
            },
            error: None,
        },
        Err(lost) => Served {
            status,
            sent: 0,
            ending: Ending::Abort,
            error: Some(ExchangeError::Client(lost.to_string())),
        },
    };
    (served, head)
}

/// The length of the body, and whether it was sent.
fn send_body(
    attached: Attached<'_>,
    channel: &Channel,
    head: &[u8],
    body: Body,
) -> (u64, Result<(), Lost>) {
    let whole = |parts: &mut [IoSlice<'_>]| channel.send(&attached, parts, Flush::Now).map(drop);
    match body {
        Body::Empty => (0, whole(&mut [IoSlice::new(head)])),
        Body::Bytes(bytes) => {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let mut parts = [IoSlice::new(head), IoSlice::new(&bytes)];
            (length, whole(&mut parts))
        }
        Body::File {
            file,
            offset,
            length,
        } => {
            let file = FileRest {
                descriptor: file.into(),
                offset: i64::try_from(offset).unwrap_or(i64::MAX),
                left: length,
            };
            (length, channel.send_file(&attached, head, file))
        }
    }
}
