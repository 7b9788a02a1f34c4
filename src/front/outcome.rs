//! How an exchange ends, and what is said of it.

use std::borrow::Cow;
use std::io;

use rcorn_types::Level;

use crate::counters::Counter;
use crate::inner::Inner;
use crate::local::Local;
use crate::side::ClientError;

/// How an exchange has ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The response is complete.
    Done {
        /// The request's body was read to its end.
        body_ended: bool,
    },
    /// The worker has agreed to another protocol.
    Tunnel(Inner),
    /// There was no response: the client gets this page.
    Page(u16, Cow<'static, str>),
    /// The response cannot be completed, and the client must not take it for complete.
    Abort,
    /// The client has left.
    Gone,
}

/// Why a response did not come to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No worker took the connection.
    Unavailable(io::Error),
    /// Nothing came of it.
    None(io::Error),
    /// It is no HTTP.
    Malformed(&'static str),
    /// It has ended too early.
    Cut,
    Client(ClientError),
    /// The client takes too long to send the body.
    BodyLate,
    /// The client takes too long to take the response.
    ReadLate,
}

impl Failure {
    /// What the client gets, once this is counted and recorded. `about` is the request;
    /// `has_begun`: the client has the head of a response.
    pub(crate) fn outcome(&self, local: &Local, about: &[u8], has_begun: bool) -> Outcome {
        let about = about.escape_ascii();
        match self {
            Self::Client(ClientError::Gone) => Outcome::Gone,
            Self::Client(ClientError::Refused(refusal)) if !has_begun => {
                local.count(Counter::RefusedRequests);
                Outcome::Page(refusal.status(), refusal.to_string().into())
            }
            Self::BodyLate if !has_begun => {
                local.count(Counter::LateRequests);
                Outcome::Page(408, "The request took too long to arrive.".into())
            }
            Self::Client(ClientError::Refused(_)) | Self::BodyLate => Outcome::Abort,
            Self::ReadLate => {
                local.count(Counter::SlowReaders);
                Outcome::Abort
            }
            Self::Cut => {
                local.count(Counter::CutResponses);
                let what = format!("A worker did not finish its response to {about}");
                local.record(Level::Warning, what);
                Outcome::Abort
            }
            Self::Unavailable(error) => {
                local.count(Counter::Unavailable);
                let what = format!("No worker took a connection for {about}: {error}");
                local.record(Level::Warning, what);
                Outcome::Page(503, "No worker takes connections at the moment.".into())
            }
            Self::None(error) => {
                let what = format!("No worker answered {about}: {error}");
                bad_gateway(local, what, "The worker ended before it answered.")
            }
            Self::Malformed(reason) => {
                let what = format!("A worker's answer to {about} is malformed: {reason}");
                bad_gateway(local, what, "The worker's answer is malformed.")
            }
        }
    }
}

fn bad_gateway(local: &Local, record: String, page: &'static str) -> Outcome {
    local.count(Counter::BadGateways);
    local.record(Level::Warning, record);
    Outcome::Page(502, page.into())
}
