//! USR2 with another build under the same name: one that takes over, one that cannot, one that
//! hangs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{Connections, Load, Need, OtherBuild, Server, lacks};

/// The executable that servers of these tests are started as, and that is replaced under them.
struct Installed {
    folder: tempfile::TempDir,
}

impl Installed {
    fn new(build: &Path) -> Self {
        let folder = tempfile::TempDir::new().unwrap();
        let installed = Self { folder };
        installed.install(build);
        installed
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("rcorn")
    }

    /// Written by processes of their own: what this one forks meanwhile for another test would keep
    /// the file open for writing, and it could not be run (ETXTBSY, execve(2)).
    fn run(&self, script: &str, argument: &OsStr) {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-ec", script, "sh"]).arg(argument);
        let status = shell.current_dir(self.folder.path()).status();
        assert!(status.unwrap().success(), "{script}");
    }

    fn install(&self, build: &Path) {
        let script = "cp \"$1\" draft && chmod 755 draft && mv draft rcorn";
        self.run(script, build.as_os_str());
    }

    fn install_script(&self, text: &str) {
        let script =
            "printf '#!/bin/sh\\n%s\\n' \"$1\" >draft && chmod 755 draft && mv draft rcorn";
        self.run(script, OsStr::new(text));
    }
}

fn this_build() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rcorn"))
}

/// USR2 in place from the one build to the other, under load: no request is lost, and all workers
/// are replaced.
fn assert_takes_over(before: &Path, after: &Path) {
    let installed = Installed::new(before);
    let server = Server::app("cases:app")
        .program([installed.path()])
        .args(["-w", "2", "--upgrade", "in-place", "--reload-watch", "0.1"])
        .start();
    let old = server.wait_workers(2);
    let kept = Load::start(server.place(), "/hello", 4, Connections::Kept);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    installed.install(after);
    for generation in 2..5 {
        server.signal(Signal::SIGUSR2);
        server
            .log()
            .expect(&format!("Reloaded: generation {generation} serves."));
    }
    let new = server.wait_workers(2);
    assert!(old.iter().all(|worker| !new.contains(worker)));
    kept.stop().assert_clean();
    each.stop().assert_clean();
    server.stop();
}

#[test]
fn from_the_first_build_in_place_nothing_is_lost() {
    if lacks(&[Need::Build(OtherBuild::First)]) {
        return;
    }
    assert_takes_over(&OtherBuild::First.path(), &this_build());
}

#[test]
fn to_a_build_with_one_setting_more_and_back_nothing_is_lost() {
    if lacks(&[Need::Build(OtherBuild::Added)]) {
        return;
    }
    assert_takes_over(&this_build(), &OtherBuild::Added.path());
    assert_takes_over(&OtherBuild::Added.path(), &this_build());
}

#[test]
fn a_build_that_cannot_check_is_refused_before_the_exec() {
    if lacks(&[Need::Build(OtherBuild::First)]) {
        return;
    }
    let installed = Installed::new(&this_build());
    let server = Server::app("cases:app")
        .program([installed.path()])
        .args(["-w", "2", "--upgrade", "in-place"])
        .allow("Upgrade not started")
        .start();
    let workers = server.wait_workers(2);
    installed.install(&OtherBuild::First.path());
    server.signal(Signal::SIGUSR2);
    server.log().expect("this build cannot take over");
    assert_eq!(server.wait_workers(2), workers);
    server.stop();
}

#[test]
fn the_reason_of_a_build_that_cannot_take_over_is_logged() {
    let installed = Installed::new(&this_build());
    let server = Server::app("cases:app")
        .program([installed.path()])
        .args(["--upgrade", "in-place"])
        .allow("Upgrade not started")
        .start();
    let workers = server.wait_workers(1);
    installed.install_script("echo the hand-over is of protocol 6, this build reads 7; exit 1");
    server.signal(Signal::SIGUSR2);
    server
        .log()
        .expect("(the hand-over is of protocol 6, this build reads 7)");
    assert_eq!(server.wait_workers(1), workers);
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}

/// The loop goes on while a new build is checked: before, the stop began after the two seconds that
/// it may take.
#[test]
fn a_build_that_hangs_does_not_delay_a_stop() {
    let installed = Installed::new(&this_build());
    let server = Server::app("cases:app")
        .program([installed.path()])
        .args(["--upgrade", "in-place"])
        .start();
    server.wait_workers(1);
    installed.install_script("exec sleep 1000");
    server.signal(Signal::SIGUSR2);
    server.log().expect("Handling signal: usr2");
    // Would fail for "Upgrade not started: … it does not answer".
    server.stop();
}

/// Several states are handed over while the load goes on: each new build reads what it will get.
#[test]
fn two_orders_to_upgrade_are_one() {
    let installed = Installed::new(&this_build());
    let server = Server::app("cases:app")
        .program([installed.path()])
        .args(["-w", "2", "--upgrade", "in-place", "--reload-watch", "0.1"])
        .allow("Upgrade not started")
        .start();
    server.wait_workers(2);
    let each = Load::start(server.place(), "/hello", 2, Connections::Each);
    server.signal(Signal::SIGUSR2);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 2 serves.");
    each.stop().assert_clean();
    server.stop();
}
