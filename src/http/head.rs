//! The head of a request: request line and header fields, and from them the framing of the body
//! (RFC 9112 sections 2 to 6). It is parsed in one pass without allocation. Fields that are byte
//! for byte those of the previous head are not parsed again.

use super::bytes::{self, CRLF, TOKEN, VALUE};
use super::line;
use super::{Limits, Progress, Refusal, Span, Version};

/// How the body of a request is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// By Content-Length, in bytes.
    Length(u64),
    /// By the chunked transfer coding.
    Chunked,
}

/// A header field (RFC 9110 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was sent.
    pub name: Span,
    /// The value without whitespace around it. A folded value contains its line ends.
    pub value: Span,
    /// The name contains an underscore, so the environ would confuse it with a name that has a
    /// hyphen.
    pub has_underscore: bool,
}

/// A parsed head. It is reused for the next request, together with its buffers.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The method as it was sent.
    method: Span,
    /// The method in upper case, if `casefold_http_method` changed it; else empty.
    upper: Vec<u8>,
    /// The request target as it was sent.
    pub target: Span,
    /// The version of HTTP.
    pub version: Version,
    /// The path of the target, not decoded; `*` for `OPTIONS *`.
    pub path: Span,
    /// The query of the target, without the `?`.
    pub query: Span,
    /// The fields, in the order in which they were sent.
    pub fields: Vec<Field>,
    /// Everything after the request line, including the empty line.
    pub block: Span,
    /// How the body is delimited.
    pub framing: Framing,
    /// The connection may persist after this request (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub expect_continue: bool,
    /// The client wants to speak WebSocket (RFC 6455 section 4.1).
    pub upgrades_to_websocket: bool,
    /// The authority of a target in absolute form.
    pub authority: Option<Span>,
    /// The authority asked for: that of the target, or else the value of Host (RFC 9112 section
    /// 3.3).
    pub host: Option<Span>,
    /// The length of the head, in bytes.
    pub length: usize,
    /// Changes whenever the fields differ from those of the previous head.
    pub serial: u64,
    /// The bytes of the head, if the next one may be compared with them; else empty.
    whole: Vec<u8>,
    /// The offset of the fields in `whole`.
    whole_block: usize,
    /// The values here are those of `whole`.
    is_whole: bool,
    /// The value of Host, which the authority of the target may override.
    field_host: Option<Span>,
}

impl Head {
    /// The method. `bytes` are those that were parsed.
    #[must_use]
    pub fn method<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        if self.upper.is_empty() {
            self.method.of(bytes)
        } else {
            &self.upper
        }
    }
}

