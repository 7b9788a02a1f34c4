//! The Debian package: its contents and dependencies, and that it can be installed, upgraded,
//! removed and purged.

use crate::support::build::{build, run};

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Need, Server, lacks, program};

#[test]
fn the_package_has_everything_in_its_place() {
    if lacks(&[program("dpkg-shlibdeps"), program("objcopy")]) {
        return;
    }
    let out = tempfile::TempDir::new().unwrap();
    let package = build("deb", out.path());
    let about = run(Command::new("dpkg-deb").arg("--field").arg(&package));
    let field = |name: &str| {
        let begins = format!("{name}: ");
        let line = about.lines().find_map(|line| line.strip_prefix(&begins));
        line.unwrap_or_else(|| panic!("no {name} in\n{about}"))
            .to_owned()
    };
    assert_eq!(field("Version"), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    let depends = field("Depends");
    assert!(
        depends.contains("libc6 (>= 2.") && depends.contains("python3 (>= 3.9)"),
        "{depends}"
    );
    let listing = run(Command::new("dpkg-deb").arg("--contents").arg(&package));
    for (mode, path) in [
        ("-rwxr-xr-x", "usr/bin/rcorn"),
        ("-rwxr-xr-x", "usr/bin/rcorn-deploy"),
        ("-rw-r--r--", "usr/share/rcorn/nginx/http-unix.conf"),
        ("-rw-r--r--", "usr/share/rcorn/supervisor/rcorn.conf"),
        ("-rw-r--r--", "usr/share/rcorn/systemd/tls.conf"),
        ("-rw-r--r--", "etc/rcorn/example.env"),
        ("-rw-r--r--", "etc/logrotate.d/rcorn"),
        ("-rw-r--r--", "usr/lib/systemd/system/rcorn@.service"),
        ("-rw-r--r--", "usr/lib/systemd/system/rcorn@.socket"),
        ("-rw-r--r--", "usr/lib/tmpfiles.d/rcorn.conf"),
        ("-rw-r--r--", "usr/share/man/man1/rcorn.1.gz"),
        ("-rw-r--r--", "usr/share/man/man5/rcorn.yaml.5.gz"),
        ("-rw-r--r--", "usr/share/man/man7/rcorn-signals.7.gz"),
        ("-rw-r--r--", "usr/share/bash-completion/completions/rcorn"),
        ("-rw-r--r--", "usr/share/zsh/vendor-completions/_rcorn"),
        (
            "-rw-r--r--",
            "usr/share/fish/vendor_completions.d/rcorn.fish",
        ),
        ("-rw-r--r--", "usr/share/doc/rcorn/copyright"),
        ("-rw-r--r--", "usr/share/doc/rcorn/changelog.Debian.gz"),
        ("-rw-r--r--", "usr/share/doc/rcorn/rcorn.cdx.json.gz"),
    ] {
        let found = listing
            .lines()
            .find(|line| line.ends_with(&format!(" ./{path}")));
        let line = found.unwrap_or_else(|| panic!("no {path} in\n{listing}"));
        assert!(line.starts_with(&format!("{mode} root/root ")), "{line}");
    }
    // A second build gives the same bytes.
    let other = tempfile::TempDir::new().unwrap();
    assert!(fs::read(build("deb", other.path())).unwrap() == fs::read(&package).unwrap());
    // It serves from where it was unpacked, without its debug information.
    let root = out.path().join("root");
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(&package)
        .arg(&root));
    let program = root.join("usr/bin/rcorn");
    let server = Server::app("cases:app").program([&program]).start();
    assert_eq!(server.get("/hello").status, 200);
    server.stop();
}

/// Runs dpkg on a scratch root.
fn dpkg(root: &Path, words: &[&str]) -> String {
    let mut command = Command::new("dpkg");
    command
        .arg(format!("--root={}", root.display()))
        // The root has neither the dependencies nor a shell: the scripts run outside, and use
        // $DPKG_ROOT.
        .args([
            "--force-depends",
            "--force-script-chrootless",
            "--log=/dev/null",
        ])
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut command)
}

#[test]
fn it_is_installed_upgraded_removed_and_purged() {
    if lacks(&[program("dpkg-shlibdeps"), program("objcopy"), Need::Root]) {
        return;
    }
    let out = tempfile::TempDir::new().unwrap();
    let package = build("deb", out.path());
    let package = package.to_str().unwrap();
    let root = out.path().join("root");
    for folder in [
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/cache/rcorn",
        "var/lib/rcorn/shop",
        "etc",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    // For systemd-tmpfiles.
    for file in ["passwd", "group"] {
        fs::copy(format!("/etc/{file}"), root.join("etc").join(file)).unwrap();
    }
    let at = |path: &str| root.join(path);
    dpkg(&root, &["--install", package]);
    assert!(at("usr/bin/rcorn").exists());
    assert!(at("var/log/rcorn").exists(), "tmpfiles.d is applied");
    // Changed configuration is kept, and enabled units stay enabled.
    fs::write(at("etc/rcorn/example.env"), "RCORN_APP=shop:app\n").unwrap();
    fs::write(at("etc/rcorn/shop.env"), "RCORN_APP=shop:app\n").unwrap();
    let wants = at("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    let link = wants.join("rcorn@shop.service");
    std::os::unix::fs::symlink("/usr/lib/systemd/system/rcorn@.service", &link).unwrap();
    dpkg(&root, &["--install", package]);
    let kept = fs::read_to_string(at("etc/rcorn/example.env")).unwrap();
    assert_eq!(kept, "RCORN_APP=shop:app\n");
    dpkg(&root, &["--remove", "rcorn"]);
    assert!(!at("usr/bin/rcorn").exists());
    assert!(at("etc/rcorn/example.env").exists() && link.is_symlink());
    dpkg(&root, &["--purge", "rcorn"]);
    for gone in [
        "etc/rcorn/example.env",
        "etc/logrotate.d/rcorn",
        "var/log/rcorn",
        "var/cache/rcorn",
    ] {
        assert!(!at(gone).exists(), "{gone} is still there");
    }
    assert!(!link.is_symlink());
    for kept in ["etc/rcorn/shop.env", "var/lib/rcorn/shop"] {
        assert!(at(kept).exists(), "{kept} is not ours to delete");
    }
}
