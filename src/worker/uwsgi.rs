//! uwsgi: each connection has one packet of variables instead of a head.

use std::borrow::Cow;

use pyo3::prelude::*;

use rcorn_connection::{Next, Waiting};
use rcorn_http::{Progress, Refusal, parse_packet};
use rcorn_wsgi::Variables;

use super::connection::{Connection, keep};
use super::handler::RequestHandler;
use super::refused::Received;
use super::request::{Outcome, Request, RequestOrigin};
use super::rules::Rules;
use super::slot::Parser;

/// Serves the only request of a uwsgi connection, which begins at offset `at`, when it is complete.
pub(super) fn serve_packet(
    py: Python<'_>,
    rules: &Rules,
    parser: &mut Parser,
    handler: &mut RequestHandler,
    connection: &mut Connection,
    bytes: Cow<'_, [u8]>,
    at: usize,
) -> Next {
    let (_preface, packet) = bytes.split_at(at);
    if packet.is_empty() {
        connection.buffer = Vec::new();
        return Next::Park(Waiting::FirstByte);
    }
    if !connection.is_on(&rules.settings.uwsgi_allow_ips) {
        handler.refuse(connection, &Refusal::UwsgiPeer, &Received::bytes(packet));
        return Next::Close;
    }
    match serve_variables(py, rules, parser, handler, connection, packet) {
        Outcome::Wait(waiting) => {
            keep(connection, bytes, at, 0);
            Next::Park(waiting)
        }
        Outcome::Leave(next) => next,
        // Cannot happen, because such a connection does not persist.
        Outcome::Served(_) | Outcome::ServedStream(_) => Next::Close,
    }
}

fn serve_variables(
    py: Python<'_>,
    rules: &Rules,
    parser: &mut Parser,
    handler: &mut RequestHandler,
    connection: &mut Connection,
    bytes: &[u8],
) -> Outcome {
    let Parser { head, packet, .. } = parser;
    match parse_packet(bytes, &rules.limits, packet, head) {
        Ok(Progress::More) => Outcome::Wait(Waiting::Head),
        Ok(Progress::Done(())) => {
            let variables = Variables {
                bytes,
                list: &packet.variables,
            };
            let peer = match variables.get(b"REMOTE_ADDR") {
                Some(address) => String::from_utf8_lossy(address).into(),
                None => connection.client_address(),
            };
            let (_packet, behind) = bytes.split_at(packet.length);
            let request = Request {
                head,
                text: &packet.text,
                length: packet.length,
                behind,
                origin: RequestOrigin::Packet(variables),
                peer: &peer,
            };
            handler.serve(py, rules, connection, &request)
        }
        Err(refusal) => {
            handler.refuse(
                connection,
                &refusal,
                &Received::packet(rules.settings, connection, bytes, packet),
            );
            Outcome::Leave(Next::Close)
        }
    }
}
