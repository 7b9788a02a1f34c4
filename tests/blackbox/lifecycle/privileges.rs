//! `--user` and `--group`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Uid, User};

use crate::support::{Need, Place, Server, Wire, lacks, program, python, pythons};

#[test]
fn privileges_are_gone_before_the_app_is_imported() {
    if lacks(&[Need::Root, program("/usr/bin/python3")]) {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let app = "
import os
ATIMPORT = (os.getuid(), os.geteuid(), os.getgid(), os.getgroups())
def app(environ, start_response):
    start_response('200 OK', [])
    now = (os.getuid(), os.geteuid(), os.getgid(), os.getgroups())
    mask = os.umask(0)
    os.umask(mask)
    return [repr((ATIMPORT, now, mask)).encode()]
";
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
    // The socket belongs to the workers' user, the pid file does not: its owner decides which
    // process root signals.
    let owner = |name: &str| fs::metadata(at(name)).unwrap().uid();
    assert_eq!((owner("web"), owner("pid")), (65534, 0));
    server.stop();
    assert!(!folder.path().join("web").exists() && !folder.path().join("pid").exists());
}

/// Waits in getpwnam(3) while a file exists, as a directory service that does not answer.
const SLOW_USER_DATABASE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

int getpwnam_r(const char *name, struct passwd *entry, char *text, size_t size, struct passwd **found)
{
    int (*next)(const char *, struct passwd *, char *, size_t, struct passwd **) =
        dlsym(RTLD_NEXT, "getpwnam_r");
    while (access(getenv("USER_DATABASE_HANGS"), F_OK) == 0)
        usleep(10000);
    return next(name, entry, text, size, found);
}
"#;

#[test]
fn a_user_database_that_hangs_holds_no_arbiter_up() {
    let folder = tempfile::TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("slow.c"), SLOW_USER_DATABASE).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([at("slow.so"), at("slow.c")])
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(compiled.success());
    let user = User::from_uid(Uid::current()).unwrap().unwrap().name;
    let server = Server::app("cases:app")
        .args(["--user", &user, "--access-logfile"])
        .args([at("access.log")])
        .args(["--reload-watch", "0"])
        .allow("was sent SIGKILL!")
        .env("LD_PRELOAD", at("slow.so"))
        .env("USER_DATABASE_HANGS", at("hangs"))
        .start();
    server.wait_serving(1);
    let before = server.workers();
    fs::write(at("hangs"), "").unwrap();
    server.signal(Signal::SIGUSR1);
    server.log().expect("Handling signal: usr1");
    assert_eq!(server.status()["state"], "running");
    // A reload asks anew who the user is; a dead worker is replaced meanwhile.
    server.signal(Signal::SIGHUP);
    server.log().expect("Hang up: Master");
    kill(before[0], Signal::SIGKILL).unwrap();
    server.wait_gone(before[0]);
    server.wait_workers(1);
    assert_eq!(server.status()["state"], "reloading");
    fs::remove_file(at("hangs")).unwrap();
    server.log().expect("Reloaded: generation 2 serves.");
    server.stop();
}

/// `os` is found in the archive where it is not a part of the interpreter (from 3.11 on).
#[test]
fn a_standard_library_in_an_archive_is_read() {
    let old = pythons()
        .into_iter()
        .find(|(_, version)| ((3, 9)..(3, 11)).contains(version));
    let Some((python, _)) = old else {
        return;
    };
    let folder = tempfile::TempDir::new().unwrap();
    let archive = folder.path().join("library.zip");
    let script =
        "import os, sys, zipfile; zipfile.ZipFile(sys.argv[1], 'w').write(os.__file__, 'os.py')";
    let made = Command::new(&python)
        .args(["-c", script])
        .arg(&archive)
        .status();
    assert!(made.unwrap().success());
    let app = "
import os
def app(environ, start_response):
    start_response('200 OK', [])
    return [os.__file__.encode()]
";
    let server = Server::app("m:app")
        .python(&python)
        .env("PYTHONPATH", &archive)
        .file("m.py", app)
        .start();
    let file = server.get("/").text();
    assert!(file.contains("library.zip"), "{file}");
    server.stop();
}

#[test]
fn an_import_may_change_the_root_directory() {
    if lacks(&[Need::Root]) {
        return;
    }
    let app = "
import os, encodings.idna
os.chroot('.')
os.chdir('/')
def app(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(os.listdir('/')).encode()]
";
    let server = Server::app("m:app")
        .file("m.py", app)
        .args(["-w", "2"])
        .start();
    server
        .log()
        .expect("Not preloading: the app's import cannot be watched: /proc/self/");
    server.wait_serving(2);
    assert_eq!(server.get("/").text(), "m.py");
    server.stop();
}

/// An interpreter below a directory that the workers' user may not enter: Python would only say
/// that a module does not exist.
#[test]
fn a_python_that_the_user_may_not_read_is_said_to_be_so() {
    if lacks(&[Need::Root]) {
        return;
    }
    let library = Command::new(python())
        .args([
            "-c",
            "import os; print(os.path.dirname(os.path.dirname(os.__file__)))",
        ])
        .output()
        .unwrap();
    let library = String::from_utf8(library.stdout).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    // The library itself, or a directory above it.
    for (home, closed) in [
        ("closed", "closed"),
        ("above/home", "above"),
        ("far/above/home", "far/above"),
    ] {
        let home = folder.path().join(home);
        fs::create_dir_all(&home).unwrap();
        std::os::unix::fs::symlink(library.trim(), home.join("lib")).unwrap();
        let closed = folder.path().join(closed);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let expected = format!(
            "65534 may not enter {}, and Python's library is",
            closed.display()
        );
        let remedy = format!("or chmod o+x {}", closed.display());
        let server = Server::app("cases:app")
            .env("PYTHONHOME", &home)
            .args(["--user", "65534"])
            .allow("may not enter")
            .allow("Shutting down: Master")
            .allow("Reason: The system refused")
            .start();
        let ended = server.exit();
        assert_eq!(ended.code(), Some(1));
        let text = ended.text();
        assert!(text.contains(&expected) && text.contains(&remedy), "{text}");
    }
}

/// The same for the app's own directory, those above it, and others where modules are looked for.
#[test]
fn a_directory_of_modules_that_the_user_may_not_enter_is_named() {
    if lacks(&[Need::Root, program("/usr/bin/python3")]) {
        return;
    }
    for (app, more, closed) in [
        ("app", None, "app"),
        ("above/app", None, "above"),
        ("app", Some("lib"), "lib"),
    ] {
        let folder = tempfile::TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let permit = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        permit(folder.path(), 0o755);
        fs::create_dir_all(at(app)).unwrap();
        let import = more.map_or("", |_| "import other\n");
        fs::write(at(app).join("m.py"), import).unwrap();
        let mut server = Server::without_app()
            .args(["--python", "/usr/bin/python3", "--user", "65534"])
            .args(["--chdir".as_ref(), at(app).as_os_str()])
            .allow("Exception in worker process")
            .allow("ModuleNotFoundError")
            .allow("Traceback")
            .allow("may not enter")
            .allow("Shutting down: Master")
            .allow("Reason: Worker failed to boot");
        if let Some(more) = more {
            fs::create_dir_all(at(more)).unwrap();
            server = server.args(["--pythonpath".as_ref(), at(more).as_os_str()]);
        }
        permit(&at(closed), 0o700);
        let ended = server.args(["m:app"]).start().exit();
        assert_eq!(ended.code(), Some(3));
        let remedy = format!("hint: chmod o+x {}", at(closed).display());
        assert!(ended.text().contains(&remedy), "{}", ended.text());
    }
}
