//! The units in `packaging/systemd`: sound, restrictive, and consistent with each other.

use std::fs;
use std::process::Command;

use crate::support::{lacks, program};

#[test]
fn the_units_are_sound() {
    if lacks(&[program("systemd-analyze")]) {
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(
            ["rcorn@example.service", "rcorn@example.socket"]
                .map(|unit| format!("{folder}/{unit}")),
        )
        .env("SYSTEMD_UNIT_PATH", format!("{folder}:"))
        .output()
        .expect("systemd-analyze (Debian: systemd); .ci/run installs it");
    let text = String::from_utf8(output.stderr).unwrap();
    // Where rcorn is not installed its path is not executable; nothing else may be reported.
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("rcorn") && !line.contains("is not executable"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(!text.contains("Failed to load"), "{text}");
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd");

/// The value of a line of the service.
fn says(name: &str) -> String {
    let text = fs::read_to_string(format!("{FOLDER}/rcorn@.service")).unwrap();
    let begins = format!("{name}=");
    let line = text.lines().find_map(|line| line.strip_prefix(&begins));
    line.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

#[test]
fn the_service_may_do_little() {
    if lacks(&[program("systemd-analyze")]) {
        return;
    }
    // Its exposure in tenths: 15 now, and not above 20, which systemd still calls OK.
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(format!("{FOLDER}/rcorn@.service"))
        .output()
        .expect("systemd-analyze (Debian: systemd); .ci/run installs it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("Overall exposure level"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn its_parts_fit_together() {
    // rcorn learns of the store by the variable, which systemd sets from 254 on.
    assert_eq!(
        says("Environment"),
        format!("FDSTORE={}", says("FileDescriptorStoreMax"))
    );
    // A stored unix socket is of use only as long as its path is there.
    assert_eq!(says("RuntimeDirectoryPreserve"), "restart");
    let settings =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rcorn.yaml")).unwrap();
    let graceful = settings
        .lines()
        .find_map(|line| line.strip_prefix("#graceful_timeout: "));
    let graceful: u32 = graceful.unwrap().parse().unwrap();
    assert!(says("TimeoutStopSec").parse::<u32>().unwrap() > graceful);
    let control = format!(
        "{}/control",
        says("RuntimeDirectory").replace("rcorn", "/run/rcorn")
    );
    assert!(says("ExecStart").contains(&format!("--control-socket {control} ")));
    assert!(says("ExecReload").contains(&format!("--socket {control} reload --wait")));
}
