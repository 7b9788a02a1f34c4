//! The request line (RFC 9112 section 3), and paths.

use super::bytes::{self, METHOD, TARGET, TOKEN};
use super::{Limits, Refusal, Span, Version};

/// The parts of a request line, as places in the whole buffer.
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

/// Parses a line without its end; `at`: where it begins in the buffer. `upper` takes the method in
/// upper case where it is to be used instead.
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
    let method = line.get(..first).unwrap_or(&[]);
    let target_start = first.saturating_add(1);
    let target = line.get(target_start..last).unwrap_or(&[]);
    let version = line.get(last.saturating_add(1)..).unwrap_or(&[]);
    if limits.casefold_http_method && method.iter().any(u8::is_ascii_lowercase) {
        *upper = method.to_ascii_uppercase();
    }
    let method = if upper.is_empty() { method } else { upper };
    check_method(method, limits)?;
    if target.is_empty() || !bytes::all(target, &TARGET) {
        // A space in the middle is one separator too many.
        return Err(if target.contains(&b' ') {
            Refusal::RequestLine
        } else {
            Refusal::Target
        });
    }
    let version = parse_version(version, limits)?;
    let start = at.saturating_add(target_start);
    let (path, query, authority) = parse_target(method, target, start)?;
    Ok(Line {
        method: Span::new(at, at.saturating_add(first)),
        target: Span::new(start, at.saturating_add(last)),
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
            // RFC 9110 section 2.5: a minor version above ours is served as ours.
            if limits.permit_unconventional_http_version {
                Ok(Version::Http11)
            } else {
                Err(Refusal::Version)
            }
        }
        _ => Err(Refusal::VersionForm),
    }
}

type Target = (Span, Span, Option<Span>);

/// Path, query and authority of a target (RFC 9112 section 3.2).
fn parse_target(method: &[u8], target: &[u8], at: usize) -> Result<Target, Refusal> {
    let end = at.saturating_add(target.len());
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
        let rest = target.get(scheme..).unwrap_or(&[]);
        let length = rest
            .iter()
            .position(|byte| *byte == b'/' || *byte == b'?')
            .unwrap_or(rest.len());
        let authority = rest.get(..length).unwrap_or(&[]);
        if !is_host(authority) || authority.is_empty() {
            return Err(Refusal::Target);
        }
        let start = at.saturating_add(scheme);
        (
            scheme.saturating_add(length),
            Some(Span::new(start, start.saturating_add(length))),
        )
    };
    let rest = target.get(begin..).unwrap_or(&[]);
    let mark = memchr::memchr(b'?', rest);
    let start = at.saturating_add(begin);
    let path_end = start.saturating_add(mark.unwrap_or(rest.len()));
    let query = mark.map_or(end, |mark| start.saturating_add(mark).saturating_add(1));
    Ok((Span::new(start, path_end), Span::new(query, end), authority))
}

/// Whether this can be a host with an optional port (no user information).
pub(super) fn is_host(host: &[u8]) -> bool {
    bytes::all(host, &bytes::HOST)
}

/// Decodes a path's percent escapes into the bytes of `PATH_INFO`. What is no escape stays as it
/// is, as in Python's `urllib.parse.unquote`.
pub fn path_info(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let digit = |place: usize| {
            escape
                .get(place)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        if let (Some(high), Some(low)) = (digit(1), digit(2)) {
            let byte = high.saturating_mul(16).saturating_add(low);
            out.push(u8::try_from(byte).unwrap_or(b'%'));
            rest = escape.get(3..).unwrap_or(&[]);
        } else {
            out.push(b'%');
            rest = escape.get(1..).unwrap_or(&[]);
        }
    }
    out.extend_from_slice(rest);
}
