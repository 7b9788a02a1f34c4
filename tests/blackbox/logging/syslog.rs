//! Error log and access log in syslog: the messages are gunicorn's, and no server of logs holds a
//! request or the arbiter up.

use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv};

use crate::support::{Builder, Deadline, Server, lacks, program, wait_until};

/// Answers, raises, or logs.
const APP: &str = "
import logging
def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/raise':
        raise KeyError('x')
    if path == '/log':
        logging.getLogger('gunicorn.error').warning('from the app\\nsecond line')
    if path == '/long':
        logging.getLogger('gunicorn.error').error('\u{e9}' * 100000)
    start_response('200 OK', [('Content-Length', '2')])
    return [b'ok']
";

fn to(address: &str) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .args(["--log-syslog", "--log-syslog-to", address])
        .allow("KeyError")
        .allow("Error handling request")
        .allow("from the app")
        .allow("\u{e9}\u{e9}\u{e9}")
}

fn reload(server: &Server) {
    server.ctl(&["reload", "--wait"]).done();
}

/// Waits for the next datagram.
fn next(socket: &impl AsFd, deadline: Deadline) -> Vec<u8> {
    let mut buffer = vec![0; 100_000];
    let mut length = 0;
    wait_until(deadline, "a message comes", || {
        match recv(
            socket.as_fd().as_raw_fd(),
            &mut buffer,
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(received) => {
                length = received;
                true
            }
            Err(_none) => false,
        }
    });
    buffer.truncate(length);
    buffer
}

/// Waits for a message with this text; gives it.
fn expect(socket: &impl AsFd, text: &str, deadline: Deadline) -> String {
    loop {
        let message = next(socket, deadline);
        let message = String::from_utf8(message).unwrap();
        let message = message.strip_suffix('\0').expect("its end");
        if message.contains(text) {
            return message.to_owned();
        }
    }
}

/// What gunicorn 27.0.1 sends for the same requests; only the version line differs.
fn check_messages(server: &Server, socket: &impl AsFd) {
    let deadline = server.deadline();
    let master = server.pid();
    let started = format!("<14>gunicorn.m.app.error: [{master}] Starting rcorn ");
    assert!(expect(socket, "Starting", deadline).starts_with(&started));
    expect(
        socket,
        &format!("<14>gunicorn.m.app.error: [{master}] Listening at: "),
        deadline,
    );
    let worker = server.wait_workers(1)[0];
    expect(
        socket,
        &format!("<14>gunicorn.m.app.error: [{worker}] Booting worker with pid: {worker}"),
        deadline,
    );
    assert_eq!(server.get("/x%22y?q").status, 200);
    let line = expect(socket, ".access: ", deadline);
    let beginning = format!("<14>gunicorn.m.app.access: [{worker}] 127.0.0.1 - - [");
    assert!(line.starts_with(&beginning), "{line}");
    assert!(
        line.ends_with("] \"GET /x%22y?q HTTP/1.1\" 200 2 \"-\" \"-\""),
        "{line}"
    );
    server.get("/raise");
    let error = expect(socket, "Traceback", deadline);
    let beginning = format!(
        "<11>gunicorn.m.app.error: [{worker}] Error handling request GET /raise\nTraceback"
    );
    assert!(error.starts_with(&beginning), "{error}");
    server.get("/log");
    let text = format!("<12>gunicorn.m.app.error: [{worker}] from the app\nsecond line");
    assert_eq!(expect(socket, "from the app", deadline), text);
}

#[test]
fn messages_are_those_of_gunicorn() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", udp.local_addr().unwrap());
    let server = to(&address).start();
    check_messages(&server, &udp);
    let master = server.pid();
    let deadline = server.deadline();
    server.stop();
    expect(&udp, &format!("[{master}] Shutting down: Master"), deadline);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let unix = UnixDatagram::bind(&path).unwrap();
    let server = to(&format!("unix://{}", path.display())).start();
    check_messages(&server, &unix);
    server.stop();
}

