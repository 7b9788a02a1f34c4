//! The environ keys of every request, as `str` objects that are interned once.

use pyo3::prelude::*;
use pyo3::types::PyString;

macro_rules! keys {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Keys that are set for each request.
        #[derive(Debug)]
        pub(super) struct Keys { $(pub(super) $name: Py<PyString>),* }
        impl Keys {
            pub(super) fn new(py: Python<'_>) -> Self {
                Self { $($name: PyString::intern(py, $text).unbind()),* }
            }
        }
    };
}

keys! {
    method = "REQUEST_METHOD", path = "PATH_INFO", query = "QUERY_STRING", raw_uri = "RAW_URI",
    script = "SCRIPT_NAME", host = "HTTP_HOST", protocol = "SERVER_PROTOCOL",
    remote_addr = "REMOTE_ADDR", remote_port = "REMOTE_PORT", input = "wsgi.input",
    scheme = "wsgi.url_scheme", multiprocess = "wsgi.multiprocess", server_name = "SERVER_NAME",
    server_port = "SERVER_PORT", proxy_protocol = "PROXY_PROTOCOL", proxy_addr = "PROXY_ADDR",
    proxy_port = "PROXY_PORT",
}
