//! A client that sends exactly the bytes it is given, and reads replies strictly, with code of its
//! own: the server's HTTP must convince an independent parser. Every wait ends after ten seconds.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::reply::malformed;
use super::{Broken, Reply};

/// Longest wait for bytes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// Received and not yet used.
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    /// Connects.
    pub(crate) fn connect(place: &Place) -> Self {
        Self::try_connect(place).expect("a connection to the server")
    }

    /// Connects, or returns why it cannot.
    pub(crate) fn try_connect(place: &Place) -> io::Result<Self> {
        let stream = match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                // Data that a test sends in two parts must leave in two parts.
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Stream::Unix(stream)
            }
        };
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref())
            .expect("the server takes the bytes");
    }

    /// Sends bytes, or returns why it cannot.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Gets one page, and leaves the connection open if the server does.
    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.read_reply()
    }

    /// Reads the reply to any request but HEAD. An interim reply (1xx) is a reply too.
    pub(crate) fn read_reply(&mut self) -> Reply {
        self.try_read_reply(false)
            .unwrap_or_else(|broken| panic!("no reply: {broken}"))
    }

    /// Reads the reply to a HEAD request, which has no body whatever its fields say.
    pub(crate) fn read_head(&mut self) -> Reply {
        self.try_read_reply(true)
            .unwrap_or_else(|broken| panic!("no reply: {broken}"))
    }

    /// Reads a reply. With `to_head` it has no body.
    pub(crate) fn try_read_reply(&mut self, to_head: bool) -> Result<Reply, Broken> {
        let raw_head = self.raw_head()?;
        let mut reply = Reply::parse(raw_head)?;
        self.read_body(&mut reply, to_head)?;
        Ok(reply)
    }

    /// Reads everything up to the end of the connection.
    pub(crate) fn read_to_eof(&mut self) -> Vec<u8> {
        while self.fill().expect("the connection ends well") {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits for the end of the connection; no byte may come before it.
    pub(crate) fn expect_eof(&mut self) {
        let rest = self.read_to_eof();
        assert!(
            rest.is_empty(),
            "bytes before the end: {}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Reads until this text has come, and discards everything up to its end.
    pub(crate) fn expect_text(&mut self, text: &str) {
        loop {
            if let Some(at) = find(&self.buffer, text.as_bytes()) {
                self.buffer.drain(..at + text.len());
                return;
            }
            let more = self
                .fill()
                .unwrap_or_else(|broken| panic!("no {text:?}: {broken}"));
            assert!(more, "the connection ended before {text:?}");
        }
    }

    /// Reads this many bytes and discards them.
    pub(crate) fn skip(&mut self, count: u64) {
        let mut left = usize::try_from(count).unwrap();
        while left > 0 {
            let here = self.buffer.len().min(left);
            self.buffer.drain(..here);
            left -= here;
            assert!(
                left == 0 || self.fill().unwrap(),
                "{left} bytes are missing"
            );
        }
    }

    /// Waits for a reset, and returns the bytes before it.
    pub(crate) fn expect_reset(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => panic!("the connection ended well, and should have been reset"),
                Err(Broken::Reset) => return std::mem::take(&mut self.buffer),
                Err(broken) => panic!("no reset: {broken}"),
            }
        }
    }

    /// The client's port, over TCP.
    pub(crate) fn local_port(&self) -> Option<u16> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream.local_addr().unwrap().port()),
            Stream::Unix(_) => None,
        }
    }

    /// Shuts down the sending half.
    pub(crate) fn half_close(&self) {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .unwrap();
    }

    /// Whether something (bytes, or the end) comes within this time.
    pub(crate) fn hears_within(&self, time: Duration) -> bool {
        let mut wanted = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(time).unwrap();
        !self.buffer.is_empty() || poll(&mut wanted, time).unwrap() > 0
    }

    /// Reads more; `false` at the end of the connection.
    fn fill(&mut self) -> Result<bool, Broken> {
        let mut bytes = [0; 16 * 1024];
        let result = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut bytes),
            Stream::Unix(stream) => stream.read(&mut bytes),
        };
        match result {
            Ok(0) => Ok(false),
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if is_any(&error, [ErrorKind::WouldBlock, ErrorKind::TimedOut]) => {
                Err(Broken::Silent(self.buffer.clone()))
            }
            Err(error) if is_any(&error, [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe]) => {
                Err(Broken::Reset)
            }
            Err(error) => Err(Broken::Io(error)),
        }
    }

    fn raw_head(&mut self) -> Result<Vec<u8>, Broken> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(self.buffer.drain(..end + 4).collect());
            }
            if self.buffer.len() > 256 * 1024 {
                return Err(malformed("a head without end", &self.buffer));
            }
            if !self.fill()? {
                let cut = std::mem::take(&mut self.buffer);
                return Err(if cut.is_empty() {
                    Broken::NoReply
                } else {
                    Broken::Cut(cut)
                });
            }
        }
    }

    /// Reads the body as RFC 9112 section 6.3 delimits it.
    fn read_body(&mut self, reply: &mut Reply, to_head: bool) -> Result<(), Broken> {
        let all = |name: &str| -> Vec<String> {
            let fields = reply
                .fields
                .iter()
                .filter(|(known, _)| known.eq_ignore_ascii_case(name));
            fields.map(|(_, value)| value.clone()).collect()
        };
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        let bare = matches!(reply.status, 100..=199 | 204);
        if bare && !(lengths.is_empty() && codings.is_empty()) {
            return Err(malformed(
                "framing on a reply that has no body",
                &reply.raw_head,
            ));
        }
        if to_head || bare || reply.status == 304 {
            return Ok(());
        }
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => {
                while self.fill()? {}
                reply.body = std::mem::take(&mut self.buffer);
                reply.ended_by_close = true;
            }
            ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) && !length.is_empty() => {
                let length = length
                    .parse()
                    .ok()
                    .ok_or_else(|| malformed(length, &reply.raw_head))?;
                reply.body = self.exactly(length)?;
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => {
                reply.body = self.chunks(&reply.raw_head)?;
            }
            _ => return Err(malformed("ambiguous framing", &reply.raw_head)),
        }
        Ok(())
    }

    fn chunks(&mut self, raw_head: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let is_size = !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit());
            let size = usize::from_str_radix(&line, 16).ok().filter(|_| is_size);
            let size = size.ok_or_else(|| malformed(&format!("chunk size {line:?}"), raw_head))?;
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(malformed("no CRLF behind a chunk", raw_head));
            }
        }
        // Trailers, up to the empty line.
        while !self.line()?.is_empty() {}
        Ok(body)
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        while self.buffer.len() < length {
            if !self.fill()? {
                return Err(Broken::Cut(std::mem::take(&mut self.buffer)));
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if !self.fill()? {
                return Err(Broken::Cut(std::mem::take(&mut self.buffer)));
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn is_any(error: &io::Error, kinds: [ErrorKind; 2]) -> bool {
    kinds.contains(&error.kind())
}
