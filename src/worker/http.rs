//! HTTP: serves each complete request in the received bytes, in order. The rest waits for more
//! bytes.

use std::borrow::Cow;

use pyo3::prelude::*;

use rcorn_connection::{HeadScan, Next, Waiting};
use rcorn_http::{Progress, parse_head};

use super::connection::{Connection, keep};
use super::handler::RequestHandler;
use super::refused::Received;
use super::request::{Outcome, Request, RequestOrigin};
use super::rules::Rules;
use super::slot::Parser;

/// Serves every complete request in `bytes`, from offset `at` on. Keeps the rest with the
/// connection.
pub(super) fn serve_requests(
    py: Python<'_>,
    rules: &Rules,
    parser: &mut Parser,
    handler: &mut RequestHandler,
    connection: &mut Connection,
    bytes: Cow<'_, [u8]>,
    at: usize,
) -> Next {
    serve_all::<false>(py, rules, parser, handler, connection, bytes, at)
}

/// The same for a connection of a front.
pub(super) fn serve_requests_of_front(
    py: Python<'_>,
    rules: &Rules,
    parser: &mut Parser,
    handler: &mut RequestHandler,
    connection: &mut Connection,
    bytes: Cow<'_, [u8]>,
) -> Next {
    serve_all::<true>(py, rules, parser, handler, connection, bytes, 0)
}

/// `FRONT`: whose connection it is. A type of its own, so that no other request asks for it.
fn serve_all<const FRONT: bool>(
    py: Python<'_>,
    rules: &Rules,
    parser: &mut Parser,
    handler: &mut RequestHandler,
    connection: &mut Connection,
    mut bytes: Cow<'_, [u8]>,
    mut at: usize,
) -> Next {
    loop {
        let (_served, rest) = bytes.split_at(at);
        if rest.is_empty() {
            connection.buffer = Vec::new();
            return Next::Park(between_requests(connection));
        }
        match serve_request::<FRONT>(py, rules, parser, handler, connection, rest) {
            Outcome::Served(used) => at = at.saturating_add(used),
            Outcome::ServedStream(left) => {
                // The connection continues with the bytes that the decoder of the body left.
                (bytes, at) = (Cow::Owned(left), 0);
            }
            Outcome::Wait(waiting) => {
                // With room for the whole body, so that it need not be moved when it arrives.
                let capacity = match waiting {
                    Waiting::Body(needed) => needed,
                    Waiting::FirstByte
                    | Waiting::Head
                    | Waiting::Chunks
                    | Waiting::NextRequest
                    | Waiting::Response(_)
                    | Waiting::Close => 0,
                };
                keep(connection, bytes, at, capacity);
                return Next::Park(waiting);
            }
            Outcome::Leave(next) => return next,
        }
        connection.head_scan = HeadScan::default();
        if rules.quits() {
            return Next::Abort;
        }
        // The client must take this response before the next one is made; and the next one may be
        // for the worker's replacement.
        if connection.channel.owes() || rules.quota.is_used_up() {
            keep(connection, bytes, at, 0);
            return Next::Park(Waiting::NextRequest);
        }
    }
}

/// Serves the request at the beginning of `rest`.
fn serve_request<const FRONT: bool>(
    py: Python<'_>,
    rules: &Rules,
    parser: &mut Parser,
    handler: &mut RequestHandler,
    connection: &mut Connection,
    rest: &[u8],
) -> Outcome {
    let Parser {
        head,
        front_clients,
        ..
    } = parser;
    let limits = if FRONT {
        &rules.front_limits
    } else {
        &rules.limits
    };
    let parsed = parse_head(rest, limits, head);
    let client = match parsed {
        Ok(Progress::More) => return Outcome::Wait(Waiting::Head),
        Ok(Progress::Done(())) if FRONT => front_clients.introduce(head, rest).map(Some),
        Ok(Progress::Done(())) => Ok(None),
        Err(refusal) => Err(refusal),
    };
    let client = match client {
        Ok(client) => client,
        Err(refusal) => {
            let received = Received::head(rules, connection, rest);
            handler.refuse(connection, &refusal, &received);
            return Outcome::Leave(Next::Close);
        }
    };
    if let Some(client) = &client {
        connection.set_client_of_front(client.addresses());
    }
    let (_head, behind) = rest.split_at(head.length);
    let request = Request {
        head,
        text: rest,
        length: head.length,
        behind,
        origin: client
            .as_deref()
            .map_or(RequestOrigin::Client, RequestOrigin::Front),
        peer: &connection.client_address(),
    };
    handler.serve(py, rules, connection, &request)
}

fn between_requests(connection: &Connection) -> Waiting {
    if connection.state.served == 0 {
        Waiting::FirstByte
    } else {
        Waiting::NextRequest
    }
}
