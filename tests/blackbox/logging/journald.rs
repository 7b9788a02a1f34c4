//! Standard error is journald's: records go there with fields, in its own protocol.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{IoSliceMut, Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixDatagram;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use tempfile::TempDir;

use crate::support::{Builder, Need, Server, lacks, own, program, wait_until};

/// Gives the program a mount namespace in which journald's folder is another, and says as systemd
/// does that standard error is the journal.
const AS_SERVICE: &str = "
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind \"$1\" /run/systemd/journal || exit 9
shift
JOURNAL_STREAM=${STREAM-$(stat -L -c %d:%i /proc/self/fd/2)}
export JOURNAL_STREAM
exec \"$@\"
";

const APP: &str = "
import logging, sys
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/raise':
        raise KeyError('x')
    if path == '/log':
        logging.getLogger('gunicorn.error').warning('from the app')
    if path == '/long':
        logging.getLogger('gunicorn.error').error('\u{e9}' * 300000)
    if path == '/errors':
        print('to wsgi.errors', file=environ['wsgi.errors'])
    if path == '/print':
        print('printed')
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

type Fields = BTreeMap<String, String>;

/// A journald.
struct Journal {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Journal {
    fn new() -> Self {
        let folder = TempDir::with_prefix("rcorn-journal-").unwrap();
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        Self { socket, folder }
    }

    /// A server whose standard error is this journal.
    fn server(&self) -> Builder {
        let words = "unshare --user --map-root-user --mount sh -c";
        let folder = self.folder.path().to_str().unwrap();
        let words = words.split(' ').chain([AS_SERVICE, "sh", folder]);
        Server::app("m:app")
            .program(words.chain([env!("CARGO_BIN_EXE_rcorn")]))
            .file("m.py", APP)
            .allow("KeyError")
    }

    /// The next record, if there is one.
    fn next(&self) -> Option<Fields> {
        let mut buffer = vec![0; 1 << 18];
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let socket = self.socket.as_raw_fd();
        let received = recvmsg::<()>(
            socket,
            &mut slices,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        );
        let received = received.ok()?;
        let passed = received.cmsgs().unwrap().find_map(|message| {
            let ControlMessageOwned::ScmRights(numbers) = message else {
                return None;
            };
            numbers.first().copied()
        });
        let length = received.bytes;
        let Some(number) = passed else {
            return Some(parse(&buffer[..length]));
        };
        assert_eq!(length, 0);
        let mut file = File::from(own(number));
        let seals = SealFlag::F_SEAL_WRITE
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_SEAL;
        let found = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap();
        assert!(SealFlag::from_bits_retain(found).contains(seals));
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        Some(parse(&bytes))
    }

    /// Waits for the record whose message begins with this.
    fn expect(&self, server: &Server, beginning: &str) -> Fields {
        let mut found = None;
        wait_until(
            server.deadline(),
            &format!("the record {beginning:?}"),
            || {
                while let Some(fields) = self.next() {
                    if fields["MESSAGE"].starts_with(beginning) {
                        found = Some(fields);
                        return true;
                    }
                }
                false
            },
        );
        found.unwrap()
    }
}

/// The fields of a record, by the rules of the protocol.
fn parse(mut bytes: &[u8]) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut fields = Fields::new();
    while !bytes.is_empty() {
        let line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let equals = bytes[..line].iter().position(|byte| *byte == b'=');
        let (name, value, after) = if let Some(equals) = equals {
            (&bytes[..equals], &bytes[equals + 1..line], line + 1)
        } else {
            let (length, value) = bytes[line + 1..].split_first_chunk().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            assert_eq!(value[length], b'\n');
            (&bytes[..line], &value[..length], line + 1 + 8 + length + 1)
        };
        bytes = &bytes[after..];
        let is_new = fields.insert(text(name), text(value)).is_none();
        assert!(is_new, "twice");
    }
    fields
}

fn fields<const N: usize>(expected: [(&str, &str); N]) -> Fields {
    let fields = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    fields.into()
}

fn lacks_namespaces() -> bool {
    lacks(&[program("unshare"), Need::UserNamespaces])
}

#[test]
fn records_have_fields() {
    if lacks_namespaces() {
        return;
    }
    let journal = Journal::new();
    let server = journal.server().args(["--request-id", "on"]).start();
    let master = server.pid().to_string();
    let started = journal.expect(&server, "Starting rcorn ");
    let expected = fields([
        ("MESSAGE", &*started["MESSAGE"]),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "rcorn"),
        ("RCORN_LOG", "error"),
        ("RCORN_PID", &*master),
    ]);
    assert_eq!(started, expected);
    let worker = server.wait_workers(1)[0].to_string();
    let expected = |message: &str, priority: &str| {
        fields([
            ("MESSAGE", message),
            ("PRIORITY", priority),
            ("SYSLOG_IDENTIFIER", "rcorn"),
            ("RCORN_LOG", "error"),
            ("RCORN_PID", &*worker),
            ("RCORN_GENERATION", "1"),
        ])
    };
    let booted = format!("Booting worker with pid: {worker}");
    assert_eq!(journal.expect(&server, &booted), expected(&booted, "6"));
    let mut wire = server.connect();
    wire.send("GET /raise HTTP/1.1\r\nHost: a\r\nX-Request-ID: id-1\r\n\r\n");
    assert_eq!(wire.read_reply().status, 500);
    let raised = journal.expect(
        &server,
        "Error handling request GET /raise [id-1]\nTraceback",
    );
    assert!(raised["MESSAGE"].ends_with("KeyError: 'x'"), "{raised:?}");
    let mut all = expected(&raised["MESSAGE"], "3");
    all.insert("RCORN_REQUEST_ID".to_owned(), "id-1".to_owned());
    assert_eq!(raised, all);
    assert_eq!(server.get("/log").status, 200);
    let mut all = expected("from the app", "4");
    all.insert("RCORN_LOGGER".to_owned(), "gunicorn.error".to_owned());
    assert_eq!(journal.expect(&server, "from the app"), all);
    assert_eq!(server.get("/errors").status, 200);
    let mut all = expected("to wsgi.errors", "3");
    all.insert("RCORN_LOGGER".to_owned(), "wsgi.errors".to_owned());
    assert_eq!(journal.expect(&server, "to wsgi.errors"), all);
    // The next generation.
    server.signal(Signal::SIGHUP);
    let booted = journal.expect(&server, "Booting worker with pid");
    assert_eq!(booted["RCORN_GENERATION"], "2");
    let text = server.stop().text().to_owned();
    assert_eq!(text, "", "nothing goes to standard error itself");
}

