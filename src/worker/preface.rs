//! A PROXY header at the beginning of a connection.

use rcorn_connection::{Next, Waiting};
use rcorn_http::{Progress, parse_preface};

use super::connection::Connection;
use super::handler::RequestHandler;
use super::refused::Received;
use super::rules::Rules;

/// Notes what a PROXY header says, or that there is none, and returns its length.
pub(super) fn read_preface(
    rules: &Rules,
    handler: &mut RequestHandler,
    connection: &mut Connection,
    bytes: &[u8],
) -> Result<usize, Next> {
    let allowed = connection.is_on(&rules.settings.proxy_allow_ips);
    match parse_preface(bytes, rules.proxy_versions, allowed) {
        Ok(Progress::Done(preface)) => {
            connection.set_proxied(preface.addresses);
            Ok(preface.length)
        }
        Ok(Progress::More) => Err(Next::Park(Waiting::Head)),
        Err(refusal) => {
            handler.refuse(connection, &refusal, &Received::bytes(bytes));
            Err(Next::Close)
        }
    }
}
