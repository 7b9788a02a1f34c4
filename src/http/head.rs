//! A request's head: request line and fields, and from them how the body is framed (RFC 9112
//! sections 2–6). One pass over the bytes, no allocation. The fields of a head that is the same as
//! the one before, byte for byte, are not parsed again.

use super::bytes::{self, TOKEN, VALUE};
use super::line;
use super::{Limits, Progress, Refusal, Span, Version};

/// Which body follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// None.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name as it was sent.
    pub name: Span,
    /// Its value without whitespace at its ends. A folded one has its line ends inside.
    pub value: Span,
    /// Its name could pass for another with a hyphen.
    pub has_underscore: bool,
}

/// A head. Used again for the next request, with its buffers.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The method as it was sent.
    method: Span,
    /// The method in upper case, where it was sent in another and `casefold_http_method` is set.
    upper: Vec<u8>,
    /// The target as it was sent.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// The target's path, not decoded; `*` for `OPTIONS *`.
    pub path: Span,
    /// What follows the `?`.
    pub query: Span,
    /// The fields in order.
    pub fields: Vec<Field>,
    /// Everything after the request line, with the empty line.
    pub block: Span,
    /// Which body follows.
    pub framing: Framing,
    /// Whether the client wants the connection to go on.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The authority of an absolute target.
    pub authority: Option<Span>,
    /// The authority asked for: of an absolute target, or else Host.
    pub host: Option<Span>,
    /// Bytes of the whole head.
    pub length: usize,
    /// Changes whenever the fields are others than those of the head before.
    pub serial: u64,
    /// The head as bytes, when the next one may be compared with it; empty when not.
    whole: Vec<u8>,
    /// Where the fields begin in it.
    whole_block: usize,
    /// All that is here was read from `whole`.
    is_whole: bool,
    /// Host as a field, before an absolute target overrode it.
    field_host: Option<Span>,
}

impl Head {
    /// The method; `bytes` are those that were parsed.
    #[must_use]
    pub fn method<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        if self.upper.is_empty() {
            self.method.of(bytes)
        } else {
            &self.upper
        }
    }
}

/// Parses a head at the beginning of `bytes`. However the bytes are cut, the answer is the same.
pub fn parse_head(bytes: &[u8], limits: &Limits, head: &mut Head) -> Result<Progress<()>, Refusal> {
    if head.is_whole && bytes.starts_with(&head.whole) {
        return Ok(Progress::Done(()));
    }
    head.is_whole = false;
    // One empty line before the request line is forgiven (RFC 9112 section 2.2).
    let at = match bytes {
        [b'\r', b'\n', ..] => 2,
        [] | [b'\r'] => return Ok(Progress::More),
        _ => 0,
    };
    let rest = bytes.get(at..).unwrap_or(&[]);
    if rest.is_empty() {
        return Ok(Progress::More);
    }
    let Some(line) = next_line(rest, limits.request_line, Refusal::RequestLineTooLong)? else {
        return Ok(Progress::More);
    };
    head.upper.clear();
    let parsed = line::parse(line, at, limits, &mut head.upper)
        .map_err(|refusal| bytes::unless_cr(line, refusal))?;
    let block = at.saturating_add(line.len()).saturating_add(2);
    let after = bytes.get(block..).unwrap_or(&[]);
    let version = head.version;
    (head.method, head.target, head.path, head.query) =
        (parsed.method, parsed.target, parsed.path, parsed.query);
    head.version = parsed.version;
    // The same fields behind an absolute target are others: its authority counts more than Host.
    let same = parsed.authority.is_none() && version == parsed.version;
    let fields = head.whole.get(head.whole_block..).unwrap_or(&[]);
    let mut again = false;
    if same && !fields.is_empty() && after.starts_with(fields) {
        let length = fields.len();
        reuse(head, block, length);
        again = true;
    } else {
        match parse_fields(bytes, block, limits, head)? {
            Progress::More => return Ok(Progress::More),
            Progress::Done(()) => {}
        }
    }
    head.whole.clear();
    if again || head.framing == Framing::None && !head.expect_continue && parsed.authority.is_none()
    {
        head.whole
            .extend_from_slice(bytes.get(..head.length).unwrap_or(&[]));
        head.whole_block = block;
        head.is_whole = true;
    }
    head.authority = parsed.authority;
    head.host = parsed.authority.or(head.field_host);
    Ok(Progress::Done(()))
}

/// The fields are those of the head before, at another place.
fn reuse(head: &mut Head, block: usize, length: usize) {
    let from = head.block.start();
    if from != block {
        for field in &mut head.fields {
            field.name = field.name.moved(from, block);
            field.value = field.value.moved(from, block);
        }
        head.field_host = head.field_host.map(|host| host.moved(from, block));
    }
    let end = block.saturating_add(length);
    head.block = Span::new(block, end);
    head.length = end;
}

