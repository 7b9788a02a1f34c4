//! Listeners that send clients to HTTPS.

use std::fs::File;
use std::os::fd::OwnedFd;

use rcorn_front_link::{Configuration, ListenerKind, RedirectHttps};

use crate::support::client::plain;
use crate::support::front::{Front, Options};
use crate::support::worker::echo;

#[test]
fn all_but_challenges_is_redirected() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tok-en_1"), "tok-en_1.thumb").unwrap();
    std::fs::write(folder.path().join("not.a.token"), "x").unwrap();
    let worker = echo();
    let configuration = Configuration {
        redirect_https: RedirectHttps {
            port: Some(8443),
            hosts: vec!["shop.example".to_owned()],
        },
        hsts: Some("max-age=1".to_owned()),
        ..Configuration::default()
    };
    let options = Options {
        kinds: vec![ListenerKind::Redirect],
        challenges: Some(OwnedFd::from(File::open(folder.path()).unwrap())),
        ..Options::default()
    };
    let front = Front::start(&worker, configuration, options);
    let get = |host: &str, target: &str| {
        let mut client = plain(front.address());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let reply = client.reply();
        assert!(client.is_closed());
        reply
    };
    let reply = get("shop.example:80", "/a/b?c=%0d%0a");
    assert_eq!(reply.status, 308);
    let location = "https://shop.example:8443/a/b?c=%0d%0a";
    assert_eq!(reply.field("location"), Some(location));
    // Over plain HTTP it has no meaning (RFC 6797 section 7.2).
    assert_eq!(reply.field("strict-transport-security"), None);
    assert_eq!(get("evil.example", "/").status, 421);
    let challenge = get("any.example", "/.well-known/acme-challenge/tok-en_1");
    assert_eq!(
        (challenge.status, challenge.text()),
        (200, "tok-en_1.thumb")
    );
    for target in ["not.a.token", "..%2f", "../x", "none", ""] {
        let reply = get(
            "shop.example",
            &format!("/.well-known/acme-challenge/{target}"),
        );
        assert_eq!(reply.status, 404, "{target}");
    }
    let mut client = plain(front.address());
    client.send("POST /form HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc");
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.field("location")),
        (308, Some("https://shop.example:8443/form"))
    );
    assert!(worker.has_seen_all());
}

#[test]
fn without_a_directory_challenges_are_redirected_as_well() {
    let worker = echo();
    let options = Options {
        kinds: vec![ListenerKind::Redirect],
        ..Options::default()
    };
    let front = Front::start(&worker, Configuration::default(), options);
    let reply = plain(front.address()).get("/.well-known/acme-challenge/x");
    let location = "https://shop.example/.well-known/acme-challenge/x";
    assert_eq!(
        (reply.status, reply.field("location")),
        (308, Some(location))
    );
}