#[test]
fn name_facility_and_access_log_are_those_of_the_settings_also_after_a_reload() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let config = |facility: &str, prefix: &str, more: &str| {
        format!(
            "syslog: true\nsyslog_addr: udp://{address}\nsyslog_facility: {facility}\nsyslog_prefix: '{prefix}'\n{more}"
        )
    };
    let server = Server::app("m:app")
        .file("m.py", APP)
        .file(
            "rcorn.yaml",
            config("local3", "web", "disable_redirect_access_to_syslog: true\n"),
        )
        .start();
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/log").status, 200);
    // There is no line of the access log before it.
    loop {
        let message = String::from_utf8(next(&udp, server.deadline())).unwrap();
        assert!(!message.contains(".access: "), "{message}");
        if message.contains("from the app") {
            assert!(
                message.starts_with("<156>gunicorn.web.error: ["),
                "{message}"
            );
            break;
        }
    }
    let changed = config("SECURITY", "", "log_format: json\nproc_name: 'a:b'\n");
    std::fs::write(server.directory().join("rcorn.yaml"), changed).unwrap();
    reload(&server);
    assert_eq!(server.get("/").status, 200);
    let line = expect(&udp, ".access: ", server.deadline());
    assert!(line.starts_with("<38>gunicorn.a.b.access: ["), "{line}");
    server.get("/log");
    let record = expect(&udp, "from the app", server.deadline());
    let (name, json) = record.split_once(": ").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(name, "<36>gunicorn.a.b.error");
    assert_eq!(json["message"], "from the app\nsecond line");
    server.stop();
}

#[test]
fn a_message_that_no_datagram_can_carry_is_cut() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", udp.local_addr().unwrap());
    let server = to(&address).start();
    assert_eq!(server.get("/long").status, 200);
    let message = expect(&udp, "\u{e9}\u{e9}\u{e9}", server.deadline());
    assert!(
        (65_000..65_507).contains(&message.len()),
        "{}",
        message.len()
    );
    server.stop();
}

/// Everything that comes over the connections of a listener, until they are closed.
fn read_all(
    accept: impl Fn() -> Box<dyn std::io::Read> + Send + 'static,
) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut text = Vec::new();
        accept().read_to_end(&mut text).unwrap();
        text
    })
}

#[test]
fn in_a_stream_each_message_is_whole_and_none_looks_like_two() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", tcp.local_addr().unwrap());
    let reader = read_all(move || Box::new(tcp.accept().unwrap().0));
    check_stream(&address, reader, '\n');
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let unix = UnixListener::bind(&path).unwrap();
    let reader = read_all(move || Box::new(unix.accept().unwrap().0));
    check_stream(&format!("unix://{}#stream", path.display()), reader, '\0');
}

fn check_stream(address: &str, reader: thread::JoinHandle<Vec<u8>>, end: char) {
    let server = to(address).args(["-w", "2"]).start();
    server.wait_serving(2);
    for number in 0..100 {
        assert_eq!(server.get(&format!("/{number}")).status, 200);
    }
    server.get("/log");
    server.stop();
    let text = String::from_utf8(reader.join().unwrap()).unwrap();
    let messages: Vec<&str> = text.split_terminator(end).collect();
    for message in &messages {
        assert!(
            message.starts_with('<') && message.contains(">gunicorn.m.app."),
            "{message}"
        );
        assert!(!message.contains('\n'), "{message}");
    }
    assert!(
        messages
            .iter()
            .any(|one| one.ends_with("from the app#012second line")),
        "{text}"
    );
    let requests = messages
        .iter()
        .filter(|one| one.contains(".access: "))
        .count();
    assert_eq!(requests, 101);
    assert!(messages.last().unwrap().ends_with("Shutting down: Master"));
}

#[test]
fn a_server_that_comes_late_or_again_gets_what_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = to(&format!("unix://{}", path.display()))
        .allow("cannot send to syslog")
        .start();
    assert_eq!(server.get("/early").status, 200);
    server.log().expect("cannot send to syslog at unix://");
    let first = UnixDatagram::bind(&path).unwrap();
    assert!(expect(&first, "Starting", server.deadline()).contains("Starting rcorn"));
    expect(&first, "GET /early", server.deadline());
    drop(first);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(server.get("/meanwhile").status, 200);
    let second = UnixDatagram::bind(&path).unwrap();
    expect(&second, "GET /meanwhile", server.deadline());
    expect(&second, "is there again", server.deadline());
    server.stop();
}

#[test]
fn a_server_that_takes_nothing_stops_nobody_and_what_is_lost_is_counted() {
    // Its queue has room for a few datagrams; nobody reads them.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let _unread = UnixDatagram::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [
        format!("unix://{}", path.display()),
        format!("tcp://{}", tcp.local_addr().unwrap()),
        // Nobody is there.
        "unix:///nonexistent/log".to_owned(),
        "udp://no.such.name.invalid:514".to_owned(),
    ] {
        let format = format!("%(U)s {}", "x".repeat(60_000));
        let server = to(&address)
            .args(["--access-logformat", &format])
            .allow("cannot send to syslog")
            .allow("is there again")
            .allow("was sent SIGKILL")
            .start();
        let lost = || {
            server.status()["counts"]["lost_log_records"]
                .as_u64()
                .unwrap()
        };
        wait_until(
            server.deadline(),
            &format!("{address}: messages are lost"),
            || {
                assert_eq!(server.get("/").status, 200);
                lost() > 0
            },
        );
        let worker = server.workers()[0];
        nix::sys::signal::kill(worker, Signal::SIGKILL).unwrap();
        wait_until(server.deadline(), "it is replaced", || {
            server.workers().first().is_some_and(|one| *one != worker)
        });
        server.stop();
    }
}

