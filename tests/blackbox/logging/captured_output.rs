//! What the app prints, with `--capture-output`: whole lines in the error log, each with its time,
//! process and generation.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::Pid;

use crate::support::{Builder, Deadline, Gate, Server, wait_until};

/// `/NAME` calls a function.
const APP: &str = "
import logging, os, signal, subprocess, sys, threading
import gate

print('imported')

def app(environ, start_response):
    globals()[environ['PATH_INFO'][1:]]()
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']

def both():
    print('to stdout')
    print('to stderr', file=sys.stderr)

def nothing():
    pass

def log():
    logging.getLogger('gunicorn.error').warning('a record')

def pieces():
    for piece in ('one ', 'two '):
        print(piece, end='', flush=True)
        print('between', file=sys.stderr)
    os.write(1, b'thr')
    os.write(1, b'ee\\nfour\\n\\nfi')
    os.write(1, b've\\n')

def crowd():
    def work(letter):
        for length in (1, 100, 5000, 20000):
            for turn in range(20):
                print(os.getpid(), letter * length, 'end')
    threads = [threading.Thread(target=work, args=(letter,)) for letter in 'abcd']
    for thread in threads: thread.start()
    for thread in threads: thread.join()

def endless():
    os.write(1, b'y' * 700_000 + b'\\n')

def killed():
    print('whole')
    os.write(1, b'last words')
    os.kill(os.getpid(), signal.SIGKILL)

def exits():
    print('no end of line', end='', flush=True)
    os._exit(7)

def program():
    script = 'echo from a program; echo to its stderr >&2; echo by name > /dev/stderr; printf unended'
    subprocess.run(['sh', '-c', script], check=True)
    print()

def forked():
    print('parent ', end='', flush=True)
    pid = os.fork()
    if not pid:
        print('child of', os.getppid())
        os._exit(0)
    os.waitpid(pid, 0)
    print('goes on')

def orphan():
    reader, writer = os.pipe()
    if not os.fork():
        os.close(writer)
        os.read(reader, 1)
        print('orphan', flush=True)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)

def redirected():
    file = os.open('own', os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    pid = os.fork()
    if not pid:
        print('into the file')
        print('and here', file=sys.stderr)
        os._exit(0)
    os.waitpid(pid, 0)

def binary():
    os.write(1, b'\\xff\\x00\\x1b[1m\\n')

def much():
    for turn in range(2000):
        print('z' * 1000)

def waits():
    os.write(1, b'begun ')
    gate.hold()
    os.write(1, b'and ended\\n')
";

fn with_app() -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .args(["--pythonpath", crate::support::APPS])
}

fn capturing() -> Builder {
    with_app().args(["--capture-output"])
}

/// A line that was captured.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    pid: i32,
    stream: String,
    generation: u32,
    text: String,
}

fn parse(line: &str) -> Option<Line> {
    let (time, rest) = line.strip_prefix('[')?.split_once("] [")?;
    // 2026-11-29 08:02:11 +0000
    let has_time = time.len() == 25 && time.starts_with(|sign: char| sign.is_ascii_digit());
    let (pid, rest) = rest.split_once("] [")?;
    let (stream, rest) = rest.split_once("] [generation ")?;
    let (generation, text) = rest.split_once("] ")?;
    has_time.then_some(Line {
        pid: pid.parse().ok()?,
        stream: stream.to_owned(),
        generation: generation.parse().ok()?,
        text: text.to_owned(),
    })
}

fn log_file(server: &Server) -> PathBuf {
    server.directory().join("error.log")
}

fn lines(server: &Server) -> Vec<Line> {
    let bytes = fs::read(log_file(server)).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().filter_map(parse).collect()
}

