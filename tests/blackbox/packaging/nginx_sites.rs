//! The sites in `packaging/nginx`, under a real nginx. The files are used as they are, with the
//! addresses and paths of this machine put in.

use std::fs;

use tempfile::TempDir;

use super::{shipped, substituted};
use crate::support::site::nginx;
use crate::support::{
    Builder, Connections, Load, Place, Reply, Server, UWSGI_PARAMS, Wire, lacks, program,
    wait_until,
};

/// Runs `check` with the server behind an nginx that has this file of `packaging/nginx`.
fn behind_nginx(
    file: &str,
    server: Server,
    pairs: &[(&str, &str)],
    check: impl Fn(&Server, &Place),
) {
    let folder = TempDir::with_prefix("rcorn-sites-").unwrap();
    let front = folder.path().join("front");
    let statics = folder.path().join("current/app/static");
    fs::create_dir_all(&statics).unwrap();
    fs::write(statics.join("a.css"), "p {}\n").unwrap();
    fs::create_dir(folder.path().join("sites")).unwrap();
    let listen = format!("listen unix:{};", front.display());
    let root = folder.path().display().to_string();
    let common = [("listen 80;", listen.as_str()), ("/srv/app", root.as_str())];
    let text = substituted(&shipped(file), &[&common, pairs].concat());
    fs::write(folder.path().join("sites/app.conf"), text).unwrap();
    // Debian has it beside nginx.conf; the test's nginx.conf is elsewhere.
    fs::write(folder.path().join("uwsgi_params"), UWSGI_PARAMS).unwrap();
    let nginx = nginx(folder.path());
    let place = Place::Unix(front);
    wait_until(nginx.deadline(), "nginx listens", || {
        Wire::try_connect(&place).is_ok()
    });
    assert_eq!(Wire::connect(&place).get("/static/a.css").text(), "p {}\n");
    assert_eq!(Wire::connect(&place).get("/static/../a").status, 404);
    check(&server, &place);
    // A reload loses no request.
    let load = Load::start(&place, "/hello", 2, Connections::Kept);
    load.wait_for(20, server.deadline());
    assert_eq!(server.ctl(&["reload", "--wait"]).code, 0);
    load.wait_for(20, server.deadline());
    load.stop().assert_clean();
    nginx.stop();
    server.stop();
}

fn app() -> Builder {
    Server::app("cases:app").args(["-w", "2", "--reload-watch", "0"])
}

fn address(server: &Server) -> String {
    match server.place() {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// What the app sees of a client that sends forged fields.
fn told(place: &Place) -> Reply {
    let mut wire = Wire::connect(place);
    wire.send(
        "GET /types HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 9.9.9.9\r\nProxy: http://evil\r\n\r\n",
    );
    let reply = wire.read_reply();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    for line in ["HTTP_HOST=str:shop.test", "wsgi.url_scheme=str:http"] {
        assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
    }
    assert!(!text.contains("evil"), "{text}");
    reply
}

/// How many connections the workers hold.
fn connections(server: &Server) -> u64 {
    let told = server.ctl(&["--json", "status"]);
    let told: serde_json::Value = serde_json::from_str(told.done()).unwrap();
    let workers = told["status"]["workers"].as_array().unwrap();
    workers
        .iter()
        .map(|worker| worker["connections"].as_u64().unwrap())
        .sum()
}

#[test]
fn http_over_a_unix_socket() {
    if lacks(&[program("nginx")]) {
        return;
    }
    let server = app().unix().start();
    let upstream = address(&server);
    let pairs = [("unix:/run/rcorn-app/web.sock", upstream.as_str())];
    behind_nginx("nginx/http-unix.conf", server, &pairs, |server, place| {
        let text = told(place).text();
        assert!(!text.contains("9.9.9.9"), "{text}");
        let mut wire = Wire::connect(place);
        wire.send("POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(wire.read_reply().text(), "abc");
        wait_until(server.deadline(), "nginx keeps a connection", || {
            connections(server) > 0
        });
    });
}

#[test]
fn http_over_kept_connections() {
    if lacks(&[program("nginx")]) {
        return;
    }
    let server = app().start();
    let upstream = format!("server {}", address(&server));
    let pairs = [("server 127.0.0.1:8000", upstream.as_str())];
    behind_nginx(
        "nginx/http-keepalive.conf",
        server,
        &pairs,
        |server, place| {
            let text = told(place).text();
            assert!(!text.contains("9.9.9.9"), "{text}");
            for _ in 0..50 {
                assert_eq!(Wire::connect(place).get("/hello").status, 200);
            }
            // The requests came one at a time, so that one connection was enough.
            wait_until(server.deadline(), "nginx keeps a connection", || {
                (1..=2).contains(&connections(server))
            });
        },
    );
}

#[test]
fn uwsgi_pass() {
    if lacks(&[program("nginx")]) {
        return;
    }
    let server = app().args(["--protocol", "uwsgi"]).start();
    let upstream = address(&server);
    let pairs = [("127.0.0.1:8001;", &*format!("{upstream};"))];
    behind_nginx("nginx/uwsgi.conf", server, &pairs, |_server, place| {
        told(place);
        let mut wire = Wire::connect(place);
        wire.send("POST /read_all HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(wire.read_reply().text(), "abc");
    });
}

/// The forwarding fields count only from those in `--forwarded-allow-ips`.
#[test]
fn only_a_proxy_that_is_named_says_how_the_client_came() {
    for (allowed, scheme) in [("127.0.0.1", "https"), ("10.0.0.5", "http")] {
        let server = app().args(["--forwarded-allow-ips", allowed]).start();
        let mut wire = server.connect();
        wire.send("GET /types HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n");
        let text = wire.read_reply().text();
        let line = format!("wsgi.url_scheme=str:{scheme}");
        assert!(text.lines().any(|shown| shown == line), "{line} in\n{text}");
        server.stop();
    }
}
