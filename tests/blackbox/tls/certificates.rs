//! Certificates: which one a client gets, how they change, and what becomes of bad ones.

use std::fs;

use nix::sys::signal::Signal;

use super::{APP, Client, Pair, base64, port, server};
use crate::support::{Once, Server, wait_until};

/// Puts a file in the place of another at once, as certbot does.
fn replace(server: &Server, name: &str, text: &str) {
    let path = server.directory().join(name);
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

/// The certificate that a new connection gets.
fn served(server: &Server, sni: &str) -> String {
    Client::of(server, &[&format!("sni={sni}")]).certificate()
}

#[test]
fn the_name_that_a_client_asks_for_decides() {
    let (shop, blog) = (Pair::of(&["shop.example"]), Pair::of(&["*.blog.example"]));
    let server = server(&shop)
        .file("blog.pem", blog.certificate.as_str())
        .file("blog.key", blog.key.as_str())
        .args(["--certificate", "blog.pem=blog.key"])
        .start();
    for (sni, pair) in [
        ("shop.example", &shop),
        ("a.blog.example", &blog),
        ("other.example", &shop),
    ] {
        assert_eq!(
            served(&server, sni),
            base64(pair.certificate.as_bytes()),
            "{sni}"
        );
    }
    server.stop();
}

#[test]
fn changed_files_are_served_without_a_reload() {
    let (old, new) = (Pair::of(&["old.example"]), Pair::of(&["new.example"]));
    let server = server(&old)
        .allow("have changed, and cannot be used")
        .start();
    let mut kept = Client::of(&server, &[]);
    let before = kept.environ("/");
    // The certificate alone does not fit the key.
    replace(&server, "cert.pem", &new.certificate);
    server
        .log()
        .expect("The files of certificates have changed, and cannot be used; those before stay: ");
    assert_eq!(served(&server, "x"), base64(old.certificate.as_bytes()));
    let status = server.status();
    assert_eq!(status["front_counts"]["refused_renewals"], 1);
    replace(&server, "key.pem", &new.key);
    server
        .log()
        .expect("The certificates have changed, and are in force.");
    assert_eq!(served(&server, "x"), base64(new.certificate.as_bytes()));
    assert_eq!(
        server.status()["certificates"][0]["names"][0],
        "new.example"
    );
    // Nobody who was connected has noticed, and no worker was replaced.
    let after = kept.environ("/");
    assert_eq!(after["REMOTE_PORT"], before["REMOTE_PORT"]);
    assert_eq!(after["pid"], before["pid"]);
    drop(kept);
    server.stop();
}

#[test]
fn a_reload_with_a_bad_pair_changes_nothing() {
    let (old, new) = (Pair::of(&["old.example"]), Pair::of(&["new.example"]));
    let server = server(&old)
        .args(["--reload-watch", "0.1"])
        .allow("Reload refused")
        .allow("have changed, and cannot be used")
        .start();
    let workers = server.wait_workers(1);
    replace(&server, "cert.pem", &new.certificate);
    server.signal(Signal::SIGHUP);
    let line = server.log().expect("Reload refused, nothing has changed: ");
    assert!(
        line.contains("cert.pem") && line.contains("hint: "),
        "{line}"
    );
    assert_eq!(served(&server, "x"), base64(old.certificate.as_bytes()));
    assert_eq!(server.workers(), workers);
    replace(&server, "key.pem", &new.key);
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    let expected = base64(new.certificate.as_bytes());
    wait_until(server.deadline(), "the new one is served", || {
        served(&server, "x") == expected
    });
    server.stop();
}

/// What is wrong with a certificate ends a start, and `--check-config` finds it.
#[test]
fn bad_files_are_found_before_anything_is_served() {
    let (one, two) = (Pair::of(&["a"]), Pair::of(&["b"]));
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("m.py", APP);
    write("cert.pem", &one.certificate);
    write("key.pem", &one.key);
    write("other.key", &two.key);
    write("empty.pem", "");
    for (certificate, key, reason) in [
        ("cert.pem", "other.key", "does not fit the certificate"),
        ("missing.pem", "key.pem", "No such file or directory"),
        ("empty.pem", "key.pem", "has no certificate"),
        ("cert.pem", "empty.pem", "has no"),
    ] {
        let words = ["--certfile", certificate, "--keyfile", key, "m:app"];
        for first in [&["--check-config"][..], &["-b", "127.0.0.1:0"]] {
            let left = Once::rcorn(first.iter().chain(&words).copied())
                .within(folder.path())
                .run();
            assert_eq!(left.status.code(), Some(1), "{left:?}");
            let error = left.errors.lines().last().unwrap_or_default();
            assert!(error.starts_with("rcorn: error: "), "{left:?}");
            assert!(
                error.contains(reason) && error.contains("hint: "),
                "{left:?}"
            );
        }
    }
    let good = [
        "--check-config",
        "--certfile",
        "cert.pem",
        "--keyfile",
        "key.pem",
        "m:app",
    ];
    let left = Once::rcorn(good).within(folder.path()).run();
    assert_eq!(left.status.code(), Some(0), "{left:?}");
}

#[test]
fn metrics_tell_for_how_long_a_certificate_is_valid() {
    let server = server(&Pair::of(&["localhost"]))
        .args(["--status-bind", "unix:status"])
        .start();
    Client::of(&server, &[]).environ("/");
    let get = || {
        let socket = server.directory().join("status");
        let mut wire = crate::support::Wire::connect(&crate::support::Place::Unix(socket));
        wire.get("/metrics").text()
    };
    wait_until(server.deadline(), "the front has counted", || {
        get().contains("rcorn_front_handshakes_total 1\n")
    });
    let metrics = get();
    let file = server.directory().join("cert.pem");
    let days = format!("rcorn_certificate_days{{file=\"{}\"}} ", file.display());
    assert!(metrics.contains(&days), "{metrics}");
    assert!(metrics.contains("rcorn_fronts{stage=\"serving\"} 1\n"));
    let shown = server.ctl(&["status"]).out;
    assert!(shown.contains("certificate "), "{shown}");
    assert!(shown.contains(&format!("https://127.0.0.1:{}", port(&server))));
    server.stop();
}
