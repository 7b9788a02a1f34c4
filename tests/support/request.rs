//! Requests as text.

/// A GET of this target.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// The head of a POST to this target, for a body of `length` bytes.
pub(crate) fn post(target: &str, length: u64) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}
