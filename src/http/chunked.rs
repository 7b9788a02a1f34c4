//! The chunked transfer coding (RFC 9112 section 7.1). Data is returned as slices of the input,
//! without a copy. Extensions and trailer fields are checked and dropped.

use super::bytes::{self, CRLF, TOKEN, VALUE};
use super::{Limits, Refusal};

/// Maximum length of a line with the size and extensions of a chunk, in bytes without its line end
/// (RFC 9112 section 7.1.1 asks for a limit).
const MAX_SIZE_LINE_BYTES: usize = 1024;

/// The part of the body that the decoder is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The line with the size of a chunk.
    Size,
    /// The data of a chunk, of which this many bytes are missing.
    Data(u64),
    /// The line end after the data of a chunk.
    DataEnd,
    /// A line of the trailer section.
    Trailer,
    /// The body is complete.
    Done,
}

/// The result of one call of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The number of bytes of the input that were consumed.
    pub consumed: usize,
    /// The data among them.
    pub data: &'a [u8],
    /// The body is complete.
    pub done: bool,
}

/// Decodes one body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// The part of a line that has arrived.
    line: Vec<u8>,
    /// The number of trailer fields so far.
    trailers: usize,
    /// [`Limits::fields`]
    fields: usize,
    /// [`Limits::field_size`]
    field_size: usize,
    /// [`Limits::refuse_underscores`]
    refuse_underscores: bool,
}

impl ChunkedDecoder {
    /// A decoder for the body of one request. The limits of header fields apply to trailer fields.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            state: State::Size,
            line: Vec::new(),
            trailers: 0,
            fields: limits.fields,
            field_size: limits.field_size,
            refuse_underscores: limits.refuse_underscores,
        }
    }

    /// Decodes the input up to and including the next data, or to its end.
    ///
    /// # Errors
    ///
    /// The body is malformed. Nothing after it can be trusted.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Chunk<'a>, Refusal> {
        let mut at = 0_usize;
        loop {
            let (_consumed, rest) = input.split_at(at);
            match self.state {
                State::Done => {
                    return Ok(Chunk {
                        consumed: at,
                        data: &[],
                        done: true,
                    });
                }
                State::Data(left) => {
                    let (data, left) = take_data(rest, left);
                    self.state = match left {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(Chunk {
                        consumed: at + data.len(),
                        data,
                        done: false,
                    });
                }
                State::Size | State::DataEnd | State::Trailer => {
                    let Some(used) = self.take_line(rest)? else {
                        return Ok(Chunk {
                            consumed: input.len(),
                            data: &[],
                            done: false,
                        });
                    };
                    at += used;
                    self.line_is_complete()?;
                }
            }
        }
    }

    /// Appends the input to the line, up to the line end, and returns the number of bytes taken;
    /// `None` if the line end has not arrived.
    fn take_line(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let (limit, too_long) = match self.state {
            State::DataEnd => (0, Refusal::ChunkEnd),
            State::Trailer => (self.field_size.saturating_sub(CRLF), Refusal::FieldTooLong),
            State::Size | State::Data(_) | State::Done => {
                (MAX_SIZE_LINE_BYTES, Refusal::ChunkExtension)
            }
        };
        let end = memchr::memchr(b'\n', input);
        let (part, _behind) = input.split_at(end.unwrap_or(input.len()));
        self.line.extend_from_slice(part);
        let text = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if text.len() > limit {
            return Err(bytes::over_limit(text, limit, too_long));
        }
        if text.contains(&b'\r') {
            return Err(Refusal::LineEnd);
        }
        let Some(end) = end else { return Ok(None) };
        if self.line.pop() != Some(b'\r') {
            return Err(if self.state == State::DataEnd {
                Refusal::ChunkEnd
            } else {
                Refusal::LineEnd
            });
        }
        Ok(Some(end + 1))
    }

    fn line_is_complete(&mut self) -> Result<(), Refusal> {
        let line = core::mem::take(&mut self.line);
        self.state = match self.state {
            State::Size => match parse_size(&line)? {
                0 => State::Trailer,
                size => State::Data(size),
            },
            State::DataEnd => State::Size,
            State::Trailer if line.is_empty() => State::Done,
            State::Trailer => {
                self.trailers += 1;
                if self.trailers > self.fields {
                    return Err(Refusal::TooManyFields);
                }
                check_trailer(&line, self.refuse_underscores)?;
                State::Trailer
            }
            State::Data(_) | State::Done => self.state,
        };
        // Keeps the allocation for the next line.
        self.line = line;
        self.line.clear();
        Ok(())
    }
}

/// Finds the end of a request with a chunked body that arrives in pieces, without keeping its data.
#[derive(Clone, Debug)]
pub struct ChunkScan {
    decoder: ChunkedDecoder,
    /// How many bytes the head has on the wire.
    head: usize,
    /// How many of the body were scanned.
    at: usize,
    refused: Option<Refusal>,
}

impl ChunkScan {
    /// A scan of a request whose head has `head` bytes on the wire.
    #[must_use]
    pub fn new(limits: &Limits, head: usize) -> Self {
        Self {
            decoder: ChunkedDecoder::new(limits),
            head,
            at: 0,
            refused: None,
        }
    }

