//! A connection as the parsers alone read it, for tests and fuzzing: bytes in, requests out, in the
//! order in which `worker` calls the parsers.

use super::{
    ChunkedDecoder, Framing, Head, Limits, Packet, Preface, Progress, ProxyVersions, Refusal,
    Version, parse_head, parse_packet, parse_preface,
};

/// The settings of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// The limits of heads.
    pub(super) limits: Limits,
    /// The PROXY headers that are looked for.
    pub(super) proxy: ProxyVersions,
    /// The peer must not send a PROXY header.
    pub(super) proxy_refused: bool,
    /// The protocol is uwsgi.
    pub(super) uwsgi: bool,
}

/// A complete request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Method, target and version.
    pub(super) line: Vec<u8>,
    /// The names and values of the fields.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The authority of the target.
    pub(super) authority: Option<Vec<u8>>,
    /// The client waits for `100 Continue`.
    pub(super) expects: bool,
    /// How the body was delimited.
    pub(super) framing: Framing,
    /// The body.
    pub(super) body: Vec<u8>,
    /// The request was the last one of the connection.
    pub(super) last: bool,
}

#[derive(Clone, Debug)]
enum State {
    Preface,
    Head,
    Length(u64),
    Chunked(ChunkedDecoder),
    Closed,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Reader {
    rules: Rules,
    state: State,
    buffer: Vec<u8>,
    head: Head,
    pending: Heard,
    /// The PROXY header.
    pub(super) preface: Preface,
    /// The complete requests.
    pub(super) heard: Vec<Heard>,
    /// Why reading ended, if a request was refused.
    pub(super) refusal: Option<Refusal>,
}

impl Reader {
    /// A new connection.
    #[must_use]
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Preface,
            buffer: Vec::new(),
            head: Head::default(),
            pending: Heard::default(),
            preface: Preface::default(),
            heard: Vec::new(),
            refusal: None,
        }
    }

    /// Reads a connection on which these pieces arrive.
    #[must_use]
    pub(super) fn read(rules: &Rules, pieces: &[&[u8]]) -> Self {
        let mut reader = Self::new(rules.clone());
        for piece in pieces {
            reader.feed(piece);
        }
        reader
    }

    /// Reads more bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        while self.refusal.is_none() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(refusal) => self.refusal = Some(refusal),
            }
        }
    }

    /// Whether the connection is closed after its last request.
    #[must_use]
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether a request has begun and is not complete.
    #[must_use]
    pub(super) fn wants_more(&self) -> bool {
        !self.is_closed() && (!self.buffer.is_empty() || !self.is_between())
    }

    /// Whether this connection was read as the other one.
    #[must_use]
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.preface == other.preface
            && self.heard == other.heard
            && self.refusal == other.refusal
            && (self.refusal.is_some() || self.wants_more() == other.wants_more())
    }

    fn is_between(&self) -> bool {
        matches!(self.state, State::Preface | State::Head)
    }

    fn used(&mut self, count: usize) {
        self.buffer.drain(..count.min(self.buffer.len()));
    }

    /// Reads one part; `false` if that needs more bytes.
    fn step(&mut self) -> Result<bool, Refusal> {
        match &mut self.state {
            State::Preface => {
                let allowed = !self.rules.proxy_refused;
                match parse_preface(&self.buffer, self.rules.proxy, allowed)? {
                    Progress::More => return Ok(false),
                    Progress::Done(preface) => self.preface = preface,
                }
                self.used(self.preface.length);
                self.state = State::Head;
            }
            State::Head if self.buffer.is_empty() => return Ok(false),
            State::Head => return self.begin(),
            State::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX);
                let take = here.min(self.buffer.len());
                *left -= u64::try_from(take).unwrap_or(u64::MAX);
                let (done, piece) = (*left == 0, self.buffer.drain(..take));
                self.pending.body.extend(piece);
                if !done {
                    return Ok(false);
                }
                self.complete();
            }
            State::Chunked(decoder) => {
                let chunk = decoder.decode(&self.buffer)?;
                self.pending.body.extend_from_slice(chunk.data);
                let (used, done) = (chunk.consumed, chunk.done);
                self.used(used);
                if done {
                    self.complete();
                } else if used == 0 || self.buffer.is_empty() {
                    return Ok(false);
                }
            }
            State::Closed => {
                self.buffer.clear();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads a head or a packet.
    fn begin(&mut self) -> Result<bool, Refusal> {
        let mut packet = Packet::default();
        let (limits, head) = (&self.rules.limits, &mut self.head);
        let (progress, text, length) = if self.rules.uwsgi {
            let progress = parse_packet(&self.buffer, limits, &mut packet, head)?;
            (progress, &packet.text, packet.length)
        } else {
            let progress = parse_head(&self.buffer, limits, head)?;
            (progress, &self.buffer, head.length)
        };
        if progress == Progress::More {
            return Ok(false);
        }
        let version = match head.version {
            _ if self.rules.uwsgi => text
                .split(|byte| *byte == b'\r')
                .next()
                .and_then(|line| line.rsplit(|byte| *byte == b' ').next())
                .unwrap_or(&[]),
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        };
        let own = |span: super::Span| span.of(text).to_vec();
        let fields = head.fields.iter();
        self.pending = Heard {
            line: [head.method(text), head.target.of(text), version].join(&b' '),
            fields: fields
                .map(|field| (own(field.name), own(field.value)))
                .collect(),
            authority: head.authority.map(own),
            expects: head.expect_continue,
            framing: head.framing,
            body: Vec::new(),
            last: !head.keep_alive,
        };
        self.state = match head.framing {
            Framing::None => State::Length(0),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(ChunkedDecoder::new(limits)),
        };
        self.used(length);
        Ok(true)
    }

    fn complete(&mut self) {
        let heard = std::mem::take(&mut self.pending);
        self.state = if heard.last {
            State::Closed
        } else {
            State::Head
        };
        self.heard.push(heard);
    }
}
