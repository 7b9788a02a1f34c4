//! The examples, each through the real server, and the frameworks' own ways of using WSGI.

use crate::support::{Builder, EXAMPLES, Need, Reply, Server, Wire, lacks, venv};

fn example(app: &str) -> Builder {
    Server::app(app)
        .python(venv::python())
        .args(["--chdir", EXAMPLES])
}

fn post(wire: &mut Wire, target: &str, kind: &str, body: &[u8], more: &str) -> Reply {
    wire.send(format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n",
        body.len()
    ));
    wire.send(body);
    wire.read_reply()
}

#[test]
fn plain_examples_answer() {
    for (app, target, expected) in [
        ("x:logic", "/", "OK\n"),
        ("function:app", "/?name=you", "Hello, you!\n"),
        ("callable_object:app", "/", "Hello.\n"),
        ("callable_object:create(\"Hi\", mark='!')", "/", "Hi!\n"),
        ("iterator_class:Countdown", "/", "3\n2\n1\n"),
        ("middleware:app", "/hello", "Hello from inside\n"),
    ] {
        let server = Server::app(app).args(["--chdir", EXAMPLES]).start();
        assert_eq!(server.get(target).text(), expected, "{app}");
        server.stop();
    }
}

#[test]
fn examples_are_clean_under_the_validator() {
    if lacks(&[Need::Packages]) {
        return;
    }
    for (app, target, expected) in [
        ("x:logic", "/", "OK\n"),
        ("function:app", "/", "Hello, world!\n"),
        ("callable_object:app", "/", "Hello.\n"),
        ("iterator_class:Countdown", "/", "3\n2\n1\n"),
        ("middleware:app", "/hello", "Hello from inside\n"),
        ("werkzeug_app:app", "/", "Hello, world!\n"),
        ("flask_app:app", "/", "Hello from Flask\n"),
        ("flask_app:app", "/stream", "0\n1\n2\n3\n4\n"),
        ("bottle_app:app", "/hello/you", "Hello, you!\n"),
        ("django_app:application", "/", "Hello from Django\n"),
    ] {
        let server = Server::app("validated:app")
            .python(venv::python())
            .env("VALIDATED", app)
            .env("DJANGO_EXAMPLE_DB", ":memory:")
            .args(["--pythonpath", EXAMPLES])
            .start();
        assert_eq!(server.get(target).text(), expected, "{app}");
        server.stop();
    }
}

/// Bytes that the workers have read from files and sockets.
fn bytes_read(server: &Server) -> u64 {
    let read = |pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        line.unwrap().parse::<u64>().unwrap()
    };
    server.workers().into_iter().map(read).sum()
}

const LARGE_FILE: u64 = 1_500_000_000;

/// A server whose directory has a large file: `large`.
fn with_large_file(app: &str) -> Builder {
    let make = "
import os
with open('large', 'wb') as file:
    file.truncate(1_500_000_000 - 4)
    file.seek(0, os.SEEK_END)
    file.write(b'end.')
";
    Server::app("m:app")
        .args(["-w", "1"])
        .file("m.py", format!("{make}{app}"))
}

#[test]
fn a_file_wrapper_is_positioned_without_reading() {
    let app = "
class Hidden:
    '''Only reads: neither seekable nor a file of the system.'''
    def __init__(self, file): self.read = file.read
def app(environ, start_response):
    file = open('large', 'rb', buffering=0)
    path = environ['PATH_INFO']
    wrapper = environ['wsgi.file_wrapper'](Hidden(file) if path == '/hidden' else file, 512)
    if path == '/hidden':
        start_response('200 OK', [('Content-Length', '5')])
        return [str(wrapper.seekable()).encode()]
    assert wrapper.seekable() and wrapper.tell() == 0
    wrapper.seek(-2000, os.SEEK_END)
    assert wrapper.tell() == 1_500_000_000 - 2000
    wrapper.seek(1000, 1) if path == '/relative' else wrapper.seek(wrapper.tell())
    start_response('200 OK', [])
    return wrapper if path != '/iterated' else iter(wrapper)
";
    let server = with_large_file(app).start();
    server.wait_serving(1);
    let before = bytes_read(&server);
    let mut wire = server.connect();
    for (path, length) in [("/", 2000), ("/iterated", 2000), ("/relative", 1000)] {
        let reply = wire.get(path);
        assert_eq!(reply.body.len(), length, "{path}");
        assert!(reply.body.ends_with(b"\0end."), "{path}");
    }
    assert_eq!(wire.get("/hidden").text(), "False");
    assert!(bytes_read(&server) - before < 1_000_000);
    server.stop();
}

#[test]
fn flask_sends_the_end_of_a_large_file_at_once() {
    if lacks(&[Need::Packages]) {
        return;
    }
    let app = "
import flask
app = flask.Flask(__name__)
@app.route('/')
def large():
    return flask.send_file(os.path.abspath('large'))
";
    let server = with_large_file(app).python(venv::python()).start();
    server.wait_serving(1);
    let mut wire = server.connect();
    let first = LARGE_FILE - 2000;
    for range in [format!("{first}-"), "-2000".to_owned()] {
        let before = bytes_read(&server);
        wire.send(format!(
            "GET / HTTP/1.1\r\nHost: x\r\nRange: bytes={range}\r\n\r\n"
        ));
        let reply = wire.read_reply();
        assert_eq!((reply.status, reply.body.len()), (206, 2000), "{range}");
        assert!(reply.body.ends_with(b"\0end."), "{range}");
        assert!(bytes_read(&server) - before < 10_000_000, "{range}");
    }
    server.stop();
}

