//! The control socket: one for each instance, for its owner only, and unharmed by nonsense.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use crate::support::{Need, Server, ctl, lacks, program, wait_until};

#[test]
fn each_instance_has_its_own_socket_and_a_living_ones_is_not_replaced() {
    let one = Server::app("cases:app").start();
    let two = Server::app("cases:app").start();
    one.wait_workers(1);
    two.wait_workers(1);
    for server in [&one, &two] {
        assert_eq!(server.status()["pid"], server.pid().as_raw());
    }
    assert!(
        ctl(&["status"])
            .refused()
            .contains("several instances are running")
    );
    assert!(
        ctl(&["--pid", "1", "status"])
            .refused()
            .contains("no running instance")
    );
    one.stop();
    two.stop();

    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("control");
    let path = path.to_str().unwrap();
    // The socket of a crashed instance is replaced.
    drop(UnixListener::bind(path).unwrap());
    let named = Server::app("cases:app")
        .args(["--control-socket", path])
        .start();
    wait_until(named.deadline(), "the named one serves", || {
        let told = ctl(&["--socket", path, "status"]);
        told.out.contains("1 of 1 serving")
    });
    let second = Server::app("cases:app")
        .args(["--control-socket", path])
        .allow("belongs to an instance that runs")
        .start()
        .exit();
    assert_eq!(second.code(), Some(1), "{}", second.text());
    assert!(
        ctl(&["--socket", path, "status"])
            .done()
            .contains("1 of 1 serving")
    );
    named.stop();
    assert!(!std::path::Path::new(path).exists());
    let none = Server::app("cases:app")
        .args(["--no-control-socket"])
        .start();
    none.wait_workers(1);
    assert!(
        none.ctl(&["status"])
            .refused()
            .contains("no running instance")
    );
    none.stop();
}

#[test]
fn another_user_is_turned_away_whatever_the_permissions() {
    if lacks(&[Need::Root, program("/usr/bin/python3")]) {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let open: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let path = folder.path().join("control");
    let server = Server::app("cases:app")
        .args(["--control-socket", path.to_str().unwrap()])
        .args(["--control-socket-mode", "0666"])
        .start();
    server.wait_workers(1);
    let script = format!(
        r#"
import os, socket
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect({:?})
try:
    s.sendall(b'{{"stop":{{"quick":true}}}}\n')
except OSError:
    pass
print(s.recv(999).decode())
"#,
        path.to_str().unwrap()
    );
    let output = Command::new("/usr/bin/python3")
        .args(["-c", &script])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("not allowed"), "{text:?}");
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}

#[test]
fn nonsense_on_the_control_socket_hurts_nobody() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("control");
    let server = Server::app("cases:app")
        .args(["--control-socket", path.to_str().unwrap()])
        .start();
    server.wait_workers(1);
    let ask = |text: &[u8]| {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(text).unwrap();
        std::io::read_to_string(stream).unwrap()
    };
    assert!(ask(b"hello\n").contains("not understood"));
    assert!(ask(&[b'x'; 5000]).contains("too long"));
    // Clients that connect, send nothing, and leave.
    let idle: Vec<_> = (0..50)
        .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
        .collect();
    assert!(ask(b"\"status\"\n").contains("\"ok\":true"));
    drop(idle);
    // More clients than there is room for stay connected: a request is still answered.
    let idle: Vec<_> = (0..80)
        .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
        .collect();
    assert!(ask(b"\"status\"\n").contains("\"ok\":true"));
    drop(idle);
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}
