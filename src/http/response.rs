//! Responses: checks of what an app declares, and the server's own error pages.

use core::fmt;

use super::bytes::{self, TOKEN, VALUE};

/// Why a part of a response cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// The status does not consist of three digits, alone or followed by a space.
    StatusForm,
    /// The status code is below 200 or above 599.
    StatusRange,
    /// The reason phrase contains control characters.
    Reason,
    /// A field name is not a token.
    Name,
    /// A field value contains control characters.
    Value,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StatusForm => "it does not begin with three digits and a space",
            Self::StatusRange => "a final status lies between 200 and 599",
            Self::Reason => "its reason has control characters",
            Self::Name => "the name is not a token (RFC 9110 section 5.6.2)",
            Self::Value => "the value has control characters, such as a line end",
        })
    }
}

/// Checks the status of PEP 3333, such as `200 OK`, and returns its code. The reason phrase may be
/// missing (RFC 9112 section 4): PEP 3333 demands it, gunicorn does not.
///
/// # Errors
///
/// It cannot be the end of a status line, or it is not that of a final response.
pub fn check_status(status: &[u8]) -> Result<u16, ResponseError> {
    let (code, rest) = status
        .split_at_checked(3)
        .ok_or(ResponseError::StatusForm)?;
    let number = bytes::decimal(code).and_then(|code| u16::try_from(code).ok());
    let number = number
        .filter(|_| matches!(rest.first(), Some(b' ') | None))
        .ok_or(ResponseError::StatusForm)?;
    if !(200..600).contains(&number) {
        return Err(ResponseError::StatusRange);
    }
    if bytes::all(rest, &VALUE) {
        Ok(number)
    } else {
        Err(ResponseError::Reason)
    }
}

/// Checks a field name (RFC 9110 section 5.1).
///
/// # Errors
///
/// It is not a token.
pub fn check_name(name: &[u8]) -> Result<(), ResponseError> {
    if !name.is_empty() && bytes::all(name, &TOKEN) {
        Ok(())
    } else {
        Err(ResponseError::Name)
    }
}

/// Checks a field value (RFC 9110 section 5.5).
///
/// # Errors
///
/// It contains control characters.
pub fn check_value(value: &[u8]) -> Result<(), ResponseError> {
    if bytes::all(value, &VALUE) {
        Ok(())
    } else {
        Err(ResponseError::Value)
    }
}

/// Whether a field is about the connection, and so up to the server (RFC 9110 section 7.6.1). PEP
/// 3333 forbids such fields to apps.
#[must_use]
pub fn hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The reason phrase of a status that the server itself answers with.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

/// Appends a complete response: a small page with the reason phrase as its title, after which the
/// connection is closed. `date` and `server` are whole field lines. Returns the length of the body.
pub fn error_page(
    out: &mut Vec<u8>,
    status: u16,
    message: &str,
    date: &[u8],
    server: &[u8],
    head_only: bool,
) -> usize {
    let reason = reason(status);
    let mut text = String::with_capacity(message.len());
    for character in message.chars() {
        match character {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            other => text.push(other),
        }
    }
    let page = format!(
        "<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n    <h1><p>{reason}</p></h1>\n    {text}\n  </body>\n</html>\n"
    );
    out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    out.extend_from_slice(b"Connection: close\r\nContent-Type: text/html; charset=utf-8\r\n");
    out.extend_from_slice(format!("Content-Length: {}\r\n", page.len()).as_bytes());
    out.extend_from_slice(server);
    out.extend_from_slice(date);
    out.extend_from_slice(b"\r\n");
    if head_only {
        return 0;
    }
    out.extend_from_slice(page.as_bytes());
    page.len()
}
