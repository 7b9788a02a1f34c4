//! `rcorn pack`: bundles that a plain Python runs.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::event;
use crate::support::{Need, Once, lacks, pythons};

/// A project: an app with a second module, a template, and files that must not be packed.
fn project() -> TempDir {
    let folder = TempDir::with_prefix("rcorn-pack-test-").unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("shop/__init__.py", "");
    write(
        "shop/wsgi.py",
        "
import os
from shop.words import greeting
try:
    from parcel import LABEL
except ImportError:
    LABEL = 'none'

def make(mark='.'):
    def app(environ, start_response):
        folder = os.path.dirname(os.path.abspath(__file__))
        text = open(os.path.join(folder, 'page.txt')).read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [f'{greeting} {text} {LABEL}{mark}'.encode()]
    return app
",
    );
    write("shop/words.py", "greeting = 'hello'\n");
    write("shop/page.txt", "page");
    write(".git/config", "secret");
    write(".env", "secret");
    write("shop/__pycache__/words.cpython-39.pyc", "stale");
    write("tests/test_shop.py", "");
    write("my-venv/pyvenv.cfg", "");
    write("my-venv/bin/python3", "");
    folder
}

fn pack(folder: &Path, words: &[&str]) -> Once {
    let words = ["pack", "shop.wsgi:make('!')", "-o", "out.zip"]
        .iter()
        .chain(words);
    Once::rcorn(words).within(folder).env("PIP_NO_INDEX", "1")
}

fn names(zip: &Path) -> String {
    let list = "import sys, zipfile; print(*zipfile.ZipFile(sys.argv[1]).namelist())";
    let words = ["-I", "-c", list]
        .map(Into::into)
        .into_iter()
        .chain([zip.as_os_str().to_owned()]);
    Once::new("python3", words)
        .run()
        .done()
        .trim_end()
        .to_owned()
}

/// Unzips a bundle, and calls its handler with a plain Python.
fn call(python: &Path, zip: &Path, handler: &str) -> Value {
    const CALL: &str = "
import importlib.util, json, os, sys, tempfile, zipfile
zip, handler, event = sys.argv[1:]
module, name = handler.split('.')
with tempfile.TemporaryDirectory() as folder:
    zipfile.ZipFile(zip).extractall(folder)
    spec = importlib.util.spec_from_file_location(module, os.path.join(folder, module + '.py'))
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    print(json.dumps(getattr(loaded, name)(json.load(open(event)), None)))
";
    let words = [
        "-I".into(),
        "-c".into(),
        CALL.into(),
        zip.as_os_str().to_owned(),
        handler.into(),
        event("aws-http-v2").into(),
    ];
    serde_json::from_str(&Once::new(python, words).run().done()).unwrap()
}

#[test]
fn a_bundle_runs_on_every_plain_python() {
    let folder = project();
    let left = pack(folder.path(), &["--exclude", "tests"]).run();
    let said = left.done();
    assert!(
        said.starts_with(&format!("{}/out.zip: 9 files, ", folder.path().display())),
        "{said}"
    );
    assert!(
        said.contains("handler index.handler\n  index.py\n  rcorn/ (4 files)\n  shop/ (4 files)\n"),
        "{said}"
    );
    let zip = folder.path().join("out.zip");
    assert_eq!(
        names(&zip),
        "index.py rcorn/__init__.py rcorn/events.py rcorn/exchange.py rcorn/function.py shop/__init__.py shop/page.txt shop/words.py shop/wsgi.py"
    );
    for (python, version) in pythons().iter().filter(|(_, version)| *version >= (3, 9)) {
        let response = call(python, &zip, "index.handler");
        assert_eq!(response["body"], "hello page none!", "{version:?}");
        assert_eq!(response["statusCode"], 200);
    }
}

