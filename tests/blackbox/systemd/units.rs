//! The units in `packaging/systemd`: sound, restrictive, and consistent with each other.

use std::fs;
use std::process::Command;

use crate::support::{lacks, program};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd");

/// What systemd says of units in a folder.
fn verified(folder: &str, units: &[&str]) -> String {
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(units.iter().map(|unit| format!("{folder}/{unit}")))
        .env("SYSTEMD_UNIT_PATH", format!("{folder}:"))
        .output()
        .expect("systemd-analyze (Debian: systemd); .ci/run installs it");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_units_are_sound() {
    if lacks(&[program("systemd-analyze")]) {
        return;
    }
    let text = verified(FOLDER, &["rcorn@example.service", "rcorn@example.socket"]);
    // Where rcorn is not installed its path is not executable; nothing else may be reported.
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("rcorn") && !line.contains("is not executable"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(!text.contains("Failed to load"), "{text}");
}

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
    is_restricted(&format!("{FOLDER}/rcorn@.service"), 20);
}

fn is_restricted(unit: &str, threshold: u32) {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={threshold}"))
        .arg(unit)
        .output()
        .expect("systemd-analyze (Debian: systemd); .ci/run installs it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("Overall exposure level"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The drop-in for TLS: sound, and it adds one right.
#[test]
fn with_tls_the_service_may_use_low_ports_too() {
    if lacks(&[program("systemd-analyze")]) {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let at = folder.path().display().to_string();
    let drop_in = fs::read_to_string(format!("{FOLDER}/tls.conf")).unwrap();
    fs::copy(
        format!("{FOLDER}/rcorn@.service"),
        format!("{at}/rcorn@.service"),
    )
    .unwrap();
    let place = format!("{at}/rcorn@example.service.d");
    fs::create_dir(&place).unwrap();
    let check = |drop_in: &str| {
        fs::write(format!("{place}/tls.conf"), drop_in).unwrap();
        let text = verified(&at, &["rcorn@example.service"]);
        let lines = text.lines().filter(|line| line.contains("rcorn"));
        let lines = lines.filter(|line| !line.contains("is not executable"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(check(&drop_in), Vec::<String>::new());
    // It is read.
    assert!(!check(&drop_in.replace("tls.crt:", "tls/crt:")).is_empty());
    // As one file: `security` reads no drop-ins of files.
    let service = fs::read_to_string(format!("{FOLDER}/rcorn@.service")).unwrap();
    fs::write(format!("{at}/rcorn@.service"), service + &drop_in).unwrap();
    is_restricted(&format!("{at}/rcorn@.service"), 20);
    // The paths that its comment names are those of systemd.
    for name in ["tls.crt", "tls.key"] {
        assert!(drop_in.contains(&format!("/run/credentials/rcorn@shop.service/{name}\n")));
        assert!(drop_in.contains(&format!("\nLoadCredential={name}:/")));
    }
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
