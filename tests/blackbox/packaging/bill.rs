//! The bill of materials (`CycloneDX` 1.5) that wheel and Debian package contain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::build::{build, run};
use crate::support::{ROOT, lacks, program};

/// The documents in the packages, made of the same sources.
fn bill_in_wheel(out: &Path) -> Value {
    let read = "
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
[bill] = [name for name in wheel.namelist() if name.endswith('.dist-info/sboms/rcorn.cdx.json')]
print(wheel.read(bill).decode())
";
    let wheel = build("wheel", out);
    let text = run(Command::new("python3").args(["-c", read]).arg(wheel));
    serde_json::from_str(&text).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Versions of the packages in the lock file.
fn locked() -> BTreeMap<String, BTreeSet<String>> {
    let lock = std::fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim_matches([' ', '=', '"']).to_owned()
        };
        found
            .entry(field("name"))
            .or_default()
            .insert(field("version"));
    }
    found
}

#[test]
fn it_names_what_is_compiled_in_and_nothing_else() {
    let out = tempfile::TempDir::new().unwrap();
    let bill = bill_in_wheel(out.path());
    assert_eq!(
        (text(&bill, "bomFormat"), text(&bill, "specVersion")),
        ("CycloneDX", "1.5")
    );
    let about = &bill["metadata"]["component"];
    assert_eq!(
        (text(about, "name"), text(about, "version")),
        ("rcorn", env!("CARGO_PKG_VERSION"))
    );
    let components = bill["components"].as_array().unwrap();
    let locked = locked();
    let mut refs = BTreeSet::from([text(about, "bom-ref")]);
    for component in components {
        let (name, version) = (text(component, "name"), text(component, "version"));
        assert!(locked[name].contains(version), "{name} {version}");
        assert!(component["licenses"][0]["expression"].is_string(), "{name}");
        let purl = format!("pkg:cargo/{name}@{version}");
        let is_ours = name.starts_with("rcorn");
        assert_eq!(
            text(component, "purl"),
            if is_ours { "" } else { purl.as_str() }
        );
        assert!(refs.insert(text(component, "bom-ref")), "{name} twice");
    }
    let has = |wanted: &str| components.iter().any(|one| text(one, "name") == wanted);
    // Of the executable, of the native modules, and of what is embedded compressed.
    for wanted in [
        "clap",
        "mio",
        "serde_json",
        "pyo3",
        "pyo3-ffi",
        "zlib-rs",
        "rustls",
    ] {
        assert!(has(wanted), "{wanted}");
    }
    // Of tests and build scripts.
    for unwanted in [
        "tempfile",
        "proptest",
        "divan",
        "loom",
        "bsdiff",
        "pyo3-build-config",
    ] {
        assert!(!has(unwanted), "{unwanted}");
    }
    let dependencies = bill["dependencies"].as_array().unwrap();
    assert_eq!(dependencies.len(), refs.len());
    for dependency in dependencies {
        assert!(refs.contains(text(dependency, "ref")), "{dependency}");
        for on in dependency["dependsOn"].as_array().unwrap() {
            assert!(refs.contains(on.as_str().unwrap()), "{dependency}");
        }
    }
}

#[test]
fn the_one_in_the_debian_package_is_the_same() {
    if lacks(&[program("dpkg-shlibdeps"), program("objcopy")]) {
        return;
    }
    let out = tempfile::TempDir::new().unwrap();
    let package = build("deb", out.path());
    let root = out.path().join("root");
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(package)
        .arg(&root));
    let packed = root.join("usr/share/doc/rcorn/rcorn.cdx.json.gz");
    let text = run(Command::new("gzip").args(["-dc"]).arg(packed));
    let bill: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bill, bill_in_wheel(out.path()));
}
