//! The chunked coding (RFC 9112 section 7.1), decoded where it lies: data is given as slices of the
//! input. Trailers are held to the rules of fields and dropped.

use super::bytes::{self, TOKEN, VALUE};
use super::{Limits, Refusal};

/// Longest line of a chunk's size with its extension, in bytes.
const LINE: usize = 1024;

/// Where the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the line of a chunk's size.
    Size,
    /// So many bytes of data are to come.
    Data(u64),
    /// The line end after the data.
    DataEnd,
    /// In a trailer line.
    Trailer,
    /// All has come.
    Done,
}

/// What one call of the decoder gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Bytes of the input that are used up.
    pub consumed: usize,
    /// Data among them.
    pub data: &'a [u8],
    /// The body is complete.
    pub done: bool,
}

/// Decodes one body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// The line so far.
    line: Vec<u8>,
    trailers: usize,
    fields: usize,
    field_size: usize,
}

impl ChunkedDecoder {
    /// A decoder for the body of a request that kept to these limits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let (fields, field_size) = (limits.fields, limits.field_size);
        Self {
            state: State::Size,
            line: Vec::new(),
            trailers: 0,
            fields,
            field_size,
        }
    }

    /// Decodes some of the input: up to and with the next data, or as far as it goes.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Chunk<'a>, Refusal> {
        let mut at = 0_usize;
        loop {
            let rest = input.get(at..).unwrap_or(&[]);
            match self.state {
                State::Done => {
                    return Ok(Chunk {
                        consumed: at,
                        data: &[],
                        done: true,
                    });
                }
                State::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    let data = rest.get(..take).unwrap_or(rest);
                    return Ok(Chunk {
                        consumed: at.saturating_add(take),
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
                    at = at.saturating_add(used);
                    self.line_is_complete()?;
                }
            }
        }
    }

    /// Adds to the line up to its end; gives how much of the input it took, or `None` when all of
    /// it did and the end has not come.
    fn take_line(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let (limit, too_long) = match self.state {
            State::DataEnd => (0, Refusal::ChunkEnd),
            State::Trailer => (self.field_size, Refusal::FieldTooLong),
            State::Size | State::Data(_) | State::Done => (LINE, Refusal::ChunkExtension),
        };
        let end = memchr::memchr(b'\n', input);
        let part = input.get(..end.unwrap_or(input.len())).unwrap_or(input);
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
        Ok(Some(end.saturating_add(1)))
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
                self.trailers = self.trailers.saturating_add(1);
                if self.trailers > self.fields {
                    return Err(Refusal::TooManyFields);
                }
                check_trailer(&line)?;
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

/// Looks for the end of a request with a chunked body that comes piece by piece, without keeping
/// its data.
#[derive(Clone, Debug)]
pub struct ChunkScan {
    decoder: ChunkedDecoder,
    at: usize,
    refused: Option<Refusal>,
}

impl ChunkScan {
    /// For a request that kept to these limits, and whose head has so many bytes.
    #[must_use]
    pub fn new(limits: &Limits, head: usize) -> Self {
        Self {
            decoder: ChunkedDecoder::new(limits),
            at: head,
            refused: None,
        }
    }

    /// Looks at what is new in `request`, which has all that has come; whether that is the whole
    /// body.
    pub fn ends(&mut self, request: &[u8]) -> Result<bool, Refusal> {
        loop {
            if let Some(refusal) = self.refused {
                return Err(refusal);
            }
            let chunk = self.decoder.decode(request.get(self.at..).unwrap_or(&[]));
            let chunk = chunk.inspect_err(|refusal| self.refused = Some(*refusal))?;
            self.at = self.at.saturating_add(chunk.consumed);
            if chunk.done {
                return Ok(true);
            }
            if self.at >= request.len() {
                return Ok(false);
            }
        }
    }
}

/// Hexadecimal digits, then nothing or an extension after `;` (RFC 9112 section 7.1.1).
fn parse_size(line: &[u8]) -> Result<u64, Refusal> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (size, extension) = line.split_at_checked(digits).unwrap_or((line, &[]));
    if size.is_empty() || size.len() > 16 {
        return Err(Refusal::ChunkSize);
    }
    let extension = bytes::trimmed(extension);
    if !extension.is_empty() && extension.first() != Some(&b';') {
        return Err(Refusal::ChunkSize);
    }
    if !bytes::all(extension, &VALUE) {
        return Err(Refusal::ChunkExtension);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(u64::from);
    size.iter()
        .try_fold(0_u64, |number, byte| {
            number.checked_mul(16)?.checked_add(digit(byte)?)
        })
        .ok_or(Refusal::ChunkSize)
}

fn check_trailer(line: &[u8]) -> Result<(), Refusal> {
    let colon = memchr::memchr(b':', line).ok_or(Refusal::FieldName)?;
    let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
    if name.is_empty() || !bytes::all(name, &TOKEN) {
        return Err(Refusal::FieldName);
    }
    if bytes::all(value, &VALUE) {
        Ok(())
    } else {
        Err(Refusal::FieldValue)
    }
}
