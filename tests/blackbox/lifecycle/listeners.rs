//! Addresses: several of all kinds, one in use, sockets that systemd passes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::support::{APPS, Place, Server, Wire};

#[test]
fn an_address_in_use_is_tried_five_times_then_exit_1() {
    let first = Server::app("hello:app").start();
    let Place::Tcp(address) = first.place().clone() else {
        panic!("a TCP place")
    };
    let ended = Server::app("hello:app")
        .unbound()
        .args(["--bind", &address.to_string()])
        .allow("Connection in use")
        .allow("Address already in use")
        .allow("Can't connect to")
        .start()
        .exit();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
    let line = format!("Connection in use: ('127.0.0.1', {})", address.port());
    assert_eq!(ended.text().matches(&line).count(), 5, "{}", ended.text());
    assert!(
        ended.text().contains("[Errno 98] Address already in use"),
        "{}",
        ended.text()
    );
    assert!(
        ended
            .text()
            .contains("hint: another server has this address"),
        "{}",
        ended.text()
    );
    first.stop();
}

#[test]
fn orders_that_come_while_an_address_is_in_use_are_done_later() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::app("hello:app")
        .unbound()
        .args(["--bind", &other.local_addr().unwrap().to_string()])
        .allow("Connection in use")
        .allow("Address already in use")
        .start();
    server.log().expect("Connection in use");
    server.signal(Signal::SIGTTIN);
    server.signal(Signal::SIGUSR1);
    drop(other);
    server.log().expect("Handling signal: ttin");
    server.log().expect("Handling signal: usr1");
    server.wait_workers(2);
    server.stop();
}

#[test]
fn several_addresses_of_all_kinds_are_served() {
    let server = Server::app("cases:app")
        .unbound()
        .args([
            "-b",
            "127.0.0.1:0",
            "-b",
            "[::1]:0",
            "-b",
            "unix:s.sock",
            "-m",
            "0117",
        ])
        .args(["--pythonpath", APPS])
        .file("unused", "")
        .start();
    let line = server.log().expect("Listening at: ");
    let listed = line
        .split("Listening at: ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let shown: Vec<&str> = listed.split(',').collect();
    assert_eq!(shown.len(), 3, "{line}");
    server.wait_workers(1);
    server.log().expect("Booting worker");
    for address in &shown {
        let place = match address.strip_prefix("http://") {
            Some(tcp) => Place::Tcp(tcp.parse().unwrap()),
            None => Place::Unix(server.directory().join("s.sock")),
        };
        assert_eq!(Wire::connect(&place).get("/hello").status, 200, "{address}");
    }
    let mode = fs::metadata(server.directory().join("s.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let socket = server.directory().join("s.sock");
    server.stop();
    assert!(!socket.exists());
}

#[test]
fn systemd_sockets_are_used() {
    // The test's socket is descriptor 3 when it is the only one inherited; LISTEN_PID must be the
    // server's own, which only a shell that execs can know.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = format!(
        "exec 3<&0; exec </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec {} --chdir {} cases:app",
        env!("CARGO_BIN_EXE_rcorn"),
        APPS,
    );
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(std::os::fd::OwnedFd::from(listener))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let place = Place::Tcp(address);
    assert_eq!(Wire::connect(&place).get("/hello").text(), "OK\n");
    let listing = Wire::connect(&place).get("/types").text();
    assert!(
        listing.contains(&format!("SERVER_PORT=str:{}", address.port())),
        "{listing}"
    );
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}