#[test]
fn an_upgrade_in_place_loses_no_message() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", udp.local_addr().unwrap());
    let server = to(&address).args(["--upgrade", "in-place"]).start();
    assert_eq!(server.get("/before").status, 200);
    expect(&udp, "GET /before", server.deadline());
    server.signal(Signal::SIGUSR2);
    expect(&udp, "Upgrading in place", server.deadline());
    expect(&udp, "Starting rcorn", server.deadline());
    for number in 0..50 {
        assert_eq!(server.get(&format!("/{number}")).status, 200);
        expect(&udp, &format!("GET /{number} "), server.deadline());
    }
    server.stop();
}

#[test]
fn an_address_that_cannot_be_is_refused() {
    for (words, reason) in [
        (
            ["--log-syslog-to", "localhost:514"],
            "does not begin with unix://",
        ),
        (["--log-syslog-to", "udp://a:b"], "has no valid port"),
        (["--log-syslog-to", "unix://"], "names no socket file"),
        (
            ["--log-syslog-facility", "local8"],
            "is not a facility of syslog",
        ),
    ] {
        let ended = Server::app("m:app")
            .file("m.py", APP)
            .args(words)
            .start()
            .finish();
        assert_eq!(ended.code(), Some(2), "{}", ended.text());
        assert!(ended.text().contains(reason), "{}", ended.text());
    }
}

/// What rsyslog makes of it, in a file.
#[test]
fn a_real_rsyslog_understands_each_message() {
    if lacks(&[program("rsyslogd")]) {
        return;
    }
    for kind in ["imuxsock", "imtcp"] {
        check_rsyslog(kind);
    }
}

/// Its input of this kind, and our address of it.
fn rsyslog_input(kind: &str, folder: &Path) -> (String, String) {
    if kind == "imuxsock" {
        let path = folder.join("log");
        let path = path.display();
        let input = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{path}\" CreatePath=\"off\")"
        );
        return (input, format!("unix://{path}"));
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = free.local_addr().unwrap();
    let input = format!(
        "module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\")",
        free.port()
    );
    (input, format!("tcp://{free}"))
}

fn check_rsyslog(kind: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (input, address) = rsyslog_input(kind, folder.path());
    let config = format!(
        "global(workDirectory=\"{}\")\n{input}\n\
         template(name=\"t\" type=\"string\" string=\"%pri%|%programname%|%msg%\\n\")\n\
         *.* action(type=\"omfile\" file=\"{}\" template=\"t\" flushOnTXEnd=\"on\")\n",
        folder.path().display(),
        path("out"),
    );
    std::fs::write(path("conf"), config).unwrap();
    let mut rsyslog = std::process::Command::new("/usr/sbin/rsyslogd")
        .args(["-n", "-f", &path("conf"), "-i", &path("pid")])
        .spawn()
        .unwrap();
    let server = to(&address)
        .args([
            "--log-syslog-prefix",
            "web",
            "--log-syslog-facility",
            "local3",
        ])
        .allow("cannot send to syslog")
        .start();
    assert_eq!(server.get("/page").status, 200);
    server.get("/raise");
    server.get("/log");
    let out = path("out");
    let has = |text: &str| std::fs::read_to_string(&out).is_ok_and(|all| all.contains(text));
    let worker = server.workers()[0];
    for text in [
        format!("158|gunicorn.web.error| [{worker}] Booting worker with pid: {worker}\n"),
        format!("158|gunicorn.web.access| [{worker}] 127.0.0.1 - - ["),
        format!(
            "155|gunicorn.web.error| [{worker}] Error handling request GET /raise#012Traceback"
        ),
        format!("156|gunicorn.web.error| [{worker}] from the app#012second line\n"),
    ] {
        wait_until(
            server.deadline(),
            &format!("rsyslog has written {text}"),
            || has(&text),
        );
    }
    server.stop();
    rsyslog.kill().unwrap();
    rsyslog.wait().unwrap();
    assert!(Path::new(&out).exists());
}
