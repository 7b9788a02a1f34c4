//! From plain HTTP to TLS.

use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Client, Pair, server};
use crate::support::{Place, Wire};

#[test]
fn plain_addresses_redirect_but_for_challenges() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = listener.local_addr().unwrap();
    let listener = OwnedFd::from(listener);
    let number = listener.as_raw_fd();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let pair = Pair::of(&["localhost"]);
    let server = server(&pair)
        .unbound()
        .inherit(number)
        .args(["-b", &format!("https://127.0.0.1:{port}"), "-b"])
        .args([format!("fd://{number}")])
        .args(["--redirect-https", "--acme-directory", "acme"])
        .args(["--hsts", "31536000"])
        .start();
    drop(listener);
    server.wait_workers(1);
    let token = server
        .directory()
        .join("acme/.well-known/acme-challenge/token");
    fs::write(token, "proof").unwrap();
    let mut wire = Wire::connect(&Place::Tcp(plain));
    wire.send("GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let reply = wire.read_reply();
    assert_eq!(reply.status, 308);
    let location = format!("https://shop.example:{port}/a?b=c");
    assert_eq!(reply.field("Location"), Some(location.as_str()));
    let mut wire = Wire::connect(&Place::Tcp(plain));
    let reply = wire.get("/.well-known/acme-challenge/token");
    assert_eq!((reply.status, reply.text().as_str()), (200, "proof"));
    let mut client = Client::at(port, &[], server.deadline());
    let (status, fields, _) = client.try_get("/").unwrap();
    assert_eq!(status, 200);
    assert_eq!(fields["strict-transport-security"], "max-age=31536000");
    drop(client);
    server.stop();
}
