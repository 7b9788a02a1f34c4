//! HTTP: serves each complete request in the received bytes, in order. The rest waits for more
//! bytes.

use std::borrow::Cow;

use pyo3::prelude::*;

use rcorn_connection::{HeadScan, Next, Waiting};
use rcorn_http::{Progress, parse_head};

use super::connection::{Connection, keep};
use super::handler::RequestHandler;
use super::refused::Received;
use super::request::{Outcome, Request};
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
    mut bytes: Cow<'_, [u8]>,
    mut at: usize,
) -> Next {
    loop {
        let (_served, rest) = bytes.split_at(at);
        if rest.is_empty() {
            connection.buffer = Vec::new();
            return Next::Park(between_requests(connection));
        }
        match serve_request(py, rules, parser, handler, connection, rest) {
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
                variables: None,
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
