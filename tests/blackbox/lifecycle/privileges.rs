//! `--user` and `--group`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::{Need, Place, Server, Wire, lacks, program};

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
