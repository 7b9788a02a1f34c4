//! The life of a front: it outlives reloads and workers, is started again, and leaves before the
//! workers do.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;

use nix::sys::signal::{Signal, kill};

use super::{APP, Client, Pair, server};
use crate::support::{APPS, Builder, Gate, Server, wait_until};

fn pair() -> Pair {
    Pair::of(&["localhost"])
}

/// The pid of the only front.
fn front(server: &Server) -> nix::unistd::Pid {
    let fronts = server.titled("rcorn: front");
    let [front] = fronts.as_slice() else {
        panic!("{fronts:?}");
    };
    *front
}

/// Clients that send requests all the time: over HTTP/1.1 and over HTTP/2, on connections that they
/// keep and on new ones.
struct Load(Vec<Client>);

impl Load {
    const OPTIONS: [&[&str]; 4] = [
        &["load=3", "kept=1"],
        &["load=2"],
        &["load=2", "kept=1", "http2=8"],
        &["load=1", "http2=4"],
    ];

    /// How many connections there are at a time.
    const CONNECTIONS: usize = 8;

    /// Begins; all of them have had answers.
    fn on(server: &Server) -> Self {
        let clients = Self::OPTIONS.map(|options| Client::of(server, options));
        let load = Self(clients.into());
        load.wait();
        load
    }

    /// Waits until all have had answers again.
    fn wait(&self) {
        for client in &self.0 {
            client.wait_for(20);
        }
    }

    /// Ends; returns what has failed.
    fn stop(self) -> Vec<String> {
        self.0.into_iter().flat_map(Client::stop).collect()
    }
}

#[test]
fn without_tls_there_is_no_front() {
    let server = Server::app("m:app").file("m.py", APP).start();
    server.wait_workers(1);
    assert!(server.titled("rcorn: front").is_empty());
    let status = server.status();
    for name in ["fronts", "front_counts", "certificates"] {
        assert_eq!(status.get(name), None, "{name}");
    }
    server.stop();
}

#[test]
fn connections_outlive_reloads_and_workers() {
    let server = server(&pair())
        .args(["-w", "2", "--reload-watch", "0.1"])
        .allow("was sent SIGKILL")
        .start();
    server.wait_workers(2);
    let front_before = front(&server);
    let mut client = Client::of(&server, &[]);
    let first = client.environ("/");
    let load = Load::on(&server);
    for generation in 2..4 {
        server.signal(Signal::SIGHUP);
        let line = format!("Reloaded: generation {generation} serves.");
        server.log().expect(&line);
        load.wait();
    }
    assert_eq!(load.stop(), [""; 0]);
    let second = client.environ("/");
    assert_eq!(second["REMOTE_PORT"], first["REMOTE_PORT"]);
    assert_ne!(second["pid"], first["pid"]);
    // What a killed worker had in hand is lost, no connection is.
    for worker in server.workers() {
        kill(worker, Signal::SIGKILL).unwrap();
    }
    let third = client.environ("/");
    assert_eq!(third["REMOTE_PORT"], first["REMOTE_PORT"]);
    assert_eq!(front(&server), front_before);
    drop(client);
    server.stop();
}

#[test]
fn killed_workers_lose_no_more_than_they_held() {
    const KILLS: usize = 4;
    let server = server(&pair())
        .args(["-w", "2"])
        .allow("was sent SIGKILL")
        .allow("No worker answered")
        .allow("Request lost when worker")
        .start();
    let load = Load::on(&server);
    for _ in 0..KILLS {
        let [victim, _other] = server.wait_workers(2)[..] else {
            panic!("there are more than two");
        };
        kill(victim, Signal::SIGKILL).unwrap();
        server.wait_gone(victim);
        load.wait();
    }
    // One request each, at most: requests that may be sent twice are, if no answer has begun.
    let failed = load.stop();
    assert!(failed.len() <= KILLS, "{failed:?}");
    server.stop();
}

/// Notes each request in the file `seen`; stands at the gate for `/hold`.
const NOTES: &str = "
import os
import gate

