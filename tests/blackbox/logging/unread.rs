//! A log that nobody reads: a pipe, a FIFO, journald's socket or a terminal that is full. The
//! server goes on, obeys orders and enforces timeouts, and says later how many records were lost.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, pipe, read};

use crate::support::{Builder, Server, wait_until};

/// Gives the program standard streams of the test's choice.
const WITH_STREAMS: &str = "
import os, sys
for stream, number in ((1, sys.argv[1]), (2, sys.argv[2])):
    if number != '-':
        os.dup2(int(number), stream)
os.execv(sys.argv[3], sys.argv[3:])
";

/// A page; and a request that hangs.
const APP: &str = "
import sys, time
def app(environ, start_response):
    if environ['PATH_INFO'] == '/hang':
        time.sleep(60)
    if environ['PATH_INFO'] == '/errors':
        environ['wsgi.errors'].write('x' * 3000 + '\\n')
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

/// Lines of the access log that fill a pipe soon.
fn long_lines() -> String {
    format!("%(U)s {}", "x".repeat(3000))
}

/// A server whose standard streams (output, error) are these; `None`: read by the test as usual.
fn with_streams(streams: [Option<&OwnedFd>; 2]) -> Builder {
    let numbers =
        streams.map(|fd| fd.map_or_else(|| "-".to_owned(), |fd| fd.as_raw_fd().to_string()));
    let words = ["python3", "-c", WITH_STREAMS].map(str::to_owned);
    let program = env!("CARGO_BIN_EXE_rcorn").to_owned();
    let mut server = Server::app("m:app")
        .program(words.into_iter().chain(numbers).chain([program]))
        .file("m.py", APP)
        .args(["-t", "1", "--access-logformat", &long_lines()])
        .args(["--access-logfile", "-"])
        .allow("is hung")
        .allow("WORKER TIMEOUT")
        .allow("was sent SIG")
        .allow("access log");
    for fd in streams.into_iter().flatten() {
        server = server.inherit(fd.as_raw_fd());
    }
    server
}

fn lost(server: &Server) -> u64 {
    server.status()["counts"]["lost_log_records"]
        .as_u64()
        .unwrap()
}

/// Makes the worker write until it loses a record.
fn lose_some(server: &Server, target: &str) {
    let before = lost(server);
    wait_until(server.deadline(), "records are lost", || {
        assert_eq!(server.get(target).status, 200);
        lost(server) > before
    });
}

/// Reads what is there.
fn drain(reader: &OwnedFd) -> String {
    let flags = OFlag::from_bits_retain(fcntl(reader, FcntlArg::F_GETFL).unwrap());
    fcntl(reader, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let (mut all, mut part) = (Vec::new(), vec![0; 1 << 16]);
    while let Ok(length @ 1..) = read(reader, &mut part) {
        all.extend_from_slice(&part[..length]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Fills the log by requests, and asks of the server all that a full log must not hinder.
fn goes_on(server: Server, reader: &OwnedFd, target: &str) {
    server.wait_serving(1);
    lose_some(&server, target);
    // The timeout of a request is enforced, and the worker replaced.
    let hung = server.workers();
    let mut wire = server.connect();
    wire.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until(server.deadline(), "another worker", || {
        !server.workers().contains(&hung[0])
    });
    server.wait_serving(1);
    // A reload.
    server.signal(Signal::SIGHUP);
    wait_until(server.deadline(), "the reload is done", || {
        server.status()["generation"] == 2
    });
    server.wait_serving(1);
    // It flows again.
    lose_some(&server, target);
    let mut read = drain(reader);
    wait_until(
        server.deadline(),
        "the number of lost records is said",
        || {
            assert_eq!(server.get(target).status, 200);
            read.push_str(&drain(reader));
            read.contains("log records could not be written") || read.contains("lines are lost")
        },
    );
    // Full again: a stop all the same.
    lose_some(&server, target);
    server.stop();
}

#[test]
fn a_full_pipe_stops_nothing() {
    let (reader, writer) = pipe().unwrap();
    let server = with_streams([Some(&writer), Some(&writer)]).start();
    drop(writer);
    goes_on(server, &reader, "/");
}

#[test]
fn a_full_pipe_of_the_error_log_alone_stops_nothing() {
    let (reader, writer) = pipe().unwrap();
    let server = with_streams([None, Some(&writer)]).start();
    drop(writer);
    goes_on(server, &reader, "/errors");
}

#[test]
fn a_full_socket_of_journald_stops_nothing() {
    let (reader, writer) = UnixStream::pair().unwrap();
    let writer = OwnedFd::from(writer);
    let server = with_streams([Some(&writer), Some(&writer)]).start();
    drop(writer);
    goes_on(server, &reader.into(), "/");
}

#[test]
fn a_terminal_that_was_stopped_stops_nothing() {
    let terminal = openpty(None, None).unwrap();
    let server = with_streams([Some(&terminal.slave), Some(&terminal.slave)]).start();
    drop(terminal.slave);
    goes_on(server, &terminal.master, "/");
}

#[test]
fn a_full_fifo_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let reader = OpenOptions::new().read(true).write(true).open(&path);
    let log = path.to_str().unwrap();
    let server = with_streams([None, None])
        .args(["--error-logfile", log, "--access-logfile", log])
        .start();
    goes_on(server, &reader.unwrap().into(), "/");
}

#[test]
fn a_pipe_that_is_full_before_the_start_stops_nothing() {
    let (reader, writer) = pipe().unwrap();
    let fill = OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(format!("/proc/self/fd/{}", writer.as_raw_fd()));
    let mut fill = fill.unwrap();
    while fill.write(&[b'x'; 4096]).is_ok() {}
    let server = with_streams([Some(&writer), Some(&writer)]).start();
    drop((writer, fill));
    server.wait_serving(1);
    assert_eq!(server.get("/").status, 200);
    assert!(lost(&server) > 0);
    server.stop();
    drop(reader);
}
