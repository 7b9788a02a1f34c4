//! Replies of the server's own: refused requests, apps that failed, clients that were too slow.

use std::io::IoSlice;

use rcorn_http::{Refusal, reply};
use rcorn_log as log;
use rcorn_sys::net;
use rcorn_wsgi::environ::EnvironError;
use rcorn_wsgi::exchange::{Ending, Served};

use super::connection::Connection;
use super::desk::Desk;
use super::serve::Request;

impl Desk<'_> {
    /// Sends a small page and gives the length of its body; what does not fit into the socket's buffer at
    /// once is given up.
    pub(super) fn page(
        &self,
        connection: &Connection,
        status: u16,
        message: &str,
        head_only: bool,
    ) -> u64 {
        let mut page = Vec::new();
        let common = self.exchange.common_headers();
        let body = reply::error_page(
            &mut page,
            status,
            message,
            &common.date,
            &common.server,
            head_only,
        );
        drop(net::send_gathered(
            connection.channel.socket(),
            &[IoSlice::new(&page)],
        ));
        u64::try_from(body).unwrap_or(u64::MAX)
    }

    /// A request that is not one.
    pub(super) fn refuse(&self, connection: &Connection, refusal: &Refusal) -> u64 {
        let peer = connection.peer_address();
        log::warning(format_args!("Invalid request from ip={peer}: {refusal}"));
        self.page(connection, refusal.status(), &refusal.to_string(), false)
    }

    /// A head or body that did not come in time.
    pub(super) fn too_slow(&self, connection: &Connection) {
        let peer = connection.peer_address();
        log::info(format_args!(
            "Request from ip={peer} took too long to arrive"
        ));
        self.page(
            connection,
            408,
            "The request took too long to arrive.",
            false,
        );
    }

    /// The environ could not be made.
    pub(super) fn own_failure(
        &self,
        connection: &Connection,
        request: &Request<'_>,
        error: &EnvironError,
    ) -> Served {
        let target = log::escaped(request.target());
        let (status, message) = match error {
            EnvironError::Scheme => (
                400,
                "The forwarding fields of the request contradict each other.",
            ),
            EnvironError::ScriptName(..) | EnvironError::Python(_) => {
                (500, "The server failed to prepare this request.")
            }
        };
        match error {
            EnvironError::Scheme => {
                let peer = log::escaped(request.peer.as_bytes());
                log::warning(format_args!("Invalid request from ip={peer}: {error}"));
            }
            EnvironError::ScriptName(..) | EnvironError::Python(_) => {
                log::error(format_args!("Error handling request {target}: {error}"));
            }
        }
        Served {
            status,
            sent: self.page(connection, status, message, request.is_head()),
            ending: Ending::Close,
            error: None,
        }
    }
}
