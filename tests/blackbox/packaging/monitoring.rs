//! The alert rules and the dashboard: what they ask for is there.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::support::Place;
use crate::support::{ROOT, Wire, get, lacks, program};
use crate::tls;

const FOLDER: &str = "packaging/monitoring";

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    parts
        .filter(|part| part.starts_with("rcorn_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_metric_of_rules_and_dashboard_exists() {
    // With TLS there are more.
    let server = tls::server(&tls::Pair::of(&["localhost"]))
        .args(["--status-bind", "127.0.0.1:0"])
        .start();
    server.wait_serving(1);
    let line = server.log().expect("Status at: http://");
    let (_, address) = line.split_once("http://").unwrap();
    let mut wire = Wire::connect(&Place::Tcp(address.trim().parse().unwrap()));
    wire.send(get("/metrics"));
    let there = names(&wire.read_reply().text());
    for file in [
        "alerts.yml",
        "alerts_test.yml",
        "dashboard.json",
        "README.md",
    ] {
        let text = fs::read_to_string(format!("{ROOT}/{FOLDER}/{file}")).unwrap();
        let asked = names(&text);
        for name in &asked {
            let is_there = there.contains(name)
                || ["_bucket", "_sum"]
                    .iter()
                    .any(|end| there.contains(&format!("{name}{end}")));
            assert!(is_there, "{name} in {file}");
        }
        assert!(!asked.is_empty(), "{file}");
    }
    let text = fs::read_to_string(format!("{ROOT}/{FOLDER}/dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    server.stop();
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    if lacks(&[program("promtool")]) {
        return;
    }
    for words in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let told = Command::new("promtool")
            .args(words)
            .current_dir(format!("{ROOT}/{FOLDER}"))
            .output()
            .unwrap();
        assert!(told.status.success(), "{told:?}");
    }
}
