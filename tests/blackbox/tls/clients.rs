//! Clients as people have them: a browser, and what openssl can ask for.

use std::process::Command;

use nix::sys::signal::Signal;

use super::{Pair, port, server};
use crate::support::{Once, Server, lacks, program};

/// A page with what it needs, and an upload of a form.
const PAGES: &str = r#"
PAGE = b'''<!doctype html><title>shop</title><link rel=stylesheet href=/static/app.css>
<img src=/logo.svg><p id=told></p><script src=/static/app.js></script>'''
LOGO = b'<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>'

def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/upload':
        head, _, rest = environ['wsgi.input'].read().partition(b'\r\n\r\n')
        file = rest[:rest.rindex(b'\r\n--')]
        kind, body = 'text/plain', b'%d of %d' % (file.count(b'x'), len(file))
    elif path == '/logo.svg':
        kind, body = 'image/svg+xml', LOGO
    else:
        kind, body = 'text/html', PAGE
    start_response('200 OK', [('Content-Type', kind), ('Content-Length', str(len(body)))])
    return [body]
"#;

const SCRIPT: &str = "
onload = async () => {
  const form = new FormData();
  form.append('file', new Blob(['x'.repeat(3000000)]), 'a.bin');
  const uploaded = await (await fetch('/upload', {method: 'POST', body: form})).text();
  const style = getComputedStyle(document.body).color;
  const names = performance.getEntriesByType('resource').map(
    one => new URL(one.name).pathname + ' ' + one.nextHopProtocol);
  const told = [uploaded, style, document.images[0].naturalWidth, ...names.sort()];
  document.getElementById('told').textContent = told.join('; ');
};
";

/// Opens a page in Chromium; returns its elements once its script has run.
fn browse(url: &str, more: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let left = Command::new("chromium-headless-shell")
        .args(["--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-extensions", "--ignore-certificate-errors"])
        .args(["--virtual-time-budget=7000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(url)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&left.stderr);
    assert!(left.status.success(), "{errors}");
    String::from_utf8(left.stdout).unwrap()
}

#[test]
fn a_browser_loads_a_page_with_assets_and_uploads_a_file() {
    if lacks(&[program("chromium-headless-shell")]) {
        return;
    }
    let server = server(&Pair::of(&["localhost"]))
        .file("m.py", PAGES)
        .file("static/app.css", "body { color: rgb(1, 2, 3) }")
        .file("static/app.js", SCRIPT)
        .args(["-w", "2", "--static", "/static=static"])
        .start();
    server.wait_workers(2);
    let url = format!("https://127.0.0.1:{}/", port(&server));
    for (arguments, protocol) in [(&[][..], "h2"), (&["--disable-http2"], "http/1.1")] {
        let shown = browse(&url, arguments);
        let mut expected = "3000000 of 3000000; rgb(1, 2, 3); 7".to_owned();
        for path in ["/logo.svg", "/static/app.css", "/static/app.js", "/upload"] {
            expected = format!("{expected}; {path} {protocol}");
        }
        assert!(shown.contains(&expected), "{shown}");
    }
    server.stop();
}

/// What `openssl s_client` says of a connection; whether there was one.
fn openssl(server: &Server, options: &[&str], input: &str) -> (bool, String) {
    let address = format!("127.0.0.1:{}", port(server));
    let words = ["s_client", "-connect", &address, "-servername", "localhost"];
    let left = Once::new("openssl", words.iter().chain(options).copied())
        .input(input)
        .within(server.directory())
        .run();
    let text = format!("{}\n{}", left.text(), left.errors);
    let has_session = text.contains("Verify return code: ") && !text.contains("Cipher is (NONE)");
    (has_session, text)
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn old_versions_and_weak_suites_are_refused() {
    if lacks(&[program("openssl")]) {
        return;
    }
    let server = server(&Pair::of(&["localhost"])).start();
    let any = ["-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"];
    for (version, is_spoken) in [
        ("-tls1", false),
        ("-tls1_1", false),
        ("-tls1_2", true),
        ("-tls1_3", true),
    ] {
        let (has_session, text) = openssl(&server, &[version, any[0], any[1]], REQUEST);
        assert_eq!(has_session, is_spoken, "{version}: {text}");
        assert_eq!(text.contains(" alert "), !is_spoken, "{text}");
    }
    for (suites, is_taken) in [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", true),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", true),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", true),
        ("ECDHE-ECDSA-AES128-SHA", false),
        ("ECDHE-ECDSA-AES256-SHA384", false),
        // Without forward secrecy, without encryption, without a certificate.
        ("kRSA:kPSK", false),
        ("eNULL", false),
        ("aNULL", false),
        ("DHE", false),
    ] {
        let suites_at_any_level = format!("{suites}:@SECLEVEL=0");
        let options = ["-tls1_2", "-cipher", &suites_at_any_level];
        let (has_session, text) = openssl(&server, &options, REQUEST);
        assert_eq!(has_session, is_taken, "{suites}: {text}");
        assert_eq!(text.contains(" alert "), !is_taken, "{text}");
    }
    server.stop();
}

#[test]
fn nothing_is_renegotiated_or_compressed() {
    if lacks(&[program("openssl")]) {
        return;
    }
    let server = server(&Pair::of(&["localhost"]))
        .args(["--keep-alive", "1"])
        .start();
    // A line that says no more than R asks for a new handshake, and openssl waits for it.
    let (has_session, text) = openssl(&server, &["-tls1_2", "-comp"], "R\n");
    assert!(has_session, "{text}");
    assert!(text.contains("Compression: NONE"), "{text}");
    assert!(text.contains("RENEGOTIATING\n"), "{text}");
    assert!(text.contains("no renegotiation"), "{text}");
    server.stop();
}

/// The tickets of TLS 1.2. Those of 1.3: `lifecycle`.
#[test]
fn openssl_resumes_sessions_of_other_fronts_and_after_a_reload() {
    if lacks(&[program("openssl")]) {
        return;
    }
    let server = server(&Pair::of(&["localhost"]))
        .args(["--fronts", "2", "--reload-watch", "0.1"])
        .start();
    server.wait_workers(1);
    let options = ["-tls1_2", "-reconnect", "-sess_out", "session"];
    let (_, text) = openssl(&server, &options, "");
    assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{text}");
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    let (_, text) = openssl(&server, &["-tls1_2", "-sess_in", "session"], "");
    assert!(text.contains("Reused, TLSv1.2"), "{text}");
    server.stop();
}
