//! What a record of the access log is made of.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::request::Request;

/// The request that a record is about.
#[derive(Clone, Copy)]
pub(super) struct AccessLine<'a, 'py> {
    pub(super) request: &'a Request<'a>,
    pub(super) status: u16,
    /// How many bytes of the body were sent.
    pub(super) sent: u64,
    pub(super) duration: Duration,
    pub(super) response_head: &'a [u8],
    pub(super) request_id: Option<&'a str>,
    pub(super) seen: Seen<'a, 'py>,
}

/// What the app and the hooks saw of a request.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a, 'py> {
    pub(super) environ: Option<&'a Bound<'py, PyDict>>,
    /// The header fields, pairs of name and value, if `pre_request` changed them.
    pub(super) changed_fields: Option<&'a Bound<'py, PyList>>,
    /// The head of the response, if a static file was sent and the app was not called.
    pub(super) file_head: Option<&'a [u8]>,
}
