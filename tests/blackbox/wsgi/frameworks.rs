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
