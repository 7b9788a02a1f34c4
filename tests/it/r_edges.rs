//! Edges of hooks and checks: forks inside hooks, replies that are not the app's, files that only root may read.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Builder, Place, Server, Wire};

use super::r_config::APP;

fn with(conf: &str) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .file("gunicorn.conf.py", conf)
}

#[test]
fn a_process_that_a_hook_forks_is_no_second_worker() {
    let conf = "import os\nworkers = 2\ndef post_fork(server, worker): os.fork()\ndef post_worker_init(worker): os.fork()\ndef pre_request(worker, req): os.fork()\ndef post_request(worker, req): os.fork()\n";
    let server = with(conf).start();
    server.wait_serving(2);
    for _ in 0..8 {
        assert_eq!(server.get("/").text(), "nothing");
    }
    assert_eq!(server.workers().len(), 2);
    server.stop();
}

#[test]
fn post_request_never_sees_another_reply() {
    let app = "def app(environ, start_response):\n    if environ['QUERY_STRING'] == 'raise': raise KeyError('x')\n    start_response('200 OK', [('Set-Cookie', 'secret')])\n    return [b'ok']\n";
    let conf = "access_log_format = '%(s)s %({set-cookie}o)s'\naccesslog = '-'\ndef post_request(worker, req, environ, resp): worker.log.info('saw %s %s', resp.status, resp.headers)\n";
    let server = with(conf)
        .file("m.py", app)
        .allow("Error handling request")
        .start();
    server.wait_serving(1);
    assert_eq!(server.get("/").status, 200);
    server.log().expect("saw 200 OK [('Set-Cookie', 'secret')");
    assert_eq!(server.get("/?raise").status, 500);
    server.log().expect("saw 500 []");
    server.log().expect("500 -");
    server.stop();
}

#[test]
fn a_config_that_the_workers_user_cannot_read_is_read_before() {
    if !nix::unistd::geteuid().is_root() || !std::path::Path::new("/usr/bin/python3").exists() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("m.py"), APP).unwrap();
    let conf = "import os\ndef post_fork(server, worker): os.environ['SECRET'] = 'read by %d' % os.getuid()\n";
    fs::write(at("secret.py"), conf).unwrap();
    fs::set_permissions(at("secret.py"), fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::app("m:app")
        .unbound()
        .python("/usr/bin/python3")
        .args(["--chdir", &at(""), "-c", &at("secret.py")])
        .args([
            "--user",
            "65534",
            "--group",
            "65534",
            "--bind",
            &format!("unix:{}", at("web")),
        ])
        .start();
    server.wait_serving(1);
    let mut wire = Wire::connect(&Place::Unix(folder.path().join("web")));
    assert_eq!(wire.get("/?SECRET").text(), "read by 65534");
    server.stop();
}

#[test]
fn a_check_believes_only_an_app_that_was_loaded() {
    for (app, words) in [
        (
            "import os\nos._exit(0)\n",
            "cannot import the app: it ended its process with exit code 0",
        ),
        (
            "import os\nos.kill(os.getpid(), 9)\n",
            "cannot import the app: its process was ended by SIGKILL",
        ),
    ] {
        let ended = with("")
            .file("m.py", app)
            .args(["--check-config"])
            .start()
            .exit();
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        assert!(ended.text().contains(words), "{}", ended.text());
    }
}