/// Waits until there is a line with this text, and gives it.
fn expect(server: &Server, text: &str) -> Line {
    let mut found = None;
    wait_until(server.deadline(), &format!("the line {text:?}"), || {
        found = lines(server).into_iter().find(|line| line.text == text);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_line_has_time_process_and_generation() {
    for preload in ["--preload", "--no-preload"] {
        let server = capturing().args([preload]).start();
        server.log().expect("[generation 1] imported");
        for generation in 1..3 {
            let worker = server.wait_workers(1)[0].as_raw();
            assert_eq!(server.get("/both").status, 200);
            for stream in ["stdout", "stderr"] {
                let line = server.log().expect(&format!("to {stream}"));
                let expected = Line {
                    pid: worker,
                    stream: stream.to_owned(),
                    generation,
                    text: format!("to {stream}"),
                };
                assert_eq!(parse(&line), Some(expected), "{line}");
            }
            server.ctl(&["reload", "--wait"]).done();
        }
        server.stop();
    }
}

#[test]
fn without_the_setting_prints_go_where_they_went() {
    let server = with_app().env("PYTHONUNBUFFERED", "1").start();
    assert_eq!(server.get("/both").status, 200);
    for text in ["to stdout", "to stderr"] {
        assert_eq!(server.log().expect(text), text);
    }
    server.stop();
}

#[test]
fn a_line_may_be_printed_in_pieces() {
    let server = capturing().args(["--error-logfile", "error.log"]).start();
    assert_eq!(server.get("/pieces").status, 200);
    expect(&server, "five");
    let lines = lines(&server);
    let printed = lines.iter().filter(|line| line.stream == "stdout");
    let printed: Vec<&str> = printed.map(|line| line.text.as_str()).collect();
    assert_eq!(printed, ["imported", "one two three", "four", "", "five"]);
    server.stop();
}

/// A line is whole and once there, whoever prints at the same time and however long it is.
fn check_crowd(server: &Server) {
    let workers = server.wait_workers(3);
    thread::scope(|scope| {
        for _ in 0..9 {
            scope.spawn(|| assert_eq!(server.get("/crowd").status, 200));
        }
    });
    let printed = || {
        let lines = lines(server).into_iter();
        lines
            .filter(|line| line.text.ends_with("end"))
            .collect::<Vec<_>>()
    };
    let count = 9 * 4 * 4 * 20;
    wait_until(server.deadline(), "all lines", || printed().len() >= count);
    let lines = printed();
    assert_eq!(lines.len(), count);
    for line in lines {
        let words: Vec<&str> = line.text.split(' ').collect();
        let [pid, text, "end"] = words[..] else {
            panic!("{line:?}");
        };
        assert_eq!(pid, line.pid.to_string());
        assert!(workers.iter().any(|worker| worker.as_raw() == line.pid));
        assert!([1, 100, 5000, 20000].contains(&text.len()), "{line:?}");
        assert!(
            text.bytes().all(|byte| byte == text.as_bytes()[0]),
            "{line:?}"
        );
    }
}

#[test]
fn lines_are_whole_whoever_prints() {
    for unbuffered in ["", "1"] {
        let server = capturing()
            .args(["-w", "3", "--threads", "2", "--error-logfile", "error.log"])
            .env("PYTHONUNBUFFERED", unbuffered)
            .start();
        check_crowd(&server);
        server.stop();
    }
}

#[test]
fn a_line_without_end_takes_bounded_memory() {
    let server = capturing().args(["--error-logfile", "error.log"]).start();
    assert_eq!(server.get("/endless").status, 200);
    let parts = || {
        let lines = lines(&server).into_iter();
        let parts = lines.filter(|line| line.text.starts_with('y'));
        parts.map(|line| line.text.len()).collect::<Vec<_>>()
    };
    wait_until(server.deadline(), "all of it", || {
        parts().iter().sum::<usize>() == 700_000
    });
    let parts = parts();
    assert!(parts.len() == 3 && parts[0] >= 256 * 1024, "{parts:?}");
    server.stop();
}

#[test]
fn the_last_words_of_a_worker_are_logged_before_its_end() {
    let server = capturing()
        .args(["--error-logfile", "error.log"])
        .allow("was sent SIGKILL")
        .start();
    for (target, words) in [("/killed", "last words"), ("/exits", "no end of line")] {
        let worker = server.wait_workers(1)[0].as_raw();
        let mut wire = server.connect();
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        wire.expect_eof();
        assert_eq!(expect(&server, words).pid, worker);
        wait_until(server.deadline(), "another worker", || {
            !server.workers().iter().any(|one| one.as_raw() == worker)
        });
        server.wait_serving(1);
    }
    let text = fs::read_to_string(log_file(&server)).unwrap();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(at("] whole\n") < at("] last words\n"));
    assert!(at("] last words\n") < at("was sent SIGKILL"));
    server.stop();
}

#[test]
fn a_program_of_the_app_prints_for_its_worker() {
    let server = capturing().args(["--error-logfile", "error.log"]).start();
    let worker = server.wait_workers(1)[0].as_raw();
    assert_eq!(server.get("/program").status, 200);
    for (text, stream) in [
        ("from a program", "stdout"),
        ("to its stderr", "stderr"),
        ("by name", "stderr"),
        ("unended", "stdout"),
    ] {
        let line = expect(&server, text);
        assert_eq!((line.pid, line.stream.as_str()), (worker, stream));
    }
    server.stop();
}

#[test]
fn a_process_that_the_app_forks_prints_for_itself() {
    let server = capturing()
        .args(["--error-logfile", "error.log"])
        .allow("was sent SIGKILL")
        .start();
    let worker = server.wait_workers(1)[0].as_raw();
    assert_eq!(server.get("/forked").status, 200);
    assert_eq!(expect(&server, "parent goes on").pid, worker);
    let child = expect(&server, &format!("child of {worker}"));
    assert!(child.pid != worker && child.generation == 1, "{child:?}");
    // One that outlives its parent.
    server
        .connect()
        .send("GET /orphan HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_ne!(expect(&server, "orphan").pid, worker);
    server.wait_gone(Pid::from_raw(worker));
    server.wait_serving(1);
    let worker = server.wait_workers(1)[0].as_raw();
    // What the app has redirected stays where it is.
    assert_eq!(server.get("/redirected").status, 200);
    assert_ne!(expect(&server, "and here").pid, worker);
    let own = fs::read_to_string(server.directory().join("own")).unwrap();
    assert_eq!(own, "into the file\n");
    server.stop();
}

#[test]
fn bytes_that_are_no_text_are_written_as_they_are() {
    let server = capturing().args(["--error-logfile", "error.log"]).start();
    assert_eq!(server.get("/binary").status, 200);
    let end = b"[stdout] [generation 1] \xff\x00\x1b[1m\n";
    wait_until(server.deadline(), "the bytes", || {
        let bytes = fs::read(log_file(&server)).unwrap();
        bytes.windows(end.len()).any(|part| part == end)
    });
    server.stop();
}

#[test]
fn in_json_a_line_is_an_object_with_typed_members() {
    let server = capturing()
        .args(["--error-logfile", "error.log", "--log-format", "json"])
        .start();
    let worker = server.wait_workers(1)[0].as_raw();
    assert_eq!(server.get("/both").status, 200);
    assert_eq!(server.get("/binary").status, 200);
    let text = || fs::read_to_string(log_file(&server)).unwrap();
    wait_until(server.deadline(), "the lines", || {
        text().contains("\\u0000") && text().contains("to stderr")
    });
    let values = text();
    let values = values.lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"))
    });
    let values: Vec<_> = values.collect();
    for (stream, message) in [
        ("stdout", "to stdout"),
        ("stderr", "to stderr"),
        ("stdout", "\u{ff}\0\u{1b}[1m"),
    ] {
        let value = values.iter().find(|value| value["message"] == message);
        let value = value.unwrap_or_else(|| panic!("{message}: {values:?}"));
        assert_eq!(value["logger"], stream);
        assert_eq!(value["pid"], worker);
        assert_eq!(value["generation"], 1);
        assert_eq!(value["level"], "INFO");
        assert_eq!(value["time"].as_str().unwrap().len(), 25);
    }
    server.stop();
}

#[test]
fn syslog_has_the_lines() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    let server = capturing()
        .args(["--log-syslog", "--log-syslog-to", &address])
        .start();
    let worker = server.wait_workers(1)[0];
    assert_eq!(server.get("/both").status, 200);
    let end = format!("<14>gunicorn.m.app.error: [{worker}] [stdout] [generation 1] to stdout\0");
    let mut buffer = vec![0; 1 << 16];
    wait_until(server.deadline(), "the message", || {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT);
        length.is_ok_and(|length| buffer[..length] == *end.as_bytes())
    });
    server.stop();
}