#[test]
fn the_same_files_give_the_same_bytes_and_nothing_is_overwritten_unasked() {
    let folder = project();
    let zip = folder.path().join("out.zip");
    pack(folder.path(), &[]).run().done();
    let first = std::fs::read(&zip).unwrap();
    let left = pack(folder.path(), &[]).run();
    assert_eq!(left.status.code(), Some(1));
    assert!(
        left.errors.contains("out.zip exists") && left.errors.contains("--force"),
        "{left:?}"
    );
    // Other times, another order of creation; an earlier bundle is not packed.
    let again = folder.path().join("shop/words.py");
    let text = std::fs::read(&again).unwrap();
    std::fs::remove_file(&again).unwrap();
    std::fs::write(&again, text).unwrap();
    std::fs::File::open(&again)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    pack(folder.path(), &["--force"]).run().done();
    assert_eq!(std::fs::read(&zip).unwrap(), first);
    let left_behind: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        !left_behind
            .iter()
            .any(|name| name.to_string_lossy().starts_with(".rcorn")),
        "{left_behind:?}"
    );
}

#[test]
fn requirements_are_installed_and_left_out_files_can_be_included() {
    if lacks(&[Need::Pip]) {
        return;
    }
    let folder = project();
    // A hand-made wheel: pip needs no index.
    let wheel = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as z:
    z.writestr('parcel.py', 'LABEL = "parcel"\n')
    z.writestr('parcel-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n')
    z.writestr('parcel-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    z.writestr('parcel-1.0.dist-info/RECORD', '')
"#;
    let file = folder.path().join("parcel-1.0-py3-none-any.whl");
    let words = ["-c".into(), wheel.into(), file.as_os_str().to_owned()];
    Once::new("python3", words).run().done();
    std::fs::write(
        folder.path().join("requirements.txt"),
        "./parcel-1.0-py3-none-any.whl\n",
    )
    .unwrap();
    let words = [
        "--requirements",
        "requirements.txt",
        "--include",
        ".env",
        "--handler",
        "main.run",
        "--exclude",
        "*.whl",
    ];
    pack(folder.path(), &words).run().done();
    let zip = folder.path().join("out.zip");
    let names = names(&zip);
    for name in [
        ".env",
        "main.py",
        "parcel.py",
        "parcel-1.0.dist-info/METADATA",
        "requirements.txt",
    ] {
        assert!(
            names.split(' ').any(|found| found == name),
            "no {name} in {names}"
        );
    }
    assert!(
        !names.contains("venv") && !names.contains(".git") && !names.contains(".whl"),
        "{names}"
    );
    let (python, _) = pythons()
        .into_iter()
        .rfind(|(_, version)| *version >= (3, 9))
        .unwrap();
    assert_eq!(
        call(&python, &zip, "main.run")["body"],
        "hello page parcel!"
    );
}

#[test]
fn what_cannot_be_packed_is_explained() {
    if lacks(&[Need::Pip]) {
        return;
    }
    let folder = project();
    let refused = |words: &[&str], code: i32, said: &[&str]| {
        let left = Once::rcorn(["pack"].iter().chain(words))
            .within(folder.path())
            .env("PIP_NO_INDEX", "1")
            .run();
        assert_eq!(left.status.code(), Some(code), "{left:?}");
        assert_eq!(left.text(), "");
        for word in said {
            assert!(left.errors.contains(word), "no {word:?} in {}", left.errors);
        }
        assert!(!folder.path().join("o.zip").exists());
    };
    refused(&["shop.wsgi:make()"], 2, &["--output <FILE> is missing"]);
    refused(
        &["nowhere:app", "-o", "o.zip"],
        3,
        &["No module named 'nowhere' in the bundle", "--chdir"],
    );
    refused(
        &["shop.wsgi:make()", "-o", "o.zip", "--include", "absent"],
        1,
        &["absent: no such file"],
    );
    refused(
        &["shop.wsgi:make()", "-o", "o.zip", "--handler", "shop.run"],
        1,
        &[
            "shop/__init__.py has the same name as a part of the bundle",
            "--handler",
        ],
    );
    refused(
        &["shop.wsgi:make()", "-o", "o.zip", "--handler", "no name"],
        2,
        &["MODULE.NAME"],
    );
    refused(
        &["shop.wsgi:make()", "-o", "absent/o.zip"],
        1,
        &["absent", "No such file or directory"],
    );
    std::fs::write(
        folder.path().join("requirements.txt"),
        "no-such-thing-at-all==1\n",
    )
    .unwrap();
    refused(
        &["shop.wsgi:make()", "-o", "o.zip", "-r", "requirements.txt"],
        1,
        &["pip could not install", "no-such-thing-at-all", "--python"],
    );
}
