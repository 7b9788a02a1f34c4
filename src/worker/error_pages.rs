//! Error pages that the server sends: to refused requests, failures of the app, and slow clients.

use rcorn_http::{Refusal, reply};
use rcorn_log as log;
use rcorn_wsgi::CommonHeaders;

use super::Connection;

/// To a request that did not come in time: Request Timeout (RFC 9110 section 15.5.9).
pub(super) const LATE_STATUS: u16 = 408;

/// Sends a small page and gives the length of its body; what does not fit into the socket's buffer
/// at once is given up.
pub(super) fn send(
    common: &CommonHeaders,
    connection: &Connection,
    status: u16,
    message: &str,
    head_only: bool,
) -> u64 {
    let mut page = Vec::new();
    let body = reply::error_page(
        &mut page,
        status,
        message,
        &common.date,
        &common.server,
        head_only,
    );
    connection.channel.send_or_give_up(&page);
    u64::try_from(body).unwrap_or(u64::MAX)
}

/// Refuses an invalid request; gives the length of the page's body.
pub(super) fn refuse(
    common: &CommonHeaders,
    connection: &Connection,
    refusal: &Refusal,
    head_only: bool,
) -> u64 {
    let peer = connection.client_address();
    log::warning(format_args!("Invalid request from ip={peer}: {refusal}"));
    send(
        common,
        connection,
        refusal.status(),
        &refusal.to_string(),
        head_only,
    )
}

/// Answers a head or body that did not come in time; gives the length of the page.
pub(super) fn too_slow(common: &CommonHeaders, connection: &Connection) -> u64 {
    let peer = connection.client_address();
    log::info(format_args!(
        "Request from ip={peer} took too long to arrive"
    ));
    send(
        common,
        connection,
        LATE_STATUS,
        "The request took too long to arrive.",
        false,
    )
}
