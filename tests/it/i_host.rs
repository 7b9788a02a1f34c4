//! The host: addresses, pid file, environment, logs, processes and their titles, what an idle server costs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use crate::support::{Deadline, Place, Server, Wire, title, wait_until};

#[test]
fn titles_tell_who_is_who() {
    let server = Server::app("cases:app")
        .args(["-w", "1", "-n", "shop"])
        .start();
    let worker = server.wait_workers(1)[0];
    assert_eq!(title(worker), "rcorn: worker [shop]");
    assert_eq!(title(server.pid()), "rcorn: master [shop]");
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
        .args([
            "--pythonpath",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        ])
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
fn the_pid_file_is_the_arbiters() {
    let server = Server::app("cases:app")
        .args([
            "-p",
            "r.pid",
            "--pythonpath",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
        ])
        .file("unused", "")
        .start();
    server.wait_workers(1);
    let path = server.directory().join("r.pid");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{}\n", server.pid())
    );
    let second = Server::app("cases:app")
        .args(["-p", path.to_str().unwrap()])
        .allow("Already running")
        .start()
        .exit();
    assert_eq!(second.code(), Some(1));
    assert!(
        second
            .text()
            .contains(&format!("Already running on PID {}", server.pid())),
        "{}",
        second.text()
    );
    server.stop();
    assert!(!path.exists());
}

#[test]
fn variables_of_the_command_line_reach_the_app_before_its_import() {
    let module = "import os\nSEEN = os.environ['GREETING']\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [SEEN.encode()]\n";
    let server = Server::app("m:app")
        .file("m.py", module)
        .args(["-e", "GREETING=hi there"])
        .start();
    assert_eq!(server.get("/").text(), "hi there");
    server.stop();
}

#[test]
fn systemd_sockets_are_used() {
    // The test's socket is descriptor 3 when it is the only one inherited; LISTEN_PID must be the server's
    // own, which only a shell that execs can know.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = format!(
        "exec 3<&0; exec </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec {} --chdir {} cases:app",
        env!("CARGO_BIN_EXE_rcorn"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps"),
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
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_access_log_has_gunicorns_form() {
    let format = r#"%(h)s %(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %({x-in}i)s %({content-type}o)s %({path_info}e)s %(p)s "%(f)s" "%(a)s""#;
    let server = Server::app("cases:app")
        .args(["--access-logfile", "-", "--access-logformat", format])
        .start();
    let mut wire = server.connect();
    wire.send("GET /hel%6co?x=1 HTTP/1.1\r\nHost: x\r\nX-In: v\"w\r\nUser-Agent: me\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    let worker = server.workers()[0];
    server.log().expect(&format!(
        "127.0.0.1 GET /hello x=1 HTTP/1.1 200 3 v\\\"w text/plain /hello <{worker}> \"-\" \"me\""
    ));
    server.stop();
}

#[test]
fn an_idle_server_does_nothing_and_is_small() {
    let server = Server::app("cases:app").args(["-w", "4"]).start();
    let mut everyone = server.wait_workers(4);
    server.log().expect_count("Booting worker", 4);
    assert_eq!(server.get("/hello").status, 200);
    everyone.push(server.pid());
    let switches = || -> u64 {
        everyone
            .iter()
            .map(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                let line = status
                    .lines()
                    .find(|line| line.starts_with("voluntary_ctxt_switches"))
                    .unwrap();
                line.split_whitespace()
                    .nth(1)
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
            })
            .sum()
    };
    // Until the workers have settled in their waits after the boot.
    let mut before = switches();
    wait_until(server.deadline(), "quiet", || {
        let pause = Deadline::after(Duration::from_millis(300));
        let waited = nix::poll::poll(&mut [], pause.poll_timeout()).unwrap();
        let now = switches();
        waited == 0 && std::mem::replace(&mut before, now) == now
    });
    let quiet = Deadline::after(Duration::from_secs(2));
    let idle = nix::poll::poll(&mut [], quiet.poll_timeout()).unwrap();
    // The arbiter looks once a `timeout` (30 s); nobody else wakes.
    let woken = switches() - before;
    assert!(
        idle == 0 && woken <= 1,
        "an idle server woke up {woken} times"
    );
    let resident = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = resident
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap()
        .to_owned();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 4096, "the arbiter has {kib} KiB");
    server.stop();
}

#[test]
fn privileges_are_gone_before_the_app_is_imported() {
    if !nix::unistd::geteuid().is_root() || !std::path::Path::new("/usr/bin/python3").exists() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let app = "import os\nATIMPORT = (os.getuid(), os.geteuid(), os.getgid(), os.getgroups())\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    now = (os.getuid(), os.geteuid(), os.getgid(), os.getgroups())\n    mask = os.umask(0)\n    os.umask(mask)\n    return [repr((ATIMPORT, now, mask)).encode()]\n";
    fs::write(folder.path().join("m.py"), app).unwrap();
    let server = Server::app("m:app")
        .unbound()
        .python("/usr/bin/python3")
        .args([
            "--bind",
            &format!("unix:{}", at("web")),
            "--pid",
            &at("pid"),
        ])
        .args(["--user", "65534", "--group", "65534", "--umask", "0o027"])
        .args(["--chdir", &at("")])
        .start();
    server.wait_serving(1);
    let place = Place::Unix(folder.path().join("web"));
    assert_eq!(
        Wire::connect(&place).get("/").text(),
        "((65534, 65534, 65534, [65534]), (65534, 65534, 65534, [65534]), 23)"
    );
    // The proxy's socket is the workers'; the pid file is not: who may write it decides whom root signals.
    let owner = |name: &str| fs::metadata(at(name)).unwrap().uid();
    assert_eq!((owner("web"), owner("pid")), (65534, 0));
    server.stop();
    assert!(!folder.path().join("web").exists() && !folder.path().join("pid").exists());
}
