//! What a record of the access log is made of.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_wsgi::Served;

use super::request::Request;

/// The request that a record is about.
#[derive(Clone, Copy)]
pub(super) struct AccessLine<'a, 'py> {
    pub(super) request: &'a Request<'a>,
    pub(super) served: &'a Served,
    pub(super) duration: Duration,
    pub(super) response_head: &'a [u8],
    pub(super) environ: Option<&'a Bound<'py, PyDict>>,
}
