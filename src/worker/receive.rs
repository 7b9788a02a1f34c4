//! Receives the bytes of a ready connection, and passes them to the protocol of its listener.

use std::borrow::Cow;

use pyo3::prelude::*;

use rcorn_connection::{AfterResponse, Lost, Next, Waiting, WireProtocol};
use rcorn_log as log;

use super::connection::{Connection, keep};
use super::http::{serve_requests, serve_requests_of_front};
use super::preface::read_preface;
use super::rules::Rules;
use super::slot::{READ_BYTES, RequestSlot};
use super::uwsgi::serve_packet;

/// How many reads one turn spends on what a client sends after our close.
const DISCARDS_PER_TURN: u32 = 4;

/// Continues with what a connection waits for, as far as possible.
#[expect(clippy::inline_always, reason = "25 instructions of each request")]
#[inline(always)]
pub(super) fn serve_ready(
    py: Python<'_>,
    rules: &Rules,
    slot: &mut RequestSlot,
    connection: &mut Connection,
) -> Next {
    match connection.state.waiting {
        Waiting::Response(after) => go_on_with_response(py, rules, slot, connection, after),
        Waiting::Close => discard(slot, connection),
        Waiting::FirstByte
        | Waiting::Head
        | Waiting::Body(_)
        | Waiting::Chunks
        | Waiting::NextRequest => receive(py, rules, slot, connection),
    }
}

/// Reads the bytes that have arrived and serves the requests that are complete. A partial request
/// is kept with its connection; a complete one never leaves the slot's buffer.
pub(super) fn receive(
    py: Python<'_>,
    rules: &Rules,
    slot: &mut RequestSlot,
    connection: &mut Connection,
) -> Next {
    if !connection.buffer.is_empty() {
        return receive_more(py, rules, slot, connection);
    }
    let RequestSlot {
        scratch,
        parser,
        handler,
    } = slot;
    match connection.channel.try_receive(scratch) {
        Ok(None) => Next::Park(connection.state.waiting),
        Ok(Some(0)) | Err(_) => Next::Abort,
        Ok(Some(count)) => {
            let (bytes, _unused) = scratch.split_at(count);
            serve(py, rules, parser, handler, connection, Cow::Borrowed(bytes))
        }
    }
}

/// The same for a connection that keeps a partial request.
fn receive_more(
    py: Python<'_>,
    rules: &Rules,
    slot: &mut RequestSlot,
    connection: &mut Connection,
) -> Next {
    let waiting = connection.state.waiting;
    let awaits_rest = matches!(waiting, Waiting::Head) || waiting.is_for_body();
    match append(slot, connection) {
        Ok(None) if awaits_rest => return Next::Park(waiting),
        Ok(Some(0)) | Err(_) => return Next::Abort,
        Ok(Some(_)) if !may_be_complete(rules, connection) => return Next::Park(waiting),
        // There are no new bytes, but some that a sibling has read.
        Ok(Some(_) | None) => {}
    }
    let bytes = Cow::Owned(std::mem::take(&mut connection.buffer));
    let RequestSlot {
        parser, handler, ..
    } = slot;
    serve(py, rules, parser, handler, connection, bytes)
}

/// Appends the bytes that have arrived to the connection's buffer. It already has room for a body;
/// anything else takes no more memory than it has bytes.
fn append(slot: &mut RequestSlot, connection: &mut Connection) -> Result<Option<usize>, Lost> {
    let buffer = &mut connection.buffer;
    if let Waiting::Body(needed) = connection.state.waiting {
        let missing = needed.saturating_sub(buffer.len());
        let max = missing.clamp(1, READ_BYTES);
        return connection.channel.try_receive_into(buffer, max);
    }
    let got = connection.channel.try_receive(&mut slot.scratch)?;
    if let Some(count) = got {
        let (new, _unused) = slot.scratch.split_at(count);
        buffer.extend_from_slice(new);
    }
    Ok(got)
}

/// Whether to parse all that has arrived: not for each piece.
fn may_be_complete(rules: &Rules, connection: &mut Connection) -> bool {
    let bytes = connection.buffer.as_slice();
    match connection.state.waiting {
        Waiting::Body(needed) => bytes.len() >= needed,
        Waiting::Chunks => {
            // Complete, malformed, or too large to wait for.
            let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            here >= rules.settings.request_buffer.bytes()
                || connection
                    .chunks
                    .as_mut()
                    .is_none_or(|scan| !matches!(scan.ends(bytes), Ok(false)))
        }
        // A PROXY header or a uwsgi packet says how long it is.
        Waiting::Head
            if connection.state.may_be_proxied
                || connection.state.protocol == WireProtocol::Uwsgi =>
        {
            true
        }
        Waiting::Head => connection.head_scan.is_worth_parsing(bytes),
        Waiting::FirstByte | Waiting::NextRequest | Waiting::Close | Waiting::Response(_) => true,
    }
}

/// Serves every complete request in `bytes`; keeps the rest with the connection.
fn serve(
    py: Python<'_>,
    rules: &Rules,
    parser: &mut super::slot::Parser,
    handler: &mut super::handler::RequestHandler,
    connection: &mut Connection,
    bytes: Cow<'_, [u8]>,
) -> Next {
    let mut at = 0;
    if connection.state.may_be_proxied {
        match read_preface(rules, handler, connection, &bytes) {
            Ok(used) => at = used,
            Err(next) => {
                if next == Next::Park(Waiting::Head) {
                    keep(connection, bytes, 0, 0);
                }
                return next;
            }
        }
    }
    match connection.protocol() {
        WireProtocol::Uwsgi => serve_packet(py, rules, parser, handler, connection, bytes, at),
        WireProtocol::Http => serve_requests(py, rules, parser, handler, connection, bytes, at),
        WireProtocol::Front => {
            serve_requests_of_front(py, rules, parser, handler, connection, bytes)
        }
    }
}

/// Sends more of the response, since the client takes more.
fn go_on_with_response(
    py: Python<'_>,
    rules: &Rules,
    slot: &mut RequestSlot,
    connection: &mut Connection,
    after: AfterResponse,
) -> Next {
    // A file may be on a slow disk.
    match py.detach(|| connection.channel.pump()) {
        Ok(false) => Next::Park(Waiting::Response(after)),
        Ok(true) => match after {
            AfterResponse::NextRequest if connection.buffer.is_empty() => {
                Next::Park(Waiting::NextRequest)
            }
            AfterResponse::NextRequest => {
                let bytes = Cow::Owned(std::mem::take(&mut connection.buffer));
                let RequestSlot {
                    parser, handler, ..
                } = slot;
                serve(py, rules, parser, handler, connection, bytes)
            }
            AfterResponse::Close => Next::Close,
            AfterResponse::Done => Next::Done,
        },
        Err(lost) => {
            let peer = connection.client_address();
            log::debug(format_args!("Response torn: ip={peer}: {lost}"));
            connection.channel.transport().reset_on_close();
            Next::Abort
        }
    }
}

/// After our close: discards what still arrives.
fn discard(slot: &mut RequestSlot, connection: &Connection) -> Next {
    for _ in 0..DISCARDS_PER_TURN {
        match connection.channel.try_receive(&mut slot.scratch) {
            Ok(None) => break,
            Ok(Some(0)) | Err(_) => return Next::Abort,
            Ok(Some(_)) => {}
        }
    }
    Next::Park(Waiting::Close)
}
