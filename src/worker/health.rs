//! Health checks on the app's own address, answered before any code of the app (the setting
//! `health_path`).

use rcorn_http::Framing;
use rcorn_http::response::reason;
use rcorn_scoreboard::Shared;

use super::request::Request;

/// Whether a request is a health check.
pub(super) fn is_check(request: &Request<'_>, path: &str) -> bool {
    let head = request.head;
    head.path.of(request.text) == path.as_bytes()
        && head.framing == Framing::None
        && matches!(request.method(), b"GET" | b"HEAD")
}

/// The answer: this worker serves, and new clients are welcome unless the server is about to stop.
/// `common`: whole field lines.
pub(super) fn answer(shared: &Shared, common: &[u8], is_head: bool, closes: bool) -> Vec<u8> {
    let (status, text) = if shared.is_draining() {
        (503, "stopping\n")
    } else {
        (200, "ok\n")
    };
    let (reason, length) = (reason(status), text.len());
    let close = if closes { "Connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nCache-Control: no-store\r\n{close}"
    );
    let body = if is_head { "" } else { text };
    [head.as_bytes(), common, b"\r\n", body.as_bytes()].concat()
}
