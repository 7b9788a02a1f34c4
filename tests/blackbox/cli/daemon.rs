//! `--daemon`.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{APPS, Deadline, Pidfd, Place, Wire, children, title, wait_until};

#[test]
fn a_daemon_is_in_the_background_once_its_address_is_bound() {
    let folder = tempfile::TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let socket = at("web");
    let bind = format!("unix:{socket}");
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_rcorn"))
            .args(["--daemon", "--bind", &bind, "--pid", &at("pid")])
            .args(["--error-logfile", &at("log")])
            .args(["--chdir", APPS])
            .arg("cases:app")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let output = run();
    assert!(output.status.success(), "{output:?}");
    let pid = std::fs::read_to_string(at("pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    let end = Pidfd::open(pid).unwrap();
    // The pid file is taken: the error is printed where the command was given.
    let second = run();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("Already running on PID"), "{told}");
    let mut wire = Wire::connect(&Place::Unix(socket.into()));
    assert_eq!(wire.get("/hello").status, 200);
    // WINCH stops the workers, HUP starts them again.
    let workers = || {
        let children = children(pid);
        let is_worker = |child: &&nix::unistd::Pid| title(**child).starts_with("rcorn: worker");
        children.iter().filter(is_worker).count()
    };
    let deadline = Deadline::after(Duration::from_secs(30));
    nix::sys::signal::kill(pid, Signal::SIGWINCH).unwrap();
    wait_until(deadline, "no worker", || workers() == 0);
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    wait_until(deadline, "one worker", || workers() == 1);
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(end.wait(deadline), "the daemon does not end");
    for left in ["pid", "web"] {
        assert!(!std::path::Path::new(&at(left)).exists(), "{left} is left");
    }
    let log = std::fs::read_to_string(at("log")).unwrap();
    assert!(log.contains("Shutting down: Master"), "{log}");
}