#[test]
fn werkzeug_and_bottle() {
    if lacks(&[Need::Packages]) {
        return;
    }
    let server = example("werkzeug_app:app").start();
    let mut wire = server.connect();
    assert_eq!(wire.get("/?name=you").text(), "Hello, you!\n");
    assert_eq!(
        post(&mut wire, "/", "text/plain", &vec![b'x'; 100_000], "").text(),
        "100000 bytes\n"
    );
    server.stop();
    let server = example("bottle_app:app").start();
    let mut wire = server.connect();
    assert_eq!(wire.get("/").text(), "Hello from Bottle\n");
    let reply = post(
        &mut wire,
        "/form",
        "application/x-www-form-urlencoded",
        b"field=value",
        "",
    );
    assert_eq!(reply.text(), "{\"got\": \"value\"}");
    assert!(wire.get("/source").text().contains("static_file"));
    server.stop();
}

#[test]
fn flask_json_upload_stream_and_download() {
    if lacks(&[Need::Packages]) {
        return;
    }
    let server = example("flask_app:app").args(["-w", "2"]).start();
    let mut wire = server.connect();
    assert_eq!(wire.get("/").text(), "Hello from Flask\n");
    let reply = post(
        &mut wire,
        "/json",
        "application/json",
        b"{\"a\": [1, 2]}",
        "",
    );
    assert_eq!(reply.text().trim(), "{\"a\":[1,2]}");
    let mut form =
        b"--cut\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.bin\"\r\n\r\n"
            .to_vec();
    form.extend(vec![b'z'; 2_000_000]);
    form.extend(b"\r\n--cut--\r\n");
    let reply = post(
        &mut wire,
        "/upload",
        "multipart/form-data; boundary=cut",
        &form,
        "",
    );
    assert!(
        reply.text().contains("\"size\":2000000"),
        "{}",
        reply.text()
    );
    assert_eq!(wire.get("/stream").text(), "0\n1\n2\n3\n4\n");
    assert_eq!(wire.get("/download").text(), "from memory");
    assert_eq!(wire.get("/nowhere").status, 404);
    server.stop();
}

/// A cookie that a reply sets.
fn cookie(reply: &Reply, name: &str) -> String {
    let all = reply
        .fields
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case("set-cookie"));
    let mut values = all.filter_map(|(_, value)| {
        value
            .split(';')
            .next()?
            .strip_prefix(name)?
            .strip_prefix('=')
    });
    values
        .next()
        .unwrap_or_else(|| panic!("no cookie {name} in {reply:?}"))
        .to_owned()
}

/// Logs in, and opens the page of the administration.
fn assert_admin_works(wire: &mut Wire) {
    let page = wire.get("/admin/login/");
    assert_eq!(page.status, 200);
    let text = page.text();
    let token = text
        .split("csrfmiddlewaretoken\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let csrf = cookie(&page, "csrftoken");
    let form = format!("csrfmiddlewaretoken={token}&username=admin&password=admin&next=/admin/");
    let more = format!("Cookie: csrftoken={csrf}\r\nReferer: http://test/admin/login/\r\n");
    let reply = post(
        wire,
        "/admin/login/",
        "application/x-www-form-urlencoded",
        form.as_bytes(),
        &more,
    );
    assert_eq!(reply.status, 302, "{}", reply.text());
    let session = cookie(&reply, "sessionid");
    wire.send(format!(
        "GET /admin/ HTTP/1.1\r\nHost: test\r\nCookie: sessionid={session}\r\n\r\n"
    ));
    let admin = wire.read_reply();
    assert!(
        admin.status == 200 && admin.text().contains("Site administration"),
        "{}",
        admin.text()
    );
}

/// Sends 100 MiB, of which only pieces are ever in memory.
fn assert_large_upload_works(server: &Server, wire: &mut Wire) {
    let size = 100 * 1024 * 1024_usize;
    wire.send(format!(
        "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"
    ));
    let piece = vec![b'u'; 1024 * 1024];
    for _ in 0..100 {
        wire.send(&piece);
    }
    let reply = wire.read_reply();
    assert!(
        reply.text().contains(&format!("\"size\": {size}")),
        "{}",
        reply.text()
    );
    for worker in server.workers() {
        let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        let peak = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap();
        let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kib < 100 * 1024, "a worker's peak is {kib} KiB");
    }
}

#[test]
fn django_admin_static_file_and_a_large_upload_in_little_memory() {
    if lacks(&[Need::Packages]) {
        return;
    }
    let server = example("django_app:application")
        .args(["-w", "2"])
        .file("unused", "");
    let folder = tempfile::tempdir().unwrap();
    let server = server
        .env("DJANGO_EXAMPLE_DB", folder.path().join("d.sqlite3"))
        .args(["--chdir", EXAMPLES, "-t", "120"])
        .patience(std::time::Duration::from_mins(2))
        .start();
    let mut wire = server.connect();
    assert_eq!(wire.get("/").text(), "Hello from Django\n");
    assert_admin_works(&mut wire);
    // A static file through file_wrapper, with the length that FileResponse says.
    let css = wire.get("/static/admin/css/base.css");
    assert_eq!(css.status, 200);
    assert_eq!(
        css.field("content-length"),
        Some(css.body.len().to_string().as_str())
    );
    assert_large_upload_works(&server, &mut wire);
    server.stop();
}
