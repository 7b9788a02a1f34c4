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
        let outcome = if FRONT {
            serve_request_of_front(py, rules, parser, handler, connection, rest)
        } else {
            serve_request(py, rules, parser, handler, connection, rest)
        };
        match outcome {
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
fn serve_request(
    py: Python<'_>,
    rules: &Rules,
    parser: &mut Parser,
    handler: &mut RequestHandler,
    connection: &mut Connection,
    rest: &[u8],
) -> Outcome {
    let head = &mut parser.head;
    match parse_head(rest, &rules.limits, head) {
        Ok(Progress::More) => Outcome::Wait(Waiting::Head),
        Ok(Progress::Done(())) => {
            let (_head, behind) = rest.split_at(head.length);
            let request = Request {
                head,
                text: rest,
                length: head.length,
                behind,
                origin: RequestOrigin::Client,
                peer: &connection.client_address(),
            };
            handler.serve(py, rules, connection, &request)
        }
        Err(refusal) => {
            let received = Received::head(rules, connection, rest);
            handler.refuse(connection, &refusal, &received);
            Outcome::Leave(Next::Close)
        }
    }
}

/// The same for a request of a front.
fn serve_request_of_front(
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
        front_text,
        ..
    } = parser;
    let introduced = front_clients.introduce(rest, front_text);
    let parsed = introduced.and_then(|introduced| match introduced {
        Progress::More => Ok(None),
        Progress::Done(introduced) => {
            let client = &introduced.client;
            connection.set_client_of_front(client.addresses(), client.front_takes_memory());
            let parsed = parse_head(front_text, &rules.limits, head)?;
            Ok(matches!(parsed, Progress::Done(())).then_some(introduced))
        }
    });
    match parsed {
        Ok(None) => Outcome::Wait(Waiting::Head),
        Ok(Some(introduced)) => {
            let length = head.length.saturating_add(introduced.field_length);
            let (_head, behind) = rest.split_at(length);
            let request = Request {
                head,
                text: front_text,
                length,
                behind,
                origin: RequestOrigin::Front(&introduced.client),
                peer: &connection.client_address(),
            };
            handler.serve(py, rules, connection, &request)
        }
        Err(refusal) => {
            let received = Received::head(rules, connection, rest);
            handler.refuse(connection, &refusal, &received);
            Outcome::Leave(Next::Close)
        }
    }
}

fn between_requests(connection: &Connection) -> Waiting {
    if connection.state.served == 0 {
        Waiting::FirstByte
    } else {
        Waiting::NextRequest
    }
}