/// Parses the head at the beginning of `bytes`, which are all bytes received so far. The result
/// does not depend on how the bytes were split.
///
/// # Errors
///
/// The request must be refused. `head` has no meaning then.
pub fn parse_head(bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<Progress<()>, Refusal> {
    if head.is_whole && bytes.starts_with(&head.whole) {
        return Ok(Progress::Done(()));
    }
    head.is_whole = false;
    // One empty line before the request line is ignored (RFC 9112 section 2.2).
    let (at, rest) = match bytes {
        [b'\r', b'\n', rest @ ..] => (CRLF, rest),
        [] | [b'\r'] => return Ok(Progress::More),
        _ => (0, bytes),
    };
    if rest.is_empty() {
        return Ok(Progress::More);
    }
    let line = next_line(rest, limits.request_line, Refusal::RequestLineTooLong)
        .map_err(|refusal| unless_binary(rest, refusal))?;
    let Some(line) = line else {
        return if is_binary(rest) {
            Err(Refusal::NotHttp)
        } else {
            Ok(Progress::More)
        };
    };
    head.upper.clear();
    let parsed = line::parse(line, at, limits, &mut head.upper)
        .map_err(|refusal| unless_binary(rest, bytes::unless_cr(line, refusal)))?;
    let block = at + line.len() + CRLF;
    let (_line, after) = bytes.split_at(block);
    let version = head.version;
    (head.method, head.target, head.path, head.query) =
        (parsed.method, parsed.target, parsed.path, parsed.query);
    head.version = parsed.version;
    // With an absolute target the same fields mean something else: its authority overrides Host.
    let same = parsed.authority.is_none() && version == parsed.version;
    let fields = head.whole.get(head.whole_block..).unwrap_or(&[]);
    let reuses = same && !fields.is_empty() && after.starts_with(fields);
    if reuses {
        let length = fields.len();
        reuse_fields(head, block, length);
    } else {
        match parse_fields(bytes, block, limits, head)? {
            Progress::More => return Ok(Progress::More),
            Progress::Done(()) => {}
        }
    }
    head.whole.clear();
    let is_plain =
        head.framing == Framing::None && !head.expect_continue && parsed.authority.is_none();
    if reuses || is_plain {
        let (whole, _behind) = bytes.split_at(head.length);
        head.whole.extend_from_slice(whole);
        head.whole_block = block;
        head.is_whole = true;
    }
    head.authority = parsed.authority;
    head.host = parsed.authority.or(head.field_host);
    Ok(Progress::Done(()))
}

/// Whether the first byte of a request cannot be in text, as in a TLS handshake. Such a request is
/// refused at once: its first line might never end.
fn is_binary(request: &[u8]) -> bool {
    let first = request.first();
    first.is_some_and(|byte| !matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
}

/// The reason to refuse a request whose first line must be refused.
fn unless_binary(request: &[u8], refusal: Refusal) -> Refusal {
    if is_binary(request) {
        Refusal::NotHttp
    } else {
        refusal
    }
}

/// Keeps the fields of the previous head, which begin at another offset now.
fn reuse_fields(head: &mut Head, block: usize, length: usize) {
    let from = head.block.start();
    if from != block {
        for field in &mut head.fields {
            field.name = field.name.moved(from, block);
            field.value = field.value.moved(from, block);
        }
        head.field_host = head.field_host.map(|host| host.moved(from, block));
    }
    let end = block + length;
    head.block = Span::new(block, end);
    head.length = end;
}

/// The first line of `bytes`, without its CR LF; `None` if its end has not arrived.
///
/// # Errors
///
/// `too_long` if the line is longer than `limit` or must become so; [`Refusal::LineEnd`] if it does
/// not end with CR LF.
fn next_line(bytes: &[u8], limit: usize, too_long: Refusal) -> Result<Option<&[u8]>, Refusal> {
    let end = memchr::memchr(b'\n', bytes);
    let (whole, _behind) = bytes.split_at(end.unwrap_or(bytes.len()));
    // A CR at the end may be the first half of the line end.
    let line = whole.strip_suffix(b"\r").unwrap_or(whole);
    if line.len() > limit {
        return Err(bytes::over_limit(line, limit, too_long));
    }
    match end {
        None if line.contains(&b'\r') => Err(Refusal::LineEnd),
        None => Ok(None),
        Some(_) if line.len() == whole.len() => Err(Refusal::LineEnd),
        Some(_) => Ok(Some(line)),
    }
}

/// What the fields say about framing and persistence, collected while they are parsed.
#[derive(Default)]
struct Found {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    stay: bool,
    content_type: bool,
}

/// Parses the fields, which begin at offset `block`, up to and including the empty line.
fn parse_fields(
    bytes: &[u8],
    block: usize,
    limits: &Limits,
    head: &mut Head,
) -> Result<Progress<()>, Refusal> {
    head.fields.clear();
    head.field_host = None;
    head.expect_continue = false;
    head.upgrades_to_websocket = false;
    // The fields differ from the previous ones, even if they are refused.
    head.serial = head.serial.wrapping_add(1);
    head.whole.clear();
    let mut found = Found::default();
    let mut at = block;
    loop {
        let (_parsed, rest) = bytes.split_at(at);
        let limit = limits.field_size.saturating_sub(CRLF);
        let Some(line) = next_line(rest, limit, Refusal::FieldTooLong)? else {
            return Ok(Progress::More);
        };
        if line.is_empty() {
            at += CRLF;
            break;
        }
        let mut end = at + line.len();
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(bytes::unless_cr(line, Refusal::Folded));
        }
        if limits.permit_obsolete_folding {
            if line.contains(&b'\r') {
                return Err(Refusal::LineEnd);
            }
            match folded_end(bytes, end, at, limit)? {
                Some(whole) => end = whole,
                None => return Ok(Progress::More),
            }
        }
        if head.fields.len() >= limits.fields {
            return Err(bytes::unless_cr(line, Refusal::TooManyFields));
        }
        let field = parse_field(bytes, at, end, limits)
            .map_err(|refusal| bytes::unless_cr(line, refusal))?;
        head.fields.push(field);
        if let Err(refusal) = apply_field(bytes, field, head, &mut found) {
            excuse(refusal, bytes, field, limits, head)?;
        }
        at = end + CRLF;
    }
    head.block = Span::new(block, at);
    head.length = at;
    conclude(head, &found, limits)?;
    Ok(Progress::Done(()))
}

/// The end of the field at offset `at`, whose first line ends at `end`: lines that begin with
/// whitespace continue it (obs-fold, RFC 9112 section 5.2). `None` if the next line has not
/// arrived.
fn folded_end(
    bytes: &[u8],
    mut end: usize,
    at: usize,
    limit: usize,
) -> Result<Option<usize>, Refusal> {
    loop {
        let next = end + CRLF;
        let (_parsed, rest) = bytes.split_at(next);
        match rest.first() {
            None => return Ok(None),
            Some(b' ' | b'\t') => {
                let Some(line) = next_line(rest, limit, Refusal::FieldTooLong)? else {
                    return Ok(None);
                };
                if line.contains(&b'\r') {
                    return Err(Refusal::LineEnd);
                }
                end = next + line.len();
                if end - at > limit {
                    return Err(Refusal::FieldTooLong);
                }
            }
            Some(_) => return Ok(Some(end)),
        }
    }
}

/// Parses the field from offset `at` up to `end`, its line end excluded.
fn parse_field(bytes: &[u8], at: usize, end: usize, limits: &Limits) -> Result<Field, Refusal> {
    let line = Span::new(at, end).of(bytes);
    let colon = memchr::memchr(b':', line).ok_or(Refusal::FieldName)?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !bytes::all(name, &TOKEN) {
        return Err(Refusal::FieldName);
    }
    let (_colon, value) = value.split_at(1);
    let value = bytes::trimmed(value);
    let plain = bytes::all(value, &VALUE);
    let folded = limits.permit_obsolete_folding
        && value
            .split(|byte| *byte == b'\n')
            .all(|part| bytes::all(part.strip_suffix(b"\r").unwrap_or(part), &VALUE));
    if !plain && !folded && !limits.is_relayed {
        return Err(Refusal::FieldValue);
    }
    let has_underscore = memchr::memchr(b'_', name).is_some();
    if has_underscore {
        if limits.refuse_underscores {
            return Err(Refusal::Underscore);
        }
        let framing: [&[u8]; 2] = [b"CONTENT_LENGTH", b"TRANSFER_ENCODING"];
        if framing
            .iter()
            .any(|known| bytes::same_cgi_name(name, known))
        {
            return Err(Refusal::FramingTwin);
        }
    }
    let start = at + (value.as_ptr().addr() - line.as_ptr().addr());
    Ok(Field {
        name: Span::new(at, at + colon),
        value: Span::new(start, start + value.len()),
        has_underscore,
    })
}

/// Applies a field that is meant for the server: framing, persistence, Host, Expect.
fn apply_field(
    bytes: &[u8],
    field: Field,
    head: &mut Head,
    found: &mut Found,
) -> Result<(), Refusal> {
    let (name, value) = (field.name.of(bytes), field.value.of(bytes));
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => {
            if head.field_host.is_some() {
                return Err(Refusal::ManyHosts);
            }
            if !line::is_host(value) {
                return Err(Refusal::Host);
            }
            head.field_host = Some(field.value);
        }
        6 if name.eq_ignore_ascii_case(b"expect") => {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::Expectation);
            }
            // In an HTTP/1.0 request it is ignored (RFC 9110 section 10.1.1).
            head.expect_continue = head.version == Version::Http11;
        }
        7 if name.eq_ignore_ascii_case(b"upgrade") => {
            let mut tokens = value.split(|byte| *byte == b',').map(bytes::trimmed);
            head.upgrades_to_websocket |=
                tokens.any(|token| token.eq_ignore_ascii_case(b"websocket"));
        }
        10 if name.eq_ignore_ascii_case(b"connection") => {
            for token in value.split(|byte| *byte == b',').map(bytes::trimmed) {
                found.close |= token.eq_ignore_ascii_case(b"close");
                found.stay |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        12 if name.eq_ignore_ascii_case(b"content-type") => {
            if found.content_type {
                return Err(Refusal::Twice("Content-Type"));
            }
            found.content_type = true;
        }
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            let length = bytes::decimal(value).ok_or(Refusal::Length)?;
            if found.length.replace(length).is_some() {
                return Err(Refusal::Twice("Content-Length"));
            }
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            if found.chunked {
                return Err(Refusal::Twice("Transfer-Encoding"));
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(refuse_coding(value));
            }
            found.chunked = true;
        }
        _ => {}
    }
    Ok(())
}

