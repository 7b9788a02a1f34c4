//! An instance of rcorn as it was last seen, and how fast its counts grow.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rcorn_control::Status;

/// One instance.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Its control socket.
    pub(crate) path: PathBuf,
    /// Its last state; `None` before it has told one.
    pub(crate) status: Option<Status>,
    /// Why it has not told its state when it was last asked.
    pub(crate) error: Option<String>,
    /// When it has last told its state, or else when it was found.
    told: Instant,
    /// Whether it was asked, and has not answered.
    is_asked: bool,
    rates: Rates,
}

/// How fast counts have grown between the last two answers: a second.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Requests of all workers, those that have ended among them; `None` before the second answer.
    pub(crate) requests: Option<f64>,
    /// Responses with a status from 500 on.
    pub(crate) errors: Option<f64>,
    workers: BTreeMap<u64, f64>,
}

impl Instance {
    /// One of which only the socket is known.
    pub(crate) fn at(path: PathBuf, now: Instant) -> Self {
        Self {
            path,
            status: None,
            error: None,
            told: now,
            is_asked: false,
            rates: Rates::default(),
        }
    }

    /// Notes that it is asked now, unless it still has to answer.
    pub(crate) fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.is_asked, true)
    }

    /// Takes in its answer. After an error the last state stays.
    pub(crate) fn see(&mut self, at: Instant, outcome: Result<Status, String>) {
        self.is_asked = false;
        let status = match outcome {
            Ok(status) => status,
            Err(error) => {
                self.error = Some(error);
                return;
            }
        };
        let elapsed = at.saturating_duration_since(self.told);
        // Another arbiter at the same socket counts from its own beginning.
        let before = self.status.as_ref();
        self.rates = match before.filter(|before| before.pid == status.pid) {
            Some(before) => Rates::between(before, &status, elapsed),
            None => Rates::default(),
        };
        self.status = Some(status);
        self.error = None;
        self.told = at;
    }

    /// How fast its counts grow.
    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// For how long it has told nothing.
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.told)
    }

    /// Its app and pid; its socket before these are known.
    pub(crate) fn name(&self) -> String {
        match &self.status {
            Some(status) => format!("{} (pid {})", status.app, status.pid),
            None => self.path.display().to_string(),
        }
    }
}

impl Rates {
    fn between(before: &Status, after: &Status, elapsed: Duration) -> Self {
        let rate = |before: u64, after: u64| {
            let growth = u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
            (!elapsed.is_zero()).then(|| f64::from(growth) / elapsed.as_secs_f64())
        };
        let old = |id: u64| before.workers.iter().find(|worker| worker.id == id);
        let workers = after.workers.iter().filter_map(|worker| {
            let requests = old(worker.id).map_or(0, |old| old.requests);
            Some((worker.id, rate(requests, worker.requests)?))
        });
        Self {
            requests: rate(before.counts.requests, after.counts.requests),
            errors: rate(before.counts.responses_5xx, after.counts.responses_5xx),
            workers: workers.collect(),
        }
    }

    /// The requests of one worker.
    pub(crate) fn of_worker(&self, id: u64) -> Option<f64> {
        self.workers.get(&id).copied()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The state of an instance with a worker for each of these: id, stage, requests.
    pub(crate) fn status(pid: i32, workers: &[(u64, &str, u64)]) -> Status {
        let workers: Vec<String> = workers
            .iter()
            .map(|(id, stage, requests)| {
                let pid = id.saturating_add(100);
                format!(
                    r#"{{"id": {id}, "pid": {pid}, "generation": 1, "stage": "{stage}", "age": 61.0,
                    "requests": {requests}, "connections": 2, "resident": 20480}}"#
                )
            })
            .collect();
        let json = format!(
            r#"{{"version": "1.2.3", "pid": {pid}, "state": "running", "generation": 1,
            "wanted": {}, "app": "shop:app", "listeners": ["127.0.0.1:8000"], "templates": [],
            "workers": [{}]}}"#,
            workers.len(),
            workers.join(",")
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn rates_are_those_between_two_answers() {
        let start = Instant::now();
        let mut instance = Instance::at("/run/x".into(), start);
        assert_eq!(instance.name(), "/run/x");
        let mut first = status(10, &[(1, "serving", 100)]);
        first.counts.requests = 1000;
        assert!(instance.ask() && !instance.ask());
        instance.see(start, Ok(first.clone()));
        assert!(instance.ask());
        assert_eq!(instance.name(), "shop:app (pid 10)");
        assert_eq!(instance.rates().requests, None);
        let mut second = status(10, &[(1, "serving", 150), (2, "serving", 7)]);
        second.counts.requests = 1100;
        second.counts.responses_5xx = 4;
        let later = start + Duration::from_secs(2);
        instance.see(later, Ok(second));
        assert_eq!(instance.rates().requests, Some(50.0));
        assert_eq!(instance.rates().errors, Some(2.0));
        assert_eq!(instance.rates().of_worker(1), Some(25.0));
        assert_eq!(instance.rates().of_worker(2), Some(3.5));
        instance.see(later + Duration::from_secs(3), Err("no answer".to_owned()));
        assert_eq!(instance.rates().requests, Some(50.0));
        let now = later + Duration::from_secs(3);
        assert_eq!(instance.silent_for(now), Duration::from_secs(3));
        // Another arbiter.
        first.pid = 11;
        instance.see(now, Ok(first));
        assert_eq!((instance.rates().requests, &instance.error), (None, &None));
    }
}
