//! The request line (RFC 9112 section 3), and the decoding of paths.

use super::bytes::{self, METHOD, TARGET, TOKEN};
use super::{Limits, Refusal, Span, Version};

/// The parts of a request line, as parts of the whole buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) path: Span,
    pub(super) query: Span,
    /// The authority of a target in absolute form.
    pub(super) authority: Option<Span>,
    pub(super) version: Version,
}

/// Parses a request line, without its line end, that begins at offset `at` of the buffer. If
/// `casefold_http_method` changes the method, `upper` receives it.
///
/// # Errors
///
/// The line is not a request line that is served.
pub(super) fn parse(
    line: &[u8],
    at: usize,
    limits: &Limits,
    upper: &mut Vec<u8>,
) -> Result<Line, Refusal> {
    let first = memchr::memchr(b' ', line).ok_or(Refusal::RequestLine)?;
    let last = memchr::memrchr(b' ', line)
        .filter(|last| *last > first)
        .ok_or(Refusal::RequestLine)?;
    let method = Span::new(0, first).of(line);
    let target = Span::new(first + 1, last).of(line);
    let version = Span::new(last + 1, line.len()).of(line);
    if limits.casefold_http_method && method.iter().any(u8::is_ascii_lowercase) {
        *upper = method.to_ascii_uppercase();
    }
    let method = if upper.is_empty() { method } else { upper };
    check_method(method, limits)?;
    let mut resource = target;
    if target.is_empty() || !bytes::all(target, &TARGET) {
        if !limits.is_relayed {
            // With a space inside, the line has more than three parts.
            return Err(if target.contains(&b' ') {
                Refusal::RequestLine
            } else {
                Refusal::Target
            });
        }
        resource = without_fragment(target);
    }
    let version = parse_version(version, limits)?;
    let start = at + first + 1;
    let (path, query, authority) = parse_target(method, resource, start)?;
    Ok(Line {
        method: Span::new(at, at + first),
        target: Span::new(start, at + last),
        path,
        query,
        authority,
        version,
    })
}

fn check_method(method: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let fine = if limits.permit_unconventional_http_method {
        !method.is_empty() && bytes::all(method, &TOKEN)
    } else {
        (3..=20).contains(&method.len()) && bytes::all(method, &METHOD)
    };
    if !fine {
        return Err(Refusal::Method);
    }
    if method == b"CONNECT" {
        Err(Refusal::Connect)
    } else {
        Ok(())
    }
}

fn parse_version(version: &[u8], limits: &Limits) -> Result<Version, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            // A higher minor version is served as the highest one known (RFC 9110 section 2.5).
            if limits.permit_unconventional_http_version {
                Ok(Version::Http11)
            } else {
                Err(Refusal::Version)
            }
        }
        _ => Err(Refusal::VersionForm),
    }
}

/// The target without its fragment, which nginx passes on, but which is not part of path or query.
fn without_fragment(target: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'#', target);
    let (resource, _fragment) = target.split_at(end.unwrap_or(target.len()));
    resource
}

type Target = (Span, Span, Option<Span>);

/// The path, the query and the authority of a target that begins at offset `at` (RFC 9112 section
/// 3.2).
fn parse_target(method: &[u8], target: &[u8], at: usize) -> Result<Target, Refusal> {
    let end = at + target.len();
    if target == b"*" {
        let none = Span::new(end, end);
        return if method == b"OPTIONS" {
            Ok((Span::new(at, end), none, None))
        } else {
            Err(Refusal::Target)
        };
    }
    let (begin, authority) = if target.first() == Some(&b'/') {
        (0, None)
    } else {
        let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let scheme = scheme.ok_or(Refusal::Target)?.len();
        let (_scheme, rest) = target.split_at(scheme);
        let length = rest
            .iter()
            .position(|byte| *byte == b'/' || *byte == b'?')
            .unwrap_or(rest.len());
        let (authority, _path) = rest.split_at(length);
        if !is_host(authority) || authority.is_empty() {
            return Err(Refusal::Target);
        }
        let start = at + scheme;
        (scheme + length, Some(Span::new(start, start + length)))
    };
    let (_authority, rest) = target.split_at(begin);
    let mark = memchr::memchr(b'?', rest);
    let start = at + begin;
    let path_end = start + mark.unwrap_or(rest.len());
    let query = mark.map_or(end, |mark| start + mark + 1);
    Ok((Span::new(start, path_end), Span::new(query, end), authority))
}

/// Whether this can be a host with an optional port, without user information (RFC 9110 section
/// 7.2).
pub(super) fn is_host(host: &[u8]) -> bool {
    bytes::all(host, &bytes::HOST)
}

/// Whether nginx takes this for a host (`ngx_http_validate_host`), beyond what [`is_host`] accepts.
pub(super) fn is_relayed_host(host: &[u8]) -> bool {
    !host
        .iter()
        .any(|byte| matches!(byte, 0..=b' ' | b'/' | 0x7f))
}

/// Appends a path with its percent escapes decoded: the bytes of `PATH_INFO`. An invalid escape
/// stays as it is, as in Python's `urllib.parse.unquote`.
pub fn path_info(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let [b'%', high, low, after @ ..] = escape
            && let (Some(high), Some(low)) = (bytes::hex_value(*high), bytes::hex_value(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(b'%');
            let (_percent, after) = escape.split_at(1);
            rest = after;
        }
    }
    out.extend_from_slice(rest);
}