def app(environ, start_response):
    seen = os.open('seen', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(seen, (environ['QUERY_STRING'] + '\\n').encode())
    os.close(seen)
    if environ['PATH_INFO'] == '/hold':
        gate.hold()
    body = b'%d' % len(environ['wsgi.input'].read())
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
";

/// A server with an app that notes requests.
fn noting(server: Builder, gate: &Gate) -> Builder {
    server
        .file("m.py", NOTES)
        .gate(gate)
        .args(["--pythonpath", APPS, "--reload-watch", "0.1"])
        .allow("was sent SIGKILL")
        .allow("No worker answered")
        .allow("Request lost when worker")
}

/// What the app has noted.
fn seen(server: &Server) -> Vec<String> {
    let seen = fs::read_to_string(server.directory().join("seen")).unwrap_or_default();
    seen.lines().map(str::to_owned).collect()
}

/// Those that are there more than once.
fn repeated(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    let pairs = all.windows(2).filter(|pair| pair[0] == pair[1]);
    pairs.map(|pair| pair[0].clone()).collect()
}

#[test]
fn a_reload_loses_no_post_and_no_app_sees_one_twice() {
    let gate = Gate::new();
    let server = noting(server(&pair()), &gate).args(["-w", "2"]).start();
    server.wait_workers(2);
    let client = Client::of(&server, &["load=4", "kept=1", "post=1000"]);
    client.wait_for(20);
    for generation in 2..5 {
        server.signal(Signal::SIGHUP);
        let line = format!("Reloaded: generation {generation} serves.");
        server.log().expect(&line);
        client.wait_for(20);
    }
    assert_eq!(client.stop(), [""; 0]);
    assert_eq!(repeated(seen(&server)), [""; 0]);
    server.stop();
}

#[test]
fn no_app_sees_a_post_twice_though_workers_die() {
    const KILLS: usize = 6;
    let gate = Gate::new();
    let server = noting(server(&pair()), &gate).args(["-w", "2"]).start();
    let client = Client::of(&server, &["load=6", "kept=1", "post=1000"]);
    client.wait_for(20);
    for _ in 0..KILLS {
        let [victim, _other] = server.wait_workers(2)[..] else {
            panic!("there are more than two");
        };
        kill(victim, Signal::SIGKILL).unwrap();
        server.wait_gone(victim);
        client.wait_for(20);
    }
    let failed = client.stop();
    assert!(failed.len() <= KILLS, "{failed:?}");
    assert_eq!(repeated(seen(&server)), [""; 0]);
    server.stop();
}

/// It was in the socket of the worker, which never read it.
#[test]
fn a_post_that_a_worker_did_not_read_is_served_by_another() {
    let gate = Gate::new();
    let server = noting(server(&pair()), &gate)
        .args(["-w", "1", "--threads", "1"])
        .start();
    let worker = server.wait_workers(1)[0];
    let mut client = Client::of(&server, &[]);
    assert_eq!(client.ask("get /?first")[0], 200);
    kill(worker, Signal::SIGSTOP).unwrap();
    // On the same connection: the same thread of the front has it, and keeps one to the worker.
    client.begin("post 1000 /?second");
    wait_until(server.deadline(), "the front has the request", || {
        server.status()["front_counts"]["requests"] == 2
    });
    kill(worker, Signal::SIGKILL).unwrap();
    assert_eq!(client.answer()[0], 200);
    assert_eq!(seen(&server), ["first", "second"]);
    server.stop();
}

/// With `request_buffer: 0` the app is called before its body was read: it may have done anything.
#[test]
fn a_post_that_an_app_has_begun_with_is_not_sent_to_another() {
    let gate = Gate::new();
    let server = noting(Server::app("m:app").args(["--h2c"]), &gate)
        .args(["-w", "1", "--request-buffer", "0"])
        .start();
    server.wait_workers(1);
    let mut wire = server.connect();
    wire.send("GET /hold?first HTTP/1.1\r\nHost: x\r\n\r\n");
    gate.expect(server.deadline());
    // More than the worker reads at once, and all of it is there when the front looks for it.
    wire.send("POST /hold?second HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    wire.send("x".repeat(100_000));
    gate.open();
    assert_eq!(wire.read_reply().status, 200);
    let worker = gate.expect(server.deadline());
    kill(worker, Signal::SIGKILL).unwrap();
    assert_eq!(wire.read_reply().status, 502);
    assert_eq!(seen(&server), ["first", "second"]);
    server.stop();
}

#[test]
fn a_killed_front_loses_its_connections_alone() {
    let server = server(&pair())
        .args(["-w", "2"])
        .allow("was ended by signal 9; it is started again")
        .start();
    server.wait_workers(2);
    let workers = server.workers();
    let load = Load::on(&server);
    let killed = front(&server);
    kill(killed, Signal::SIGKILL).unwrap();
    server.wait_gone(killed);
    server.log().expect("Front serving");
    server.log().expect("Front serving");
    load.wait();
    let failed = load.stop();
    assert!(failed.len() <= Load::CONNECTIONS, "{failed:?}");
    assert_eq!(server.workers(), workers);
    server.stop();
}

#[test]
fn a_front_that_is_killed_is_started_again() {
    let server = server(&pair())
        .allow("was ended by signal 9; it is started again")
        .start();
    let mut client = Client::of(&server, &[]);
    let worker = client.environ("/")["pid"].clone();
    let killed = front(&server);
    kill(killed, Signal::SIGKILL).unwrap();
    // Its connections alone are lost.
    client.try_get("/").unwrap_err();
    assert_eq!(client.environ("/")["pid"], worker);
    server
        .log()
        .expect("was ended by signal 9; it is started again");
    wait_until(server.deadline(), "the old one is gone", || {
        server.titled("rcorn: front") != [killed]
    });
    assert_eq!(server.status()["front_counts"]["front_deaths"], 1);
    drop(client);
    server.stop();
}

#[test]
fn a_stop_loses_no_request() {
    let server = server(&pair()).args(["-w", "2"]).start();
    let load = Load::on(&server);
    let ended = server.stop();
    assert_eq!(load.stop(), [""; 0]);
    assert!(ended.text().contains("Front exited"));
}

#[test]
fn an_upgrade_in_place_has_fronts_of_its_own_and_loses_nothing() {
    let server = server(&pair())
        .args(["-w", "2", "--upgrade", "in-place", "--reload-watch", "0.1"])
        .start();
    server.wait_workers(2);
    let before = front(&server);
    let load = Load::on(&server);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 2 serves.");
    let old = format!("Front exited (pid:{before})");
    server.log().expect(&old);
    load.wait();
    assert_eq!(load.stop(), [""; 0]);
    assert_ne!(front(&server), before);
    server.stop();
}

#[test]
fn tls_comes_and_goes_with_a_reload() {
    let conf = |tls: bool| {
        if tls {
            "reload_watch: 2\ncertfile: cert.pem\nkeyfile: key.pem\n"
        } else {
            "reload_watch: 2\n"
        }
    };
    let pair = pair();
    let server = Server::app("m:app")
        .file("m.py", APP)
        .file("cert.pem", pair.certificate.as_str())
        .file("key.pem", pair.key.as_str())
        .file("rcorn.yaml", conf(false))
        .start();
    assert_eq!(server.get("/").status, 200);
    // As soon as the new workers serve: until then the old ones do.
    server.write("rcorn.yaml", conf(true));
    server.signal(Signal::SIGHUP);
    server.log().expect("Front serving");
    assert_eq!(server.log().count("Reloaded: "), 0);
    let mut client = Client::of(&server, &[]);
    assert_eq!(client.environ("/")["HTTPS"], "on");
    server.log().expect("Reloaded: generation 2 serves.");
    server.write("rcorn.yaml", conf(false));
    server.signal(Signal::SIGHUP);
    server.log().expect("Front exited");
    assert_eq!(server.get("/").status, 200);
    drop(client);
    server.stop();
}

#[test]
fn a_reload_that_is_undone_takes_its_tls_along() {
    let pair = pair();
    let server = Server::app("m:app")
        .file("m.py", APP)
        .file("cert.pem", pair.certificate.as_str())
        .file("key.pem", pair.key.as_str())
        .file("rcorn.yaml", "workers: 2\nreload_watch: 20\n")
        .allow("was sent SIGKILL")
        .allow("Reload rolled back")
        .start();
    let old = server.wait_workers(2);
    let text = "workers: 2\nreload_watch: 20\ncertfile: cert.pem\nkeyfile: key.pem\n";
    server.write("rcorn.yaml", text);
    server.signal(Signal::SIGHUP);
    server.log().expect("Front serving");
    // Two that die show that the new code does not work.
    let mut known = old;
    for _ in 0..2 {
        let mut new = None;
        wait_until(server.deadline(), "a new worker is there", || {
            let workers = server.workers();
            new = workers.into_iter().find(|worker| !known.contains(worker));
            new.is_some()
        });
        kill(new.unwrap(), Signal::SIGKILL).unwrap();
        known.extend(new);
        server.log().expect("was sent SIGKILL");
    }
    server.log().expect("Front exited");
    assert_eq!(server.get("/").status, 200);
    server.stop();
}

/// The arbiter makes the keys of tickets, and hands them on.
#[test]
fn sessions_are_resumed_after_a_reload_a_crash_and_an_upgrade() {
    let server = server(&pair())
        .args(["--fronts", "2", "--upgrade", "in-place"])
        .args(["--reload-watch", "0.1"])
        .allow("was ended by signal 9; it is started again")
        .start();
    server.wait_workers(1);
    let mut client = Client::of(&server, &[]);
    client.environ("/");
    // With two fronts it is not always the same one.
    for _ in 0..8 {
        assert_eq!(client.ask("resume"), true);
    }
    server.signal(Signal::SIGHUP);
    server.log().expect("Reloaded: generation 2 serves.");
    assert_eq!(client.ask("resume"), true);
    let killed = server.titled("rcorn: front");
    for front in &killed {
        kill(*front, Signal::SIGKILL).unwrap();
    }
    wait_until(server.deadline(), "there are others", || {
        let fronts = server.titled("rcorn: front");
        fronts.len() == 2 && fronts.iter().all(|one| !killed.contains(one))
    });
    assert_eq!(client.ask("resume"), true);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Reloaded: generation 3 serves.");
    server.log().expect("Front exited");
    server.log().expect("Front exited");
    assert_eq!(client.ask("resume"), true);
    drop(client);
    server.stop();
}

/// WINCH, as in an upgrade by hand: a front without workers would keep clients waiting.
#[test]
fn without_workers_there_is_no_front_until_they_are_back() {
    let server = server(&pair())
        .args(["--upgrade", "beside", "--reload-watch", "0.1"])
        .start();
    server.wait_workers(1);
    let load = Load::on(&server);
    server.signal(Signal::SIGUSR2);
    server.log().expect("Started a new arbiter");
    server.log().expect("Booting worker");
    server.log().expect("Booting worker");
    load.wait();
    server.signal(Signal::SIGWINCH);
    server.log().expect("Front exited");
    server.log().expect("Worker exiting");
    load.wait();
    server.signal(Signal::SIGHUP);
    server.log().expect("Front serving");
    server.log().expect("Front serving");
    server.log().expect("Front serving");
    load.wait();
    assert_eq!(load.stop(), [""; 0]);
    // The successor first: it is a child.
    let successor = server.status()["upgrade"].as_i64().unwrap();
    let successor = i32::try_from(successor).unwrap();
    kill(nix::unistd::Pid::from_raw(successor), Signal::SIGTERM).unwrap();
    server.log().expect("Shutting down: Master");
    server.stop();
}

/// What pkill(1), a terminal or a service manager sends to all processes.
#[test]
fn signals_that_are_for_the_arbiter_do_a_front_no_harm() {
    let server = server(&pair()).start();
    let mut client = Client::of(&server, &[]);
    let first = client.environ("/");
    let front = front(&server);
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGWINCH,
    ] {
        kill(front, signal).unwrap();
        let next = client.environ("/");
        assert_eq!(next["REMOTE_PORT"], first["REMOTE_PORT"], "{signal}");
    }
    drop(client);
    server.stop();
}

/// systemd's sockets have no address in `bind`: the certificate is for all of them, as in gunicorn.
#[test]
fn sockets_of_systemd_speak_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pair = pair();
    let shell = format!(
        "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 exec {} --certfile cert.pem --keyfile key.pem m:app",
        listener.as_raw_fd(),
        env!("CARGO_BIN_EXE_rcorn"),
    );
    let server = Server::without_app()
        .program(["/bin/bash", "-c", &shell])
        .unbound()
        .inherit(listener.as_raw_fd())
        .file("m.py", APP)
        .file("cert.pem", pair.certificate.as_str())
        .file("key.pem", pair.key.as_str())
        .start();
    let mut client = Client::at(port, &[], server.deadline());
    assert_eq!(client.environ("/")["HTTPS"], "on");
    drop(client);
    server.log().expect(&format!("https://127.0.0.1:{port}"));
    server.stop();
}
