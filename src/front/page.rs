//! The front's own pages: refused requests, and those that no worker has answered. They look like
//! those of the workers.

use std::time::SystemTime;

use rcorn_http::response::error_page;

/// Appends a page as HTTP/1.1, after which the connection is closed.
pub(crate) fn write(
    out: &mut Vec<u8>,
    status: u16,
    message: &str,
    server: Option<&str>,
    head_only: bool,
) {
    let date = format!("Date: {}\r\n", date());
    let server = server.map_or_else(String::new, |name| format!("Server: {name}\r\n"));
    let (date, server) = (date.as_bytes(), server.as_bytes());
    error_page(out, status, message, date, server, head_only);
}

/// The current time as a field value (RFC 9110 section 5.6.7).
pub(crate) fn date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

/// The text of a page alone, for HTTP/2.
pub(crate) fn body(status: u16, message: &str) -> Vec<u8> {
    let mut page = Vec::new();
    error_page(&mut page, status, message, b"", b"", false);
    let head = memchr::memmem::find(&page, b"\r\n\r\n");
    page.drain(..head.map_or(0, |end| end.saturating_add(4)));
    page
}
