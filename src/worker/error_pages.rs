//! Error pages that the server sends: to refused requests, failures of the app, and slow clients.

use rcorn_http::{Refusal, reply};
use rcorn_log as log;
use rcorn_wsgi::{CommonHeaders, Ending, EnvironError, Served};

use super::Connection;
use super::request::Request;

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

/// Refuses an invalid request; gives the length of the page.
pub(super) fn refuse(common: &CommonHeaders, connection: &Connection, refusal: &Refusal) -> u64 {
    let peer = connection.client_address();
    log::warning(format_args!("Invalid request from ip={peer}: {refusal}"));
    send(
        common,
        connection,
        refusal.status(),
        &refusal.to_string(),
        false,
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

/// Answers a request for which there is no environ.
pub(super) fn no_environ(
    common: &CommonHeaders,
    connection: &Connection,
    request: &Request<'_>,
    error: &EnvironError,
) -> Served {
    let (status, message) = match error {
        EnvironError::Scheme => {
            let peer = log::escaped(request.peer.as_bytes());
            log::warning(format_args!("Invalid request from ip={peer}: {error}"));
            (
                400,
                "The forwarding fields of the request contradict each other.",
            )
        }
        EnvironError::ScriptName(..) | EnvironError::Python(_) => {
            let target = log::escaped(request.target());
            log::error(format_args!("Error handling request {target}: {error}"));
            (500, "The server failed to prepare this request.")
        }
    };
    Served {
        status,
        sent: send(common, connection, status, message, request.is_head()),
        ending: Ending::Close,
        error: None,
    }
}
