//! A request of HTTP/2 as HTTP/1.1 (RFC 9113 section 8.3): so it meets the same rules, and what
//! they refuse is refused with the same words.

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap};
use http::request::Parts;
use http::uri::Authority;
use rcorn_http::Refusal;

/// The head. With `has_body` and no length the body will be chunked.
///
/// # Errors
///
/// It has no form in HTTP/1.1.
pub(crate) fn as_http1(parts: &Parts, has_body: bool) -> Result<Vec<u8>, Refusal> {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let mut out = Vec::with_capacity(512);
    let method = parts.method.as_str();
    for part in [method, " ", path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let authority = parts.uri.authority().map(Authority::as_str);
    let mut hosts = parts.headers.get_all(HOST).iter();
    if let Some(authority) = authority {
        // Where both are, they must be the same (RFC 9113 section 8.3.1).
        if !hosts.all(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes())) {
            return Err(Refusal::ManyHosts);
        }
        write_field(&mut out, b"host", authority.as_bytes());
    }
    for (name, value) in &parts.headers {
        let is_written = *name == COOKIE || (*name == HOST && authority.is_some());
        if !is_written {
            write_field(&mut out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    write_cookies(&mut out, &parts.headers);
    if has_body && !parts.headers.contains_key(CONTENT_LENGTH) {
        write_field(&mut out, b"transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The crumbs of Cookie are one field in HTTP/1.1 (RFC 9113 section 8.2.3).
fn write_cookies(out: &mut Vec<u8>, headers: &HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if !crumbs.is_empty() {
        write_field(out, b"cookie", &crumbs.join(&b"; "[..]));
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn text(request: http::request::Builder, has_body: bool) -> Result<String, Refusal> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        as_http1(&parts, has_body).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_authority_becomes_host_and_crumbs_one_cookie() {
        let request = Request::get("https://shop.example:8443/a?b=c")
            .header("cookie", "a=1")
            .header("accept", "*/*")
            .header("cookie", "b=2");
        assert_eq!(
            text(request, false).unwrap(),
            "GET /a?b=c HTTP/1.1\r\nhost: shop.example:8443\r\naccept: */*\r\n\
             cookie: a=1; b=2\r\n\r\n"
        );
    }

    #[test]
    fn a_body_without_a_length_is_chunked() {
        let post = || Request::post("https://x/");
        assert_eq!(
            text(post(), true).unwrap(),
            "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            text(post().header("content-length", "3"), true).unwrap(),
            "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n"
        );
    }

    #[test]
    fn host_must_be_the_authority() {
        let request = || Request::get("https://shop.example/");
        assert!(text(request().header("host", "SHOP.example"), false).is_ok());
        let other = request().header("host", "other.example");
        assert_eq!(text(other, false), Err(Refusal::ManyHosts));
        let without = Request::get("/").header("host", "shop.example");
        assert_eq!(
            text(without, false).unwrap(),
            "GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n"
        );
    }
}