/// Why a value of Transfer-Encoding other than `chunked` is refused. A list that ends with
/// `chunked` is well-formed, but the other codings are not supported. Anything else is ambiguous
/// (RFC 9112 section 6.3).
#[cold]
fn refuse_coding(value: &[u8]) -> Refusal {
    let last = value
        .rsplit(|byte| *byte == b',')
        .next()
        .map(bytes::trimmed);
    let listed =
        value.contains(&b',') && last.is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let token = !value.is_empty() && bytes::all(value, &TOKEN);
    if listed || token {
        Refusal::UnknownCoding
    } else {
        Refusal::Coding
    }
}

/// Accepts a field that [`apply_field`] refuses, if a proxy has let it through.
fn excuse(
    refusal: Refusal,
    bytes: &[u8],
    field: Field,
    limits: &Limits,
    head: &mut Head,
) -> Result<(), Refusal> {
    let is_host = refusal == Refusal::Host && line::is_relayed_host(field.value.of(bytes));
    if is_host && limits.is_relayed {
        head.field_host = Some(field.value);
        return Ok(());
    }
    // What a client expects is up to the proxy.
    if refusal == Refusal::Expectation && limits.is_relayed {
        return Ok(());
    }
    Err(refusal)
}

/// Decides about framing and persistence when all fields are known (RFC 9112 sections 6.3 and 9.3).
fn conclude(head: &mut Head, found: &Found, limits: &Limits) -> Result<(), Refusal> {
    head.framing = match (found.chunked, found.length) {
        (true, Some(_)) => return Err(Refusal::LengthAndCoding),
        (true, None) if head.version == Version::Http10 => return Err(Refusal::CodingInHttp10),
        (true, None) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::None,
    };
    if head.field_host.is_none() && head.version == Version::Http11 && limits.require_host {
        return Err(Refusal::NoHost);
    }
    head.keep_alive = !found.close && (head.version == Version::Http11 || found.stay);
    Ok(())
}