    /// Scans what is new in `request`, which is everything received so far, with the head. Returns
    /// whether the body is complete.
    ///
    /// # Errors
    ///
    /// The body is malformed; every further call says so, too.
    pub fn ends(&mut self, request: &[u8]) -> Result<bool, Refusal> {
        self.body_ends(request.get(self.head..).unwrap_or_default())
    }

    /// The same for everything received so far behind the head.
    ///
    /// # Errors
    ///
    /// As for [`Self::ends`].
    pub fn body_ends(&mut self, body: &[u8]) -> Result<bool, Refusal> {
        loop {
            if let Some(refusal) = self.refused {
                return Err(refusal);
            }
            let rest = body.get(self.at..).unwrap_or_default();
            let chunk = self.decoder.decode(rest);
            let chunk = chunk.inspect_err(|refusal| self.refused = Some(*refusal))?;
            self.at += chunk.consumed;
            if chunk.done {
                return Ok(true);
            }
            if self.at >= body.len() {
                return Ok(false);
            }
        }
    }
}

/// Splits the data from the front of the input when `left` bytes of it are missing; returns how
/// many are missing then.
fn take_data(input: &[u8], left: u64) -> (&[u8], u64) {
    match usize::try_from(left) {
        Ok(length) if length <= input.len() => (input.split_at(length).0, 0),
        Ok(_) | Err(_) => (input, left - u64::try_from(input.len()).unwrap_or(0)),
    }
}

/// Parses a line with the size of a chunk: hexadecimal digits, then extensions. Whitespace is
/// allowed only around what separates the parts of extensions, not after a size without one (RFC
/// 9112 section 7.1.1).
fn parse_size(line: &[u8]) -> Result<u64, Refusal> {
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let digits = line.iter().position(|byte| !is_digit(byte));
    let (size, extensions) = line.split_at(digits.unwrap_or(line.len()));
    if size.is_empty() || size.len() > 16 {
        return Err(Refusal::ChunkSize);
    }
    if !extensions.is_empty() {
        if without_blanks(extensions).first() != Some(&b';') {
            return Err(Refusal::ChunkSize);
        }
        check_extensions(extensions).ok_or(Refusal::ChunkExtension)?;
    }
    // Sixteen digits fit.
    let digit = |byte: &u8| bytes::hex_value(*byte).map_or(0, u64::from);
    Ok(size
        .iter()
        .fold(0, |number, byte| number << 4 | digit(byte)))
}

/// Checks chunk extensions: `; name` or `; name = value`, again and again, where a value is a token
/// or a quoted string (RFC 9112 section 7.1.1).
fn check_extensions(mut rest: &[u8]) -> Option<()> {
    while !rest.is_empty() {
        rest = without_blanks(rest).strip_prefix(b";")?;
        rest = after_token(without_blanks(rest))?;
        if let Some(value) = without_blanks(rest).strip_prefix(b"=") {
            let value = without_blanks(value);
            rest = match value.strip_prefix(b"\"") {
                Some(quoted) => after_quoted(quoted)?,
                None => after_token(value)?,
            };
        }
    }
    Some(())
}

/// The bytes without the SP and HTAB before them: BWS (RFC 9110 section 5.6.3).
fn without_blanks(bytes: &[u8]) -> &[u8] {
    let first = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    let (_blanks, rest) = bytes.split_at(first.unwrap_or(bytes.len()));
    rest
}

/// What follows a token (RFC 9110 section 5.6.2); `None` if there is none.
fn after_token(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|byte| !bytes::is_in(*byte, &TOKEN));
    let (token, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    (!token.is_empty()).then_some(rest)
}

/// What follows a quoted string (RFC 9110 section 5.6.4), whose first quote has been read; `None`
/// if it does not end, or contains control characters.
fn after_quoted(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (byte, rest) = bytes.split_first()?;
        bytes = match byte {
            b'"' => return Some(rest),
            b'\\' => {
                let (escaped, rest) = rest.split_first()?;
                bytes::is_in(*escaped, &VALUE).then_some(rest)?
            }
            byte => bytes::is_in(*byte, &VALUE).then_some(rest)?,
        };
    }
}

/// Trailer fields that are refused: those about framing, the connection, routing and authentication
/// (RFC 9110 section 6.5.1). A proxy that merges them into the head would read another request.
const FORBIDDEN_TRAILERS: [&[u8]; 11] = [
    b"AUTHORIZATION",
    b"CONNECTION",
    b"CONTENT_LENGTH",
    b"EXPECT",
    b"HOST",
    b"PROXY_AUTHORIZATION",
    b"PROXY_CONNECTION",
    b"TE",
    b"TRAILER",
    b"TRANSFER_ENCODING",
    b"UPGRADE",
];

fn check_trailer(line: &[u8], refuse_underscores: bool) -> Result<(), Refusal> {
    let colon = memchr::memchr(b':', line).ok_or(Refusal::FieldName)?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !bytes::all(name, &TOKEN) {
        return Err(Refusal::FieldName);
    }
    let is_forbidden = |known: &&[u8]| bytes::same_cgi_name(name, known);
    if FORBIDDEN_TRAILERS.iter().any(is_forbidden) {
        return Err(Refusal::TrailerField);
    }
    if refuse_underscores && name.contains(&b'_') {
        return Err(Refusal::Underscore);
    }
    if !bytes::all(value, &VALUE) {
        return Err(Refusal::FieldValue);
    }
    Ok(())
}