#[test]
fn usr1_opens_the_log_again() {
    let server = capturing().args(["--error-logfile", "error.log"]).start();
    let worker = server.wait_workers(1)[0].as_raw();
    fs::rename(log_file(&server), server.directory().join("old.log")).unwrap();
    server.signal(Signal::SIGUSR1);
    wait_until(server.deadline(), "a new log", || {
        log_file(&server).exists()
    });
    assert_eq!(server.get("/both").status, 200);
    assert_eq!(expect(&server, "to stdout").pid, worker);
    assert_eq!(expect(&server, "to stderr").pid, worker);
    server.stop();
}

/// Standard error of a worker leads to the log, which must not lead back there.
#[test]
fn usr1_leaves_a_standard_stream_alone() {
    let server = capturing().args(["--error-logfile", "/dev/stderr"]).start();
    let worker = server.wait_workers(1)[0];
    kill(worker, Signal::SIGUSR1).unwrap();
    assert_eq!(server.get("/log").status, 200);
    let line = server.log().expect("a record");
    assert!(
        line.ends_with(&format!(" [{worker}] [WARNING] a record")),
        "{line}"
    );
    server.stop();
}

#[test]
fn a_reload_changes_the_log_and_may_end_it() {
    let conf = |log: &str, capture: bool| {
        format!(
            "errorlog = '{log}'\ncapture_output = {}\n",
            if capture { "True" } else { "False" }
        )
    };
    let server = with_app()
        .file("conf.py", conf("first.log", true))
        .args(["-c", "conf.py"])
        .start();
    assert_eq!(server.get("/both").status, 200);
    server.write("conf.py", &conf("error.log", true));
    server.ctl(&["reload", "--wait"]).done();
    assert_eq!(server.get("/both").status, 200);
    assert_eq!(expect(&server, "to stdout").generation, 2);
    server.write("conf.py", &conf("error.log", false));
    server.ctl(&["reload", "--wait"]).done();
    assert_eq!(server.get("/both").status, 200);
    assert_eq!(server.log().expect("to stderr"), "to stderr");
    server.stop();
}

