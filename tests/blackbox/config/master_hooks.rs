//! Hooks of gunicorn's master that do more than log: processes of their own, state, an end of the
//! start.

use nix::sys::signal::{Signal, kill};

use crate::support::{Builder, Server};

const APP: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
";

fn with(conf: &str) -> Builder {
    Server::app("m:app")
        .file("m.py", APP)
        .file("gunicorn.conf.py", conf)
}

#[test]
fn processes_of_hooks_have_nothing_of_ours_and_end() {
    const CONF: &str = r#"
import multiprocessing, os, signal, socket

def listening():
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink("/proc/self/fd/" + name).startswith("socket:"):
                one = socket.socket(fileno=os.dup(int(name)))
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield name
        except FileNotFoundError:
            pass

def background(log, name):
    log.info("%s listens on %s", name, list(listening()))
    signal.pause()

def on_starting(server):
    context = multiprocessing.get_context("fork")
    def begin(name, daemon):
        process = context.Process(target=background, args=(server.log, name), daemon=daemon)
        process.start()
        return process
    server.own = begin("own", False)
    server.other = begin("daemon", True)

def on_exit(server):
    server.own.terminate()
    server.own.join()
    server.log.info("own ended by %s", server.own.exitcode)
"#;
    let server = with(CONF).start();
    server.log().expect("own listens on []");
    server.log().expect("daemon listens on []");
    server.wait_serving(1);
    let ended = server.stop();
    assert!(
        ended.text().contains("own ended by -15"),
        "{}",
        ended.text()
    );
    assert!(!ended.text().contains("AssertionError"), "{}", ended.text());
}

#[test]
fn on_starting_may_end_the_start() {
    let conf = "
def on_starting(server):
    raise SystemExit('no database')
";
    let ended = with(conf)
        .allow("on_starting: SystemExit: no database")
        .allow("Shutting down: Master")
        .allow("Reason: ")
        .start()
        .exit();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
}

#[test]
fn what_on_starting_has_set_is_there_after_the_templates_death() {
    let conf = "
def on_starting(server):
    server.name = 'set'
def post_fork(server, worker):
    server.log.info('%s for %s', server.name, worker.age)
";
    let server = with(conf).allow("was sent SIGKILL!").start();
    server.wait_serving(1);
    for age in 2..=3 {
        for pid in [server.titled("rcorn: template"), server.workers()].concat() {
            kill(pid, Signal::SIGKILL).unwrap();
            server.wait_gone(pid);
        }
        server.log().expect(&format!("set for {age}"));
        server.wait_serving(1);
    }
    server.stop();
}
