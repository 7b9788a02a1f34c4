//! One worker of one thread with many clients that ask at once.

use crate::support::get;

use std::time::Duration;

use crate::support::{Deadline, Gate, Server, Wire};

/// How many.
pub(super) const CLIENTS: usize = 12;

/// One worker of one thread with many clients that ask at once.
pub(super) struct Crowd {
    pub(super) gate: Gate,
    pub(super) server: Server,
    pub(super) holder: Wire,
    pub(super) clients: Vec<Wire>,
}

impl Crowd {
    pub(super) fn gather() -> Self {
        let gate = Gate::new();
        // A second thread would answer the clients while the first one is held at the gate.
        let server = Server::app("together:app")
            .args(["--threads", "1"])
            .gate(&gate)
            .patience(Duration::from_mins(2))
            .allow("was sent SIGKILL")
            .allow("Request lost when worker")
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

    /// Sends a request of each client while the worker is busy; the last client's has another
    /// target.
    pub(super) fn ask(&mut self, target: &str, last: &str) {
        self.holder.send(get("/gate"));
        self.gate.expect(self.server.deadline());
        for client in self.all_but_the_last() {
            client.send(get(target));
        }
        self.clients.last_mut().unwrap().send(get(last));
        self.gate.open();
        assert_eq!(self.holder.read_reply().text(), "ok");
    }

    pub(super) fn all_but_the_last(&mut self) -> impl Iterator<Item = &mut Wire> {
        self.clients.iter_mut().take(CLIENTS - 1)
    }

    /// Sends requests until replies are coalesced. That takes some hundred requests in a row
    /// without a pause.
    pub(super) fn until_replies_wait(&mut self, target: &str) {
        let deadline = self.server.deadline();
        let enough = Deadline::after(Duration::from_secs(90));
        loop {
            self.ask(target, "/gate");
            self.gate.expect(deadline);
            // The worker has served all but the last request, and hangs in that one.
            let late = |client: &&mut Wire| !client.hears_within(Duration::ZERO);
            let kept = self.all_but_the_last().filter(late).count();
            // Replies that were held back for the last one leave although that one still hangs.
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