/// The line at the beginning, without its CR LF; `None` when its end has not come. `too_long` when
/// it is longer than the limit, or must become so.
fn next_line(bytes: &[u8], limit: usize, too_long: Refusal) -> Result<Option<&[u8]>, Refusal> {
    let end = memchr::memchr(b'\n', bytes);
    let whole = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
    // The CR of a line end that is under way does not count.
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

/// What the fields say about framing, while they are read.
#[derive(Default)]
struct Found {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    stay: bool,
    content_type: bool,
}

fn parse_fields(
    bytes: &[u8],
    block: usize,
    limits: &Limits,
    head: &mut Head,
) -> Result<Progress<()>, Refusal> {
    head.fields.clear();
    head.field_host = None;
    head.expect_continue = false;
    // Other fields than before, even if they turn out to be refused.
    head.serial = head.serial.wrapping_add(1);
    head.whole.clear();
    let mut found = Found::default();
    let mut at = block;
    loop {
        let rest = bytes.get(at..).unwrap_or(&[]);
        let limit = limits.field_size;
        let Some(line) = next_line(rest, limit, Refusal::FieldTooLong)? else {
            return Ok(Progress::More);
        };
        if line.is_empty() {
            at = at.saturating_add(2);
            break;
        }
        let mut end = at.saturating_add(line.len());
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
        heed(bytes, field, head, &mut found)?;
        at = end.saturating_add(2);
    }
    head.block = Span::new(block, at);
    head.length = at;
    conclude(head, &found, limits)?;
    Ok(Progress::Done(()))
}

/// Where a field ends whose next lines begin with a blank; `None` when that is not known yet.
fn folded_end(
    bytes: &[u8],
    mut end: usize,
    at: usize,
    limit: usize,
) -> Result<Option<usize>, Refusal> {
    loop {
        let next = end.saturating_add(2);
        let rest = bytes.get(next..).unwrap_or(&[]);
        match rest.first() {
            None => return Ok(None),
            Some(b' ' | b'\t') => {
                let Some(line) = next_line(rest, limit, Refusal::FieldTooLong)? else {
                    return Ok(None);
                };
                if line.contains(&b'\r') {
                    return Err(Refusal::LineEnd);
                }
                end = next.saturating_add(line.len());
                if end.saturating_sub(at) > limit {
                    return Err(Refusal::FieldTooLong);
                }
            }
            Some(_) => return Ok(Some(end)),
        }
    }
}

fn parse_field(bytes: &[u8], at: usize, end: usize, limits: &Limits) -> Result<Field, Refusal> {
    let line = bytes.get(at..end).unwrap_or(&[]);
    let colon = memchr::memchr(b':', line).ok_or(Refusal::FieldName)?;
    let name = line.get(..colon).unwrap_or(&[]);
    if name.is_empty() || !bytes::all(name, &TOKEN) {
        return Err(Refusal::FieldName);
    }
    let value = bytes::trimmed(line.get(colon.saturating_add(1)..).unwrap_or(&[]));
    let plain = bytes::all(value, &VALUE);
    let folded = limits.permit_obsolete_folding
        && value
            .split(|byte| *byte == b'\n')
            .all(|part| bytes::all(part.strip_suffix(b"\r").unwrap_or(part), &VALUE));
    if !plain && !folded {
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
    let start = at.saturating_add(value.as_ptr().addr().saturating_sub(line.as_ptr().addr()));
    let value = Span::new(start, start.saturating_add(value.len()));
    Ok(Field {
        name: Span::new(at, at.saturating_add(colon)),
        value,
        has_underscore,
    })
}

/// Takes notice of the fields that the server itself obeys.
fn heed(bytes: &[u8], field: Field, head: &mut Head, found: &mut Found) -> Result<(), Refusal> {
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
        // RFC 9110 section 10.1.1: an HTTP/1.0 client cannot expect anything.
        6 if head.version == Version::Http11 && name.eq_ignore_ascii_case(b"expect") => {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::Expectation);
            }
            head.expect_continue = true;
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
                // A list that ends well names codings that we do not have; anything else is
                // ambiguous.
                let last = value
                    .rsplit(|byte| *byte == b',')
                    .next()
                    .map(bytes::trimmed);
                let listed = value.contains(&b',')
                    && last.is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
                let token = !value.is_empty() && bytes::all(value, &TOKEN);
                return Err(if listed || token {
                    Refusal::UnknownCoding
                } else {
                    Refusal::Coding
                });
            }
            found.chunked = true;
        }
        _ => {}
    }
    Ok(())
}

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
