//! A reply as the tests' client reads it, and the ways in which there can be none. Parsing is
//! strict and shares nothing with the server's own code.

use std::fmt;
use std::io;

/// Why no reply could be read.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection ended before the first byte of a reply.
    NoReply,
    /// The connection ended within the reply.
    Cut(Vec<u8>),
    /// It was reset.
    Reset,
    /// Nothing came for ten seconds; holds the bytes before that.
    Silent(Vec<u8>),
    /// The reply is malformed: why, and the bytes.
    Malformed(String, Vec<u8>),
    /// Anything else.
    Io(io::Error),
}

/// A reply.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) raw_head: Vec<u8>,
    /// The end of the connection delimited the body.
    pub(crate) ended_by_close: bool,
}

impl Reply {
    /// A reply from its head, up to and with the empty line; the body is still to come.
    pub(super) fn parse(raw_head: Vec<u8>) -> Result<Self, Broken> {
        let (status_line, lines) = split_head(&raw_head)?;
        let (version, status, reason) = parse_status_line(&status_line, &raw_head)?;
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .filter(|(name, _)| !name.is_empty() && name.bytes().all(is_token))
                .ok_or_else(|| malformed("a bad field line", &raw_head))?;
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self {
            version,
            status,
            reason,
            fields,
            body: Vec::new(),
            raw_head,
            ended_by_close: false,
        })
    }

    /// The value of a field that may occur once at most.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self
            .fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = values.next();
        assert!(
            values.next().is_none(),
            "{name} is there twice: {:?}",
            self.fields
        );
        first.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the server will close the connection after it (RFC 9112 section 9.3).
    pub(crate) fn closes(&self) -> bool {
        let option = self
            .field("connection")
            .unwrap_or_default()
            .to_ascii_lowercase();
        self.ended_by_close
            || option == "close"
            || (self.version == "HTTP/1.0" && option != "keep-alive")
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReply => f.write_str("closed without a reply"),
            Self::Cut(bytes) => write!(f, "closed within the reply, after {:?}", lossy(bytes)),
            Self::Reset => f.write_str("reset"),
            Self::Silent(bytes) => write!(f, "nothing for ten seconds, after {:?}", lossy(bytes)),
            Self::Malformed(why, bytes) => write!(f, "malformed: {why}, in {:?}", lossy(bytes)),
            Self::Io(error) => write!(f, "cannot read: {error}"),
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The status line and the field lines; a bare CR or LF is malformed. Bytes are latin-1.
fn split_head(raw: &[u8]) -> Result<(String, Vec<String>), Broken> {
    let text: String = raw.iter().map(|byte| char::from(*byte)).collect();
    let head = text.strip_suffix("\r\n\r\n").unwrap_or(&text);
    let mut lines = head.split("\r\n").map(str::to_owned);
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Err(malformed("a bare CR, LF or NUL in the head", raw));
    }
    Ok((lines.next().unwrap_or_default(), lines.collect()))
}

fn parse_status_line(line: &str, raw: &[u8]) -> Result<(String, u16, String), Broken> {
    let parts: Vec<&str> = line.splitn(3, ' ').collect();
    match parts[..] {
        [version @ ("HTTP/1.1" | "HTTP/1.0"), status, reason]
            if status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Ok((
                version.to_owned(),
                status.parse().unwrap(),
                reason.to_owned(),
            ))
        }
        _ => Err(malformed("a bad status line", raw)),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(super) fn malformed(why: &str, raw: &[u8]) -> Broken {
    Broken::Malformed(why.to_owned(), raw.to_vec())
}

/// Whether the reply has this line. `/types` of `cases.py` lists the environ, one key a line.
pub(crate) fn has_line(reply: &Reply, line: &str) -> bool {
    reply.text().lines().any(|shown| shown == line)
}

/// Asserts that the reply has all of these lines.
pub(crate) fn expect_lines(reply: &Reply, lines: &[&str]) {
    for line in lines {
        assert!(has_line(reply, line), "{line} in\n{}", reply.text());
    }
}
