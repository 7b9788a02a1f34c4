//! In a container: rcorn as process 1 of a root without a shell that cannot be written to, as
//! `packaging/container` and `packaging/kubernetes` have it.

use crate::support::build::run;

use std::process::Command;

use nix::sys::signal::{Signal, kill};

use tempfile::TempDir;

use super::{free_addresses, shipped, substituted};
use crate::support::{Need, Server, children, lacks, python, wait_until};
use crate::tls::{Client, Pair};

/// Makes a root from Python, its libraries and rcorn, and becomes rcorn in it. Arguments: rcorn,
/// Python, the folder of its library.
const ENTER: &str = r#"
set -e
rcorn=$1 python=$2 library=$3
shift 3
root=$PWD/root
mkdir "$root"
mount -t tmpfs tmpfs "$root"
mkdir "$root/tmp"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/proc" "$root/dev" "$root/bin" "$root$library" "$root${python%/*}"
for folder in /lib /lib64 /usr/lib /usr/lib64 /usr/local/lib; do
  if [ -L $folder ]; then
    cp -P $folder "$root$folder"
  elif [ -d $folder ]; then
    mkdir -p "$root$folder"
    mount --rbind $folder "$root$folder"
  fi
done
for file in "$python" /dev/null /dev/urandom; do
  touch "$root$file"
  mount --bind "$file" "$root$file"
done
touch "$root/bin/rcorn"
mount --bind "$rcorn" "$root/bin/rcorn"
[ -n "$(ls -A "$root$library")" ] || mount --rbind "$library" "$root$library"
mount -t proc proc "$root/proc"
mkdir -p "$root$PWD"
mount --bind "$PWD" "$root$PWD"
mount -o remount,bind,ro "$root"
exec chroot "$root" /bin/rcorn --python "$python" "$@"
"#;

const APP: &str = r#"
import os, subprocess
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/orphan":
        if os.fork() == 0:
            if os.fork() == 0:
                os.execv("/bin/rcorn", ["rcorn", "--version"])
            os._exit(0)
        os.wait()
        said = "left"
    elif path == "/health":
        said = str(subprocess.run(["/bin/rcorn", "ctl", "status", "--check"]).returncode)
    elif path == "/dead":
        dead = 0
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                dead += open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[:2] == ["Z", "1"]
            except OSError:
                pass  # Reaped since it was listed.
        said = str(dead)
    else:
        try:
            os.mkdir("/new")
            writable = True
        except OSError:
            writable = False
        said = f"parent {os.getppid()}, shell {os.path.exists('/bin/sh')}, writable {writable}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
"#;

#[test]
fn it_is_process_1_without_a_shell_and_leaves_nobody_dead() {
    if lacks(&[Need::UserNamespaces]) {
        return;
    }
    let said = run(Command::new(python()).args([
        "-c",
        "import os, sys; print(os.path.realpath(sys._base_executable)); print(os.path.dirname(os.path.dirname(os.__file__)))",
    ]));
    let (python, library) = said.trim().split_once('\n').unwrap();
    let unshare = "unshare --user --map-root-user --mount --pid --fork --kill-child sh -c";
    let rcorn = env!("CARGO_BIN_EXE_rcorn");
    let words = unshare
        .split(' ')
        .chain([ENTER, "sh", rcorn, python, library]);
    let server = Server::app("m:app")
        .file("m.py", APP)
        .program(words)
        .start();
    let ask = |path: &str| server.get(path).text();
    assert_eq!(ask("/"), "parent 1, shell False, writable False");
    // The health check of Docker and Kubernetes.
    assert_eq!(ask("/health"), "0");
    for _ in 0..3 {
        assert_eq!(ask("/orphan"), "left");
    }
    wait_until(server.deadline(), "orphans are reaped", || {
        ask("/dead") == "0"
    });
    // unshare itself ignores TERM: it waits for process 1, and exits with its code.
    let inside = children(server.pid());
    assert_eq!(inside.len(), 1);
    kill(inside[0], Signal::SIGTERM).unwrap();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

/// The variant with TLS: rcorn takes its arguments, and serves with them.
#[test]
fn the_image_with_tls_serves() {
    let file = shipped("container/Containerfile.tls");
    let line = file.lines().find_map(|line| line.strip_prefix("ENV "));
    let (name, words) = line.unwrap().split_once('=').unwrap();
    assert_eq!(name, "RCORN_CMD_ARGS");
    assert!(file.contains("EXPOSE 8443\n") && words.contains("https://:8443 "));
    let folder = TempDir::new().unwrap();
    let [certificate, key] = Pair::of(&["localhost"]).write(folder.path());
    let [https, _] = free_addresses();
    let words = substituted(
        words.trim_matches('"'),
        &[
            ("--workers auto", "--workers 1"),
            ("https://:8443", &format!("https://{https}")),
            ("/tls/fullchain.pem", &certificate),
            ("/tls/privkey.pem", &key),
        ],
    );
    let server = Server::app("cases:app").env(name, words).unbound().start();
    server.wait_serving(1);
    let mut client = Client::at(https.port(), &[], server.deadline());
    assert_eq!(client.try_get("/hello").unwrap().0, 200);
    server.stop();
}
