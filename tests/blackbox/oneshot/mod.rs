//! One request or event a process: `rcorn cgi`, `invoke` and `pack`.

mod cgi;
mod cgi_servers;
mod invoke;
mod pack;

use crate::support::{APPS, Once};

/// A request for an app of `tests/apps`.
pub(super) fn cgi(app: &str, method: &str, path: &str) -> Once {
    Once::rcorn(["cgi", "--chdir", APPS, app])
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("SERVER_NAME", "test")
        .env("SERVER_PORT", "80")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
}

/// Where the sample events are.
pub(super) const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/function");

/// The path of a sample event.
pub(super) fn event(name: &str) -> String {
    format!("{EVENTS}/{name}.json")
}
