//! Many clients at once: replies leave together and no reply depends on it; nobody is left at the door.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Deadline, Gate, Server, Wire, wait_until};

const CLIENTS: usize = 12;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// One worker with many clients that ask at once.
struct Crowd {
    gate: Gate,
    server: Server,
    holder: Wire,
    clients: Vec<Wire>,
}

impl Crowd {
    fn gather() -> Self {
        let gate = Gate::new();
        let server = Server::app("together:app")
            .gate(&gate)
            .patience(Duration::from_mins(2))
            .allow("was sent SIGKILL")
            .allow("In hand when worker")
            .start();
        server.wait_serving(1);
        let open = || {
            let mut wire = server.connect();
            assert_eq!(wire.get("/").status, 200);
            wire
        };
        let (holder, clients) = (open(), (0..CLIENTS).map(|_| open()).collect());
        Self {
            gate,
            server,
            holder,
            clients,
        }
    }

    /// All of them ask while the worker is busy; the last one something else.
    fn ask(&mut self, target: &str, last: &str) {
        self.holder.send(get("/gate"));
        self.gate.expect(self.server.deadline());
        for client in self.all_but_the_last() {
            client.send(get(target));
        }
        self.clients.last_mut().unwrap().send(get(last));
        self.gate.open();
        assert_eq!(self.holder.read_reply().text(), "ok");
    }

    fn all_but_the_last(&mut self) -> impl Iterator<Item = &mut Wire> {
        self.clients.iter_mut().take(CLIENTS - 1)
    }

    /// Asks until replies wait for each other. That takes some hundred requests in a row that nothing interrupts.
    fn until_replies_wait(&mut self, target: &str) {
        let deadline = self.server.deadline();
        let enough = Deadline::after(Duration::from_secs(90));
        loop {
            self.ask(target, "/gate");
            self.gate.expect(deadline);
            // The worker has served all but the last, and hangs in that one.
            let late = |client: &&mut Wire| !client.hears_within(Duration::ZERO);
            let kept = self.all_but_the_last().filter(late).count();
            // Whoever waited for the last one gets its reply although that one still hangs.
            for client in self.all_but_the_last() {
                assert_eq!(client.read_reply().text(), "ok");
            }
            self.gate.open();
            let last = self.clients.last_mut().unwrap();
            assert_eq!(last.read_reply().text(), "ok");
            if kept > 0 {
                break;
            }
            assert!(!enough.left().is_zero(), "no reply ever waited");
        }
    }
}

#[test]
fn a_request_that_hangs_keeps_no_other_reply() {
    for target in ["/", "/iterable"] {
        let mut crowd = Crowd::gather();
        crowd.until_replies_wait(target);
        crowd.server.stop();
    }
}

#[test]
fn a_worker_that_dies_takes_no_reply_along() {
    let mut crowd = Crowd::gather();
    crowd.until_replies_wait("/");
    crowd.ask("/", "/die");
    for client in crowd.all_but_the_last() {
        assert_eq!(client.read_reply().text(), "ok");
    }
    crowd.server.wait_serving(1);
    crowd.server.stop();
}

#[test]
fn who_waits_at_the_door_is_not_passed_by() {
    let mut crowd = Crowd::gather();
    crowd.holder.send(get("/gate"));
    crowd.gate.expect(crowd.server.deadline());
    let ask = || {
        let mut wire = crowd.server.connect();
        wire.send(get("/"));
        (wire, 0_u32)
    };
    let mut clients: Vec<(Wire, u32)> = (0..40).map(|_| ask()).collect();
    crowd.gate.open();
    // Whoever has an answer asks again, until everybody has one.
    while clients.iter().any(|(_, answers)| *answers == 0) {
        for (wire, answers) in &mut clients {
            if wire.hears_within(Duration::ZERO) {
                assert_eq!(wire.read_reply().text(), "ok");
                wire.send(get("/"));
                *answers = answers.saturating_add(1);
            }
        }
    }
    let most = clients.iter().map(|(_, answers)| *answers).max().unwrap();
    eprintln!("{most} answers before everybody had one");
    assert!(most <= 10, "{most} answers before everybody had one");
    for (wire, _) in &mut clients {
        assert_eq!(wire.read_reply().text(), "ok");
    }
    crowd.server.stop();
}

#[test]
fn idle_workers_let_a_crowd_in_at_once() {
    let servers = ["1", "2"].map(|workers| {
        let server = Server::app("together:app").args(["-w", workers]);
        server.patience(Duration::from_mins(1)).start()
    });
    let [one, two] = &servers;
    one.wait_serving(1);
    two.wait_serving(2);
    let time = |server: &Server| {
        let begun = Instant::now();
        let mut crowd: Vec<Wire> = (0..64).map(|_| server.connect()).collect();
        for wire in &mut crowd {
            wire.send(get("/"));
        }
        for wire in &mut crowd {
            assert_eq!(wire.read_reply().text(), "ok");
        }
        begun.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..9).map(|_| time(two) / time(one)).collect();
    ratios.sort_by(f64::total_cmp);
    eprintln!("64 fresh connections, two workers to one: {ratios:?}");
    // Those that waited for each other to let them in took 100 ms, which is twenty times as long.
    assert!(ratios[4] < 5.0, "{ratios:?}");
    for server in servers {
        server.stop();
    }
}

#[test]
fn a_reload_hands_busy_clients_on() {
    let mut crowd = Crowd::gather();
    crowd.holder.send(get("/gate"));
    crowd.gate.expect(crowd.server.deadline());
    for client in &mut crowd.clients {
        client.send(get("/"));
    }
    crowd.server.signal(Signal::SIGHUP);
    wait_until(
        crowd.server.deadline(),
        "the old worker is to leave",
        || crowd.server.ctl(&["status"]).done().contains("leaving"),
    );
    crowd.gate.open();
    // The one in hand was told before its reply began; the others go on with another worker and do not notice.
    assert!(crowd.holder.read_reply().closes());
    for client in &mut crowd.clients {
        assert!(!client.read_reply().closes());
        assert_eq!(client.get("/").text(), "ok");
    }
    crowd.server.stop();
}