#[test]
fn access_log_and_prints_have_fields() {
    if lacks_namespaces() {
        return;
    }
    let journal = Journal::new();
    let server = journal
        .server()
        .args([
            "--access-logfile",
            "/dev/stderr",
            "--access-logformat",
            "%(m)s %(U)s %(s)s",
        ])
        .args(["--request-id", "on", "--capture-output"])
        .start();
    let worker = server.wait_workers(1)[0].to_string();
    let mut wire = server.connect();
    wire.send("GET /print HTTP/1.1\r\nHost: a\r\nX-Request-ID: id-2\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    let (mut printed, mut line) = (None, None);
    wait_until(server.deadline(), "both records", || {
        while let Some(fields) = journal.next() {
            match &*fields["MESSAGE"] {
                "printed" => printed = Some(fields),
                "GET /print 200" => line = Some(fields),
                _ => {}
            }
        }
        printed.is_some() && line.is_some()
    });
    let expected = |message: &str, log: &str| {
        fields([
            ("MESSAGE", message),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "rcorn"),
            ("RCORN_LOG", log),
            ("RCORN_PID", &*worker),
            ("RCORN_GENERATION", "1"),
        ])
    };
    let mut all = expected("printed", "output");
    all.insert("RCORN_STREAM".to_owned(), "stdout".to_owned());
    assert_eq!(printed.unwrap(), all);
    let mut all = expected("GET /print 200", "access");
    all.insert("RCORN_REQUEST_ID".to_owned(), "id-2".to_owned());
    assert_eq!(line.unwrap(), all);
    server.stop();
}

#[test]
fn a_record_that_no_datagram_could_carry_comes_in_a_file() {
    if lacks_namespaces() {
        return;
    }
    let journal = Journal::new();
    let server = journal.server().start();
    assert_eq!(server.get("/long").status, 200);
    let long = journal.expect(&server, "\u{e9}");
    assert_eq!(long["MESSAGE"], "\u{e9}".repeat(300_000));
    assert_eq!(long["PRIORITY"], "3");
    server.stop();
}

#[test]
fn a_log_in_json_is_json_in_the_journal() {
    if lacks_namespaces() {
        return;
    }
    let journal = Journal::new();
    let server = journal.server().args(["--log-format", "json"]).start();
    let record = journal.expect(&server, "{");
    let value: serde_json::Value = serde_json::from_str(&record["MESSAGE"]).unwrap();
    assert_eq!(value["pid"], server.pid().as_raw());
    assert_eq!(record["PRIORITY"], "6");
    server.stop();
}

#[test]
fn without_a_journal_records_go_to_standard_error() {
    if lacks_namespaces() {
        return;
    }
    // Nobody there; standard error is another file; the log is a file; switched off.
    let journal = Journal::new();
    fs::remove_file(journal.folder.path().join("socket")).unwrap();
    let server = journal.server().start();
    server.log().expect("[INFO] Starting rcorn");
    server.stop();
    for stream in ["1:2", "", "nonsense"] {
        let journal = Journal::new();
        let server = journal.server().env("STREAM", stream).start();
        server.log().expect("[INFO] Starting rcorn");
        assert_eq!(journal.next(), None);
        server.stop();
    }
    let journal = Journal::new();
    let server = journal
        .server()
        .args(["--error-logfile", "error.log"])
        .start();
    server.wait_workers(1);
    let text = fs::read_to_string(server.directory().join("error.log")).unwrap();
    assert!(text.contains("[INFO] Starting rcorn"), "{text}");
    assert_eq!(journal.next(), None);
    server.stop();
}

#[test]
fn a_journald_that_takes_nothing_stops_nobody() {
    if lacks_namespaces() {
        return;
    }
    let journal = Journal::new();
    let server = journal.server().start();
    // Until its socket is full.
    let errors = || server.log().count("[WARNING] from the app");
    wait_until(server.deadline(), "a record on standard error", || {
        assert_eq!(server.get("/log").status, 200);
        errors() > 0
    });
    // It reads again.
    while journal.next().is_some() {}
    assert_eq!(server.get("/log").status, 200);
    journal.expect(&server, "from the app");
    server.stop();
}

#[test]
fn a_journald_that_comes_back_is_found() {
    if lacks_namespaces() {
        return;
    }
    let mut journal = Journal::new();
    let server = journal.server().start();
    journal.expect(&server, "Starting rcorn");
    let path = journal.folder.path().join("socket");
    fs::remove_file(&path).unwrap();
    let gone = std::mem::replace(&mut journal.socket, UnixDatagram::unbound().unwrap());
    drop(gone);
    assert_eq!(server.get("/log").status, 200);
    server.log().expect("[WARNING] from the app");
    journal.socket = UnixDatagram::bind(&path).unwrap();
    assert_eq!(server.get("/log").status, 200);
    journal.expect(&server, "from the app");
    server.stop();
}
