//! Servers with a `gunicorn.conf.py`.

use super::{Builder, Server};

/// Answers with the variable that the query names: of the process, or of the environ. Raises for
/// `/raise`.
pub(crate) const APP: &str = "
import os
def app(environ, start_response):
    if environ['PATH_INFO'] == '/raise': raise KeyError('x')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    name = environ['QUERY_STRING']
    return [os.environ.get(name, environ.get(name, 'nothing')).encode()]
";

/// A server for that app, with this `gunicorn.conf.py`.
pub(crate) fn with(conf: &str) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .file("gunicorn.conf.py", conf)
}
