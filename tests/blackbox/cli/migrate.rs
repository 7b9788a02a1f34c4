//! `rcorn migrate`: what it prints, and its exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn migrate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rcorn"));
    command.current_dir(folder).arg("migrate").args(arguments);
    command.output().unwrap()
}

/// A typical small configuration.
const SMALL: &str = "[uwsgi]\nchdir = /srv/shop\nmodule = server:application\nmaster = true\nprocesses = 4\n\
                     socket = 127.0.0.1:8001\nvacuum = true\nmax-requests = 128\n";

#[test]
fn a_small_uwsgi_ini_migrates() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("uwsgi.ini"), SMALL).unwrap();
    let output = migrate(folder.path(), &["uwsgi.ini"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let settings: serde_yaml::Mapping = serde_yaml::from_slice(&output.stdout).unwrap();
    let text = |key: &str| settings.get(key).and_then(|value| value.as_str());
    let number = |key: &str| settings.get(key).and_then(serde_yaml::Value::as_u64);
    assert_eq!(text("wsgi_app"), Some("server:application"));
    assert_eq!(text("chdir"), Some("/srv/shop"));
    assert_eq!(text("bind"), Some("uwsgi://127.0.0.1:8001"));
    assert_eq!(number("workers"), Some(4));
    assert_eq!(number("max_requests"), Some(128));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("#   4: master = true") && text.contains("#   7: vacuum = true"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_migrated_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("uwsgi.xml"), "<uwsgi/>").unwrap();
    fs::write(folder.path().join("empty.ini"), "").unwrap();
    fs::write(folder.path().join("latin.ini"), b"[uwsgi]\nmodule = \xe9\n").unwrap();
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let output = migrate(folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(
            said.starts_with("rcorn: error: ") && said.contains("; hint: "),
            "{said}"
        );
        assert!(said.contains(words), "{said}");
    };
    refused(&["missing.ini"], 1, "cannot read missing.ini: No such file");
    refused(&["."], 1, "cannot read .: Is a directory");
    refused(&["uwsgi.xml"], 2, "uwsgi.xml: is XML");
    refused(&["empty.ini"], 2, "empty.ini: is empty");
    refused(&["latin.ini"], 2, "latin.ini is not valid UTF-8");
    refused(&[], 2, "FILE");
    refused(&["a", "b"], 2, "unexpected argument 'b'");
    let help = migrate(folder.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("FILE"));
}

#[test]
fn what_comes_out_is_taken_back_in() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let app = "def application(environ, start_response): ...\n";
    fs::write(folder.join("server.py"), app).unwrap();
    let ini = SMALL
        .replace("/srv/shop", "%d")
        .replace("socket =", "http-socket =");
    let ini = format!("{ini}env = MOTTO=$(MOTTO): on\nchmod-socket = 660\ndisable-logging\n");
    fs::write(folder.join("uwsgi.ini"), ini).unwrap();
    let output = migrate(folder, &["uwsgi.ini"]);
    assert!(output.status.success(), "{output:?}");
    fs::write(folder.join("rcorn.yaml"), &output.stdout).unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_rcorn"))
        .current_dir(folder)
        .env("MOTTO", "a: b")
        .args(["--print-config", "-c", "rcorn.yaml"])
        .output()
        .unwrap();
    assert!(
        printed.status.success() && printed.stderr.is_empty(),
        "{printed:?}"
    );
    let text = String::from_utf8_lossy(&printed.stdout);
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(key, _)| key.trim() == name);
        found
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    assert_eq!(value("workers"), "4");
    assert_eq!(value("max_requests"), "128");
    assert_eq!(value("timeout"), "0");
    assert_eq!(value("bind"), "['127.0.0.1:8001']");
    assert_eq!(value("raw_env"), "['MOTTO=a: b: on']");
}

#[test]
fn it_says_of_a_gunicorn_conf_what_rcorn_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let app = "def application(environ, start_response): ...\n";
    fs::write(folder.join("server.py"), app).unwrap();
    for (line, taken) in [
        ("worker_class = 'gevent'", true),
        ("worker_class = 'uvicorn.workers.UvicornWorker'", false),
        ("worker_class = 'gthread'", true),
        ("worker_class = 'egg:gunicorn#sync'", true),
        ("threads = 4", true),
        ("threads = 1", true),
        ("http_protocols = 'h3'", false),
        ("keyfile = None", true),
        ("ciphers = 'TLSv1'", false),
        ("ciphers = 'ECDHE-RSA-AES128-GCM-SHA256'", true),
        ("paste = 'shop.ini'", false),
        ("bind = [8000]", false),
        ("raw_env = ['A']", false),
        ("raw_env = {'A': 1, 'B': True, 'C': 'c'}", true),
        ("workers = -1", false),
        ("spew = True", true),
        ("mine = 1", true),
    ] {
        fs::write(folder.join("gunicorn.conf.py"), format!("{line}\n")).unwrap();
        let output = migrate(folder, &["gunicorn.conf.py"]);
        let yaml = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            !yaml.contains("Without line 1, which it refuses"),
            taken,
            "{line}: {yaml}"
        );
        let checked = Command::new(env!("CARGO_BIN_EXE_rcorn"))
            .current_dir(folder)
            .args(["--check-config", "-c", "gunicorn.conf.py"])
            .arg("server:application")
            .output()
            .unwrap();
        assert_eq!(checked.status.success(), taken, "{line}: {checked:?}");
    }
}
