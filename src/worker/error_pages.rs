//! The server's own error pages, for refused requests, failures of the app and slow clients.

use rcorn_http::{Refusal, response};
use rcorn_log as log;
use rcorn_types::Level;
use rcorn_wsgi::CommonHeaders;

use super::connection::Connection;
use super::refused::Received;
use super::request::Shown;

/// The status for a request that did not arrive in time: Request Timeout (RFC 9110 section 15.5.9).
pub(super) const LATE_STATUS: u16 = 408;

/// Sends a small page and returns the length of its body. What the socket does not take at once is
/// dropped.
pub(super) fn send(
    common: &CommonHeaders,
    connection: &Connection,
    status: u16,
    message: &str,
    head_only: bool,
) -> u64 {
    let mut page = Vec::new();
    let fields = [&common.date[..], &common.request_id].concat();
    let body = response::error_page(
        &mut page,
        status,
        message,
        &fields,
        &common.server,
        head_only,
    );
    connection.channel.send_or_give_up(&page);
    u64::try_from(body).unwrap_or(u64::MAX)
}

/// Refuses an invalid request, and logs what is known of it; returns the length of the page.
pub(super) fn refuse(
    common: &CommonHeaders,
    connection: &Connection,
    refusal: &Refusal,
    received: &Received<'_>,
    id: Option<&str>,
) -> u64 {
    let client = received.client(connection);
    let about = received.about(*refusal);
    let shown = Shown(id);
    log::record_about(
        Level::Warning,
        id,
        format_args!("Invalid request from ip={client}: {refusal}{about}{shown}"),
    );
    send(
        common,
        connection,
        refusal.status(),
        &refusal.to_string(),
        received.is_head,
    )
}

/// Answers a head or body that did not arrive in time; returns the length of the page.
pub(super) fn too_slow(
    common: &CommonHeaders,
    connection: &Connection,
    received: &Received<'_>,
    id: Option<&str>,
) -> u64 {
    let client = received.client(connection);
    let about = received.about(Refusal::RequestLine);
    let shown = Shown(id);
    log::record_about(
        Level::Info,
        id,
        format_args!("Request from ip={client} took too long to arrive{about}{shown}"),
    );
    send(
        common,
        connection,
        LATE_STATUS,
        "The request took too long to arrive.",
        received.is_head,
    )
}
