//! What the app sees of a client with TLS.

use serde_json::Value;

use super::{APP, Authority, Client, Pair, base64, port, server};
use crate::support::{Once, Server, lacks, program};

fn text<'v>(environ: &'v Value, name: &str) -> &'v str {
    environ[name].as_str().unwrap_or_default()
}

#[test]
fn the_environ_tells_of_client_server_and_tls() {
    let server = server(&Pair::of(&["shop.example"])).start();
    let mut client = Client::of(&server, &["sni=shop.example"]);
    let environ = client.environ("/a%20b?c=d");
    let port = port(&server).to_string();
    for (name, value) in [
        ("wsgi.url_scheme", "https"),
        ("HTTPS", "on"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_NAME", "127.0.0.1"),
        ("SERVER_PORT", port.as_str()),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("PATH_INFO", "/a b"),
        ("QUERY_STRING", "c=d"),
        ("SSL_PROTOCOL", "TLSv1.3"),
        ("SSL_TLS_SNI", "shop.example"),
        ("SSL_CLIENT_VERIFY", "NONE"),
    ] {
        assert_eq!(text(&environ, name), value, "{name}");
    }
    assert!(text(&environ, "SSL_CIPHER").starts_with("TLS_"));
    assert!(text(&environ, "REMOTE_PORT").parse::<u16>().unwrap() > 0);
    assert_eq!(environ.get("SSL_CLIENT_CERT"), None);
    assert_eq!(environ.get("HTTP_RCORN_FRONT"), None);
    // Another client does not get what was remembered of this one.
    let mut other = Client::of(&server, &["sni=other.example"]);
    let others = other.environ("/a%20b?c=d");
    assert_eq!(text(&others, "SSL_TLS_SNI"), "other.example");
    assert_ne!(others["REMOTE_PORT"], environ["REMOTE_PORT"]);
    drop((client, other));
    server.stop();
}

#[test]
fn http_2_is_told_and_logged_as_such() {
    if lacks(&[program("curl")]) {
        return;
    }
    let server = server(&Pair::of(&["localhost"]))
        .args(["--access-logfile", "-"])
        .start();
    let url = format!("https://127.0.0.1:{}/", port(&server));
    let get = |version: &str| -> Value {
        let words = ["-sk", version, "--data", "12345", &url];
        serde_json::from_str(&Once::new("curl", words).run().done()).unwrap()
    };
    let environ = get("--http2");
    assert_eq!(text(&environ, "SERVER_PROTOCOL"), "HTTP/2.0");
    assert_eq!(environ["body"], 5);
    server.log().expect("\"POST / HTTP/2.0\" 200 ");
    let environ = get("--http1.1");
    assert_eq!(text(&environ, "SERVER_PROTOCOL"), "HTTP/1.1");
    server.log().expect("127.0.0.1 - - ");
    server.stop();
}

/// Some arrive at once with the head, others in pieces, and some before the app is called.
#[test]
fn bodies_without_a_length_arrive_whole() {
    if lacks(&[program("curl")]) {
        return;
    }
    for buffer in ["0", "1000", "1m"] {
        let server = server(&Pair::of(&["localhost"]))
            .args(["--request-buffer", buffer])
            .start();
        let url = format!("https://127.0.0.1:{}/", port(&server));
        for version in ["--http1.1", "--http2"] {
            for size in [0, 3, 5000, 300_000] {
                let words = ["-sk", version, "--upload-file", "-", &url];
                let told = Once::new("curl", words)
                    .input("x".repeat(size))
                    .run()
                    .done();
                let environ: Value = serde_json::from_str(&told).unwrap();
                assert_eq!(environ["body"], size, "{version}, {buffer}: {told}");
            }
        }
        server.stop();
    }
}

/// curl decodes with the libraries of those who have defined the encodings.
#[test]
fn responses_are_compressed_if_that_is_asked_for() {
    if lacks(&[program("curl")]) {
        return;
    }
    let features = Once::new("curl", ["--version"]).run().done();
    for (arguments, accepted, expected) in [
        (&["--compress", "gzip"][..], "gzip, br, zstd", Some("gzip")),
        (
            &["--compress", "zstd,br,gzip"],
            "gzip, br, zstd",
            Some("zstd"),
        ),
        (&["--compress", "zstd,br,gzip"], "gzip, br", Some("br")),
        (&["--compress", "br,gzip"], "gzip, zstd, br", Some("br")),
        (
            &["--compress", "zstd,br,gzip"],
            "gzip;q=0.9, br;q=0.8",
            Some("gzip"),
        ),
        (&["--compress", "zstd,br,gzip"], "identity", None),
        (
            &["--compress=gzip", "--compress-types=image/png"],
            "gzip",
            None,
        ),
        (&[], "gzip, br, zstd", None),
    ] {
        // Those that this curl was built with.
        let library = match expected {
            Some("br") => "brotli/",
            Some("zstd") => "zstd/",
            Some(_) | None => "zlib/",
        };
        if !features.contains(library) {
            continue;
        }
        let server = server(&Pair::of(&["localhost"])).args(arguments).start();
        // Its answer is longer than the default of compress_min_size.
        let url = format!("https://127.0.0.1:{}/?{}", port(&server), "x".repeat(1024));
        let field = format!("Accept-Encoding: {accepted}");
        let words = ["-sk", "-D", "-", "--compressed", "-H", &field, &url];
        let told = Once::new("curl", words).run().done();
        let mut lines = told.lines().map(str::to_ascii_lowercase);
        let encoding =
            lines.find_map(|line| line.strip_prefix("content-encoding: ").map(str::to_owned));
        assert_eq!(encoding.as_deref(), expected, "{arguments:?}: {told}");
        assert!(told.contains("wsgi.url_scheme"), "{told}");
        server.stop();
    }
}

/// Without TLS, for clients that begin with it.
#[test]
fn http_2_is_spoken_without_tls_if_that_is_asked_for() {
    if lacks(&[program("curl")]) {
        return;
    }
    let server = Server::app("m:app")
        .file("m.py", APP)
        .args(["--h2c"])
        .start();
    let url = format!("http://127.0.0.1:{}/", port(&server));
    let get = |version: &str| -> Value {
        let told = Once::new("curl", ["-s", version, &url]).run().done();
        serde_json::from_str(&told).unwrap()
    };
    let environ = get("--http2-prior-knowledge");
    assert_eq!(text(&environ, "SERVER_PROTOCOL"), "HTTP/2.0");
    assert_eq!(text(&environ, "wsgi.url_scheme"), "http");
    assert_eq!(text(&environ, "REMOTE_ADDR"), "127.0.0.1");
    assert_eq!(environ.get("HTTPS"), None);
    let environ = get("--http1.1");
    assert_eq!(text(&environ, "SERVER_PROTOCOL"), "HTTP/1.1");
    server.stop();
}

/// Only the front may say who a client is, and a client is trusted as if there were no front.
#[test]
fn clients_cannot_speak_for_the_front() {
    let facts = "v=1; for=192.0.2.1:1; to=192.0.2.2:2; proto=http; http=1";
    let fields = format!("/ Rcorn-Front: {facts}|X-Forwarded-Proto: http|SCRIPT_NAME: /app");
    let server = server(&Pair::of(&["localhost"]))
        .args(["--forwarded-allow-ips", "192.0.2.1"])
        .start();
    let mut client = Client::of(&server, &[]);
    let environ = client.environ(&fields);
    assert_eq!(text(&environ, "REMOTE_ADDR"), "127.0.0.1");
    assert_eq!(text(&environ, "wsgi.url_scheme"), "https");
    assert_eq!(text(&environ, "SCRIPT_NAME"), "");
    assert_eq!(environ.get("HTTP_RCORN_FRONT"), None);
    drop(client);
    server.stop();
    // Without TLS the field is one that no app sees.
    let plain = Server::app("m:app").file("m.py", APP).start();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nRcorn-Front: {facts}\r\n\r\n");
    let mut wire = plain.connect();
    wire.send(request);
    let reply = wire.read_reply();
    assert!(!reply.text().contains("192.0.2.1"), "{}", reply.text());
    plain.stop();
}

#[test]
fn a_trusted_proxy_may_forward_over_tls() {
    let server = server(&Pair::of(&["localhost"])).start();
    let mut client = Client::of(&server, &[]);
    let environ = client.environ("/app/x SCRIPT_NAME: /app");
    assert_eq!(text(&environ, "SCRIPT_NAME"), "/app");
    assert_eq!(text(&environ, "PATH_INFO"), "/x");
    drop(client);
    server.stop();
}

#[test]
fn the_clients_certificate_has_the_names_of_mod_ssl() {
    let authority = Authority::new();
    let (known, stranger) = (authority.sign("alice"), Authority::new().sign("mallory"));
    for cert_reqs in ["optional", "2"] {
        let server = server(&Pair::of(&["localhost"]))
            .file("ca.pem", authority.pem())
            .file("alice.pem", known.certificate.as_str())
            .file("alice.key", known.key.as_str())
            .file("mallory.pem", stranger.certificate.as_str())
            .file("mallory.key", stranger.key.as_str())
            .args(["--ca-certs", "ca.pem", "--cert-reqs", cert_reqs])
            .start();
        let path = |name: &str| server.directory().join(name).display().to_string();
        let with = |name: &str| {
            let options = [
                format!("cert={}", path(&format!("{name}.pem"))),
                format!("key={}", path(&format!("{name}.key"))),
            ];
            Client::of(&server, &options.each_ref().map(String::as_str))
        };
        let environ = with("alice").environ("/");
        for (name, value) in [
            ("SSL_CLIENT_VERIFY", "SUCCESS"),
            ("SSL_CLIENT_S_DN_CN", "alice"),
            ("SSL_CLIENT_S_DN_O", "Shop, Inc."),
            ("SSL_CLIENT_I_DN_CN", "Test Authority"),
        ] {
            assert_eq!(text(&environ, name), value, "{name}");
        }
        let pem = text(&environ, "SSL_CLIENT_CERT");
        assert_eq!(base64(pem.as_bytes()), base64(known.certificate.as_bytes()));
        assert!(text(&environ, "SSL_CLIENT_S_DN").contains("O=Shop\\, Inc."));
        with("mallory").try_get("/").unwrap_err();
        let without = Client::of(&server, &[]).try_get("/");
        assert_eq!(without.is_ok(), cert_reqs == "optional", "{without:?}");
        server.stop();
    }
}
