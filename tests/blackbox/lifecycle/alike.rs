//! Whether an import is shared changes memory and time, never what an app does: each file of
//! `tests/apps/alike` is an app, whose workers must be by default what they are with
//! `--no-preload`. `HERE` is a directory that belongs to its server; `tell` says what a worker has
//! of its import. A first line `# 1 worker` is for what only one process can have.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{APPS, Server, wait_until};

/// Writes down what `tell` says, and stays in its request until all workers have.
const APP: &str = "
import os
def app(environ, start_response):
    told = '%s/told/%d' % (HERE, os.getpid())
    with open(told + '.new', 'w') as file:
        file.write(repr(tell()))
    os.rename(told + '.new', told)
    with open(HERE + '/told/end') as end:
        end.read(0)
    start_response('200 OK', [])
    return [b'told']
";

/// What can be seen of a server.
#[derive(Debug, PartialEq)]
struct Seen {
    /// How many different things its workers tell.
    answers: usize,
    /// What they tell, if it is the same.
    answer: Option<String>,
    /// Its files while it serves, with the number of their lines if they are text.
    files: Vec<(String, usize)>,
    /// Its files after its stop.
    left: Vec<(String, usize)>,
}

fn serve(name: &str, source: &str, arguments: &[&str]) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let told = here.join("told");
    fs::create_dir(&told).unwrap();
    mkfifo(&told.join("end"), Mode::all()).unwrap();
    // Some apps become another user.
    for path in [here, &told, &told.join("end")] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    let workers: usize = if source.starts_with("# 1 worker\n") {
        1
    } else {
        2
    };
    let server = Server::app("m:app")
        .file("m.py", format!("HERE = {here:?}\n{source}{APP}"))
        // Each tells when it is asked, and all are asked: one request keeps one worker.
        .args(["-w", &workers.to_string(), "--threads", "1"])
        .args(arguments)
        .start();
    // All imports have ended: what they leave for others does not change any more.
    server.wait_serving(workers);
    let texts = || {
        let entries = fs::read_dir(&told).unwrap().map(|entry| entry.unwrap());
        let told = entries.filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        });
        let texts = told.map(|entry| fs::read_to_string(entry.path()).unwrap());
        texts.collect::<Vec<_>>()
    };
    // The next request is for another worker: who has told is busy.
    let mut wires = Vec::new();
    for count in 1..=workers {
        let mut wire = server.connect();
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        wires.push(wire);
        let what = format!("{count} workers of {name} have told");
        wait_until(server.deadline(), &what, || texts().len() == count);
    }
    let all: BTreeSet<_> = texts().into_iter().collect();
    let files = files_in(here);
    let end = OpenOptions::new()
        .read(true)
        .write(true)
        .open(told.join("end"));
    let end = end.unwrap();
    for wire in &mut wires {
        assert_eq!(wire.read_reply().text(), "told");
    }
    server.stop();
    drop(end);
    Seen {
        answers: all.len(),
        answer: all.first().filter(|_| all.len() == 1).cloned(),
        files,
        left: files_in(here),
    }
}

/// All files below a directory, without what differs from server to server in their names.
fn files_in(folder: &Path) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if name.starts_with("tmp") {
            "tmp"
        } else {
            &name
        };
        let name = name.replace(|sign: char| sign.is_ascii_digit(), "");
        if name == "told" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            let inside = files_in(&entry.path()).into_iter();
            found.extend(inside.map(|(inner, lines)| (format!("{name}/{inner}"), lines)));
            found.push((name + "/", 0));
        } else {
            let text = fs::read(entry.path()).unwrap_or_default();
            // A database has a byte like that in the number of a process.
            let is_text = !text.contains(&0);
            let lines = text.iter().filter(|byte| is_text && **byte == b'\n');
            let lines = lines.count();
            found.push((name, lines));
        }
    }
    found.sort();
    found
}

#[test]
fn workers_are_what_they_are_with_an_import_in_each() {
    let mut apps: Vec<_> = fs::read_dir(format!("{APPS}/alike"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    apps.sort();
    assert!(!apps.is_empty());
    let next = AtomicUsize::new(0);
    let compare = |app: &PathBuf| {
        let source = fs::read_to_string(app).unwrap();
        let name = app.file_stem().unwrap().to_string_lossy();
        let [seen, expected] = [&[][..], &["--no-preload"]].map(|way| serve(&name, &source, way));
        (seen != expected).then(|| format!("{name}: {seen:?} is not {expected:?}"))
    };
    let wrong = thread::scope(|scope| {
        let work = || {
            let take = || apps.get(next.fetch_add(1, Ordering::Relaxed));
            std::iter::from_fn(take)
                .filter_map(compare)
                .collect::<Vec<_>>()
        };
        let threads = [0; 3].map(|_| scope.spawn(work));
        let wrong = threads.map(|thread| thread.join().unwrap());
        wrong.concat()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
