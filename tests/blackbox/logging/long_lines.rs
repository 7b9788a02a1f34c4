//! Records that are longer than what a pipe takes in one piece, from several workers and threads.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::support::Server;

/// A page for whose request the log has a long line, or a long traceback.
const APP: &str = "
def app(environ, start_response):
    letter = environ['PATH_INFO'][1]
    if environ['QUERY_STRING']:
        raise ValueError('\\n'.join([letter * 300] * 40))
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

const CLIENTS: &str = "abcdefgh";
const REQUESTS_OF_EACH: usize = 20;

/// A FIFO with room for one page, so that whoever writes more waits for its reader in the middle.
fn narrow_fifo(path: &Path) -> File {
    mkfifo(path, Mode::S_IRWXU).unwrap();
    let mut options = OpenOptions::new();
    let reader = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let reader = reader.open(path).unwrap();
    fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    reader
}

#[test]
fn long_lines_of_several_workers_and_threads_do_not_mix_in_a_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let reader = narrow_fifo(&path);
    let log = path.to_str().unwrap();
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["-w", "2", "--threads", "4"])
        .args(["--error-logfile", log, "--access-logfile", log])
        .args(["--access-logformat", "json"])
        .start();
    server.wait_serving(2);
    let reading = thread::spawn(|| {
        BufReader::new(reader)
            .lines()
            .collect::<Result<Vec<_>, _>>()
    });
    thread::scope(|scope| {
        for letter in CLIENTS.chars() {
            let server = &server;
            scope.spawn(move || {
                let long = letter.to_string().repeat(8000);
                for number in 0..REQUESTS_OF_EACH {
                    let (query, status) = [("", 200), ("?fail", 500)][number % 2];
                    // A failure of the app closes it.
                    let mut wire = server.connect();
                    wire.send(format!(
                        "GET /{letter}{query} HTTP/1.1\r\nHost: a\r\nUser-Agent: {long}\r\nReferer: {long}\r\n\r\n"
                    ));
                    assert_eq!(wire.read_reply().status, status);
                }
            });
        }
    });
    let lost = server.status()["counts"]["lost_log_records"].as_u64();
    let lost = usize::try_from(lost.unwrap()).unwrap();
    server.stop();
    let lines = reading.join().unwrap().unwrap();
    let mut objects = 0;
    for line in &lines {
        if line.starts_with('{') {
            check_object(line);
            objects += 1;
        } else {
            check_text(line);
        }
    }
    let requests = CLIENTS.len() * REQUESTS_OF_EACH;
    assert!(
        objects <= requests && objects + lost >= requests,
        "{objects} and {lost}"
    );
    assert!(lines.iter().any(|line| line.contains(&"a".repeat(300))));
}

/// Checks that a line of the access log is whole, and of one request.
fn check_object(line: &str) {
    let object: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let target = object["target"].as_str().unwrap();
    let letter = target.chars().nth(1).unwrap();
    for member in ["user_agent", "referer"] {
        let value = object[member].as_str().unwrap();
        let (begin, end) = value.split_once("...[").unwrap();
        let (_, end) = end.split_once("-bytes-cut]...").unwrap();
        assert!(begin.len() > 1000 && end.len() > 300, "{line}");
        assert_eq!([begin, end].concat().trim_matches(letter), "", "{line}");
    }
    assert!(object["pid"].is_u64(), "{line}");
}

/// Checks that a line of a traceback is whole.
fn check_text(line: &str) {
    for letter in CLIENTS.chars() {
        let long = letter.to_string().repeat(300);
        if line.contains(&long[..10]) {
            let before = line.strip_suffix(&long).unwrap_or_else(|| panic!("{line}"));
            assert!(["", "ValueError: "].contains(&before), "{line}");
        }
    }
}
