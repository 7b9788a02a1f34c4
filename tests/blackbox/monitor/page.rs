//! The page of the status address, in a real browser.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{ask, status_place};
use crate::support::{APPS, Gate, Place, ROOT, Server, lacks, program};

/// The digests of the page's script and style, as its policy names them.
fn digests(page: &str) -> [String; 2] {
    let script = "
import base64, hashlib, re, sys
page = sys.stdin.read()
for name in ('script', 'style'):
    (text,) = re.findall(f'<{name}>(.*?)</{name}>', page, re.S)
    print(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())
";
    let left = crate::support::Once::new("python3", ["-c", script])
        .input(page)
        .run();
    let text = left.done();
    let mut lines = text.lines().map(str::to_owned);
    [lines.next().unwrap(), lines.next().unwrap()]
}

/// Otherwise the page would be dead in every browser. `RCORN_BLESS=1` renews them.
#[test]
fn the_digests_of_the_page_are_those_of_its_policy() {
    let folder = Path::new(ROOT).join("src/monitor");
    let page = std::fs::read_to_string(folder.join("page.html")).unwrap();
    for (digest, name) in digests(&page).iter().zip(["script", "style"]) {
        let file = folder.join(format!("page.{name}.sha256"));
        if std::env::var_os("RCORN_BLESS").is_some() {
            std::fs::write(&file, digest).unwrap();
        }
        let known = std::fs::read_to_string(&file).unwrap();
        assert_eq!(&known, digest, "renew {}", file.display());
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = std::fs::read_to_string(format!("{ROOT}/src/monitor/page.html")).unwrap();
    for foreign in [
        "src=",
        "@import",
        "url(",
        "innerHTML",
        "insertAdjacent",
        "document.write",
    ] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for (at, _) in page.match_indices("http") {
        assert!(
            page[at..].starts_with("http://www.w3.org/2000/svg"),
            "{}",
            &page[at..at + 30]
        );
    }
}

/// Opens the page in Chromium and returns its elements, once it has shown the status. `more`:
/// further arguments.
pub(super) fn open(place: &Place, more: &[&str]) -> String {
    let Place::Tcp(address) = place else {
        unreachable!()
    };
    let profile = tempfile::tempdir().unwrap();
    let left = Command::new("chromium-headless-shell")
        .args([
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
        ])
        .args([
            "--disable-extensions",
            "--virtual-time-budget=7000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(format!("http://{address}/"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&left.stderr);
    assert!(left.status.success(), "{errors}");
    assert!(!errors.contains("Content Security Policy"), "{errors}");
    String::from_utf8(left.stdout).unwrap()
}

/// A client can send anything as a request target: here what would be markup, and run.
const ATTACKS: [&str; 3] = [
    "/held?<img/src=x/onerror=document.body.dataset.owned=1>",
    "/held?</td><script>document.body.dataset.owned=1</script>",
    "/held?\"'><svg/onload=document.body.dataset.owned=1>",
];

#[test]
fn what_a_client_sends_is_text_in_a_browser() {
    if lacks(&[program("chromium-headless-shell")]) {
        return;
    }
    for attack in ATTACKS {
        let gate = Gate::new();
        let server = Server::app("cases:app")
            .args(["-w", "2", "--status-bind", "127.0.0.1:0"])
            .gate(&gate)
            .start();
        server.wait_serving(2);
        let place = status_place(&server);
        let mut wire = server.connect();
        wire.send(format!("GET {attack} HTTP/1.1\r\nHost: a\r\n\r\n"));
        gate.expect(server.deadline());
        let status: Value = serde_json::from_str(&ask(&place, "/status.json").text()).unwrap();
        assert!(status.to_string().contains("/held"), "{status}");
        let shown = open(&place, &[]);
        let (markup, _script) = shown.split_once("<script>").unwrap();
        assert!(markup.contains("/held?"), "{markup}");
        assert!(
            markup.contains("&lt;") && !markup.contains("data-owned"),
            "{markup}"
        );
        for element in ["<img", "<svg/", "<script"] {
            assert!(!markup.contains(element), "{element} in {markup}");
        }
        gate.open();
        wire.read_reply();
        server.stop();
    }
}

#[test]
fn a_browser_shows_workers_charts_and_what_happened() {
    if lacks(&[program("chromium-headless-shell")]) {
        return;
    }
    let gate = Gate::new();
    let server = Server::app("cases:app")
        .args(["-w", "2", "--status-bind", "127.0.0.1:0"])
        .args(["--reload-watch", "0.1", "--pythonpath", APPS])
        .gate(&gate)
        .start();
    server.wait_serving(2);
    let place = status_place(&server);
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    server.wait_serving(2);
    for _ in 0..20 {
        server.get("/hello");
    }
    let mut wire = server.connect();
    wire.send("GET /held?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    gate.expect(server.deadline());
    let pictures = tempfile::tempdir().unwrap();
    let picture = pictures.path().join("page.png");
    // A picture is taken where `RCORN_TEST_PICTURES` says, so that somebody can look at it.
    let picture = std::env::var_os("RCORN_TEST_PICTURES")
        .map_or(picture, |folder| Path::new(&folder).join("page.png"));
    let shown = open(&place, &["--window-size=1200,1000"]);
    for part in [
        "2 of 2 workers serving",
        "generation 2",
        "serving, idle",
        "GET /held?x=1 HTTP/1.1 from 127.0.0.1",
        "Reloaded: generation 2 serves.",
        "ended: reload",
        "CPython 3.",
        "class=\"state good\"",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // The charts have lines, and numbers.
    assert!(shown.matches(" d=\"M").count() >= 3, "{shown}");
    assert!(shown.contains("aria-label=\"Busy share: "), "{shown}");
    for (size, dark) in [("1200,1000", "1"), ("390,900", "0")] {
        let file = picture.with_extension(format!("{dark}.png"));
        open(
            &place,
            &[
                &format!("--window-size={size}"),
                &format!("--blink-settings=preferredColorScheme={dark}"),
                &format!("--screenshot={}", file.display()),
            ],
        );
        // A picture of one colour is smaller.
        assert!(file.metadata().unwrap().len() > 10_000);
    }
    gate.open();
    wire.read_reply();
    server.stop();
}
