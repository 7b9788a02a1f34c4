//! A worker of these tests: a server on a unix socket, good or bad as the test wants it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use tempfile::TempDir;

use super::DEADLINE;

/// A connection from the front, as the worker has it.
pub(crate) struct Connection {
    /// The connections are counted from 0 on.
    pub(crate) number: usize,
    pub(crate) reader: BufReader<UnixStream>,
    seen: Sender<Seen>,
}

/// A request as the worker got it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A socket that is listened on, until it is dropped.
pub(crate) struct Worker {
    _folder: TempDir,
    path: PathBuf,
    seen: Receiver<Seen>,
}

impl Worker {
    /// Answers each request with what `reply` makes of it. A reply with `Connection: close` is the
    /// last of its connection, and so is an empty one.
    pub(crate) fn new(reply: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::raw(move |connection| {
            while let Some(request) = connection.request() {
                let bytes = reply(&request);
                connection.send(&bytes);
                connection.tell(request);
                let closes = String::from_utf8_lossy(&bytes).contains("Connection: close");
                if bytes.is_empty() || closes {
                    return;
                }
            }
        })
    }

    /// Does with each connection what `serve` does, in a thread of its own.
    pub(crate) fn raw(serve: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner");
        let listener = UnixListener::bind(&path).unwrap();
        let (seen_here, seen) = channel();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let reader = BufReader::new(stream);
                let (seen, serve) = (seen_here.clone(), Arc::clone(&serve));
                std::thread::spawn(move || {
                    serve(&mut Connection {
                        number,
                        reader,
                        seen,
                    });
                });
            }
        });
        Self {
            _folder: folder,
            path,
            seen,
        }
    }

    /// A socket on which the test itself listens.
    pub(crate) fn at(folder: TempDir, path: PathBuf) -> Self {
        let (_nobody, seen) = channel();
        Self {
            _folder: folder,
            path,
            seen,
        }
    }

    /// The next request that was answered.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.recv_timeout(DEADLINE).expect("no request")
    }

    /// Whether no request was answered that was not asked for with [`Self::seen`].
    pub(crate) fn has_seen_all(&self) -> bool {
        self.seen.try_recv().is_err()
    }

    /// Lets a user connect.
    pub(crate) fn give_to(&self, uid: u32) {
        std::os::unix::fs::chown(&self.path, Some(uid), None).unwrap();
        let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&self.path, only_owner).unwrap();
    }

    /// What the arbiter gives to the front.
    pub(crate) fn inode(&self) -> OwnedFd {
        open(&self.path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
    }
}

impl Connection {
    /// Reads a head; `None` at the end.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.reader.read_line(&mut head);
            if matches!(read, Ok(0) | Err(_)) {
                return None;
            }
        }
        Some(head)
    }

    /// Reads a request with its body; `None` at the end.
    pub(crate) fn request(&mut self) -> Option<Seen> {
        let head = self.head()?;
        if field(&head, "expect").is_some() {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let mut body = Vec::new();
        if let Some(length) = field(&head, "content-length") {
            body = vec![0; length.parse().unwrap()];
            self.reader.read_exact(&mut body).ok()?;
        } else if field(&head, "transfer-encoding").is_some() {
            self.chunks(&mut body)?;
        }
        Some(Seen {
            connection: self.number,
            head,
            body,
        })
    }

    /// Reads chunks to the last.
    fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).ok()?;
            let size = u64::from_str_radix(line.trim_end(), 16).ok()?;
            self.reader.by_ref().take(size).read_to_end(body).ok()?;
            let mut end = [0; 2];
            self.reader.read_exact(&mut end).ok()?;
            assert_eq!(&end, b"\r\n");
            if size == 0 {
                return Some(());
            }
        }
    }

    /// Sends bytes; the front may be gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).ok();
    }

    /// Shows a request to the test.
    pub(crate) fn tell(&self, request: Seen) {
        self.seen.send(request).ok();
    }
}

/// The value of a field.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let (_name, value) = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

/// A reply with a body and its length.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A worker that says what it was asked: method and target, and the body's length.
pub(crate) fn echo() -> Worker {
    Worker::new(|request| {
        let line = request.head.lines().next().unwrap();
        ok(format!("{line} {}", request.body.len()).as_bytes())
    })
}