/// A line that one build has begun to read, another ends.
#[test]
fn an_upgrade_in_place_splits_no_line() {
    let gate = Gate::new();
    let server = capturing()
        .args(["-w", "2", "--error-logfile", "error.log"])
        .args(["--upgrade", "in-place", "--reload-watch", "0"])
        .gate(&gate)
        .start();
    server.wait_serving(2);
    let mut wire = server.connect();
    wire.send("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    let worker = gate.expect(server.deadline());
    server.signal(Signal::SIGUSR2);
    wait_until(server.deadline(), "the new build serves", || {
        let text = fs::read_to_string(log_file(&server)).unwrap();
        text.contains("Reloaded: generation 2 serves.")
    });
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    let line = expect(&server, "begun and ended");
    assert_eq!((line.pid, line.generation), (worker.as_raw(), 1));
    assert_eq!(server.get("/both").status, 200);
    assert_eq!(expect(&server, "to stdout").generation, 2);
    server.stop();
}

#[test]
fn a_worker_that_prints_can_become_the_template() {
    let server = capturing().args(["-w", "2", "--preload"]).start();
    server.wait_serving(2);
    assert_eq!(server.get("/both").status, 200);
    server.ctl(&["refork"]).done();
    server.stop();
}

/// Nobody reads the log: the app goes on, and what is lost is counted.
#[test]
fn a_log_that_nobody_reads_does_not_stop_an_app_that_prints() {
    let fifo = tempfile::TempDir::new().unwrap();
    let path = fifo.path().join("log");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Open at both ends: nobody reads, and nobody is told that.
    let held = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let server = capturing()
        .args(["--error-logfile", path.to_str().unwrap()])
        .start();
    server.wait_serving(1);
    assert_eq!(server.get("/much").status, 200);
    let lost = || {
        server.status()["counts"]["lost_log_records"]
            .as_u64()
            .unwrap()
    };
    wait_until(server.deadline(), "lines are counted as lost", || {
        lost() > 1000
    });
    let begun = Deadline::after(std::time::Duration::from_secs(10));
    server.signal(Signal::SIGHUP);
    wait_until(begun, "the reload is done", || {
        server.status()["generation"] == 2
    });
    server.stop();
    drop(held);
}
