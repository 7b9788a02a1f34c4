//! A status as metrics: the text format 0.0.4 of Prometheus, and OpenMetrics 1.0.0.
//!
//! What workers count is read off the table in `src/scoreboard/counters.rs`, so a new row is here
//! without a change. Counters are sums over all workers, those that have ended too, and never fall.
//! What is told of one worker are gauges, by its slot, so that there are no more series than slots.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::time::Duration;

use rcorn_control::{Count, Status, WorkerStatus};
use rcorn_scoreboard::{BOUNDS_MICROSECONDS, Counts, Histogram, Kind, Metric};

use super::readiness::is_ready;

/// The formats that scrapers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// The stages of workers, so that each has a series from the beginning.
const STAGES: [&str; 8] = [
    "forking",
    "booting",
    "spare",
    "serving",
    "leaving",
    "hung",
    "unwinding",
    "killed",
];
/// The states of the server.
const STATES: [&str; 4] = ["running", "reloading", "watching", "stopping"];

/// All metrics of a status.
#[must_use]
pub fn metrics(status: &Status, format: Format) -> String {
    let mut text = Text {
        format,
        text: String::new(),
    };
    of_workers_together(&mut text, &status.counts);
    of_times(&mut text, status);
    of_history(&mut text, status);
    of_server(&mut text, status);
    of_fronts(&mut text, status);
    of_each_worker(&mut text, &status.workers);
    text.finish()
}

/// What fronts count, and what that is. A name that is not here is of another build.
const FRONT_COUNTS: &[(&str, &str)] = &[
    ("connections", "Connections of clients that were accepted."),
    ("handshakes", "TLS handshakes that were completed."),
    ("resumptions", "TLS handshakes that resumed a session."),
    (
        "failed_handshakes",
        "TLS handshakes that failed or took too long.",
    ),
    ("http2_connections", "Connections that speak HTTP/2."),
    ("requests", "Requests that were passed on to workers."),
    (
        "refused_requests",
        "Requests that were refused before a worker saw them.",
    ),
    ("late_requests", "Requests that took too long to arrive."),
    ("retries", "Requests that were sent to a second worker."),
    (
        "bad_gateways",
        "Answers 502: a worker gave none, or none that is HTTP.",
    ),
    ("unavailable", "Answers 503: no worker took the connection."),
    ("cut_responses", "Responses that a worker did not finish."),
    (
        "slow_readers",
        "Clients that did not take a response in time.",
    ),
    (
        "floods",
        "HTTP/2 connections that were ended because of a flood.",
    ),
    (
        "inner_connections",
        "Connections to workers that were opened.",
    ),
    ("tunnels", "Connections that became tunnels."),
    ("front_deaths", "Fronts that have ended by themselves."),
    (
        "refused_renewals",
        "Changed certificates that could not be used.",
    ),
];

/// Without TLS there is nothing of it.
fn of_fronts(text: &mut Text, status: &Status) {
    if status.fronts.is_empty() && status.front_counts.is_empty() {
        return;
    }
    text.begin(
        "fronts",
        "gauge",
        "Processes that speak TLS, by their stage.",
    );
    for stage in ["starting", "serving", "leaving"] {
        let fronts = status.fronts.iter();
        let count = fronts.filter(|front| front.stage == stage).count();
        text.gauge("fronts", &[("stage", stage)], count);
    }
    let open: u64 = status.fronts.iter().map(|front| front.connections).sum();
    let help = "Open connections of clients with TLS.";
    text.begin("front_open_connections", "gauge", help);
    text.gauge("front_open_connections", &[], open);
    for (name, count) in &status.front_counts {
        let known = FRONT_COUNTS.iter().find(|(known, _)| known == name);
        let help = known.map_or("Counted by fronts.", |(_, help)| help);
        let family = match name.strip_prefix("front_") {
            Some(_own) => name.clone(),
            None => format!("front_{name}"),
        };
        text.begin(&family, "counter", help);
        text.counter(&family, &[], count);
    }
    let help = "When the certificate expires, in seconds since 1970.";
    text.begin("certificate_not_after_seconds", "gauge", help);
    for one in &status.certificates {
        let labels = [("file", one.file.as_str())];
        text.gauge("certificate_not_after_seconds", &labels, one.not_after);
    }
    let help = "Whole days until the certificate expires.";
    text.begin("certificate_days", "gauge", help);
    for one in &status.certificates {
        text.gauge("certificate_days", &[("file", one.file.as_str())], one.days);
    }
}

/// The table of counters.
fn of_workers_together(text: &mut Text, counts: &Counts) {
    for (metric, value) in counts.iter() {
        let help = metric.help();
        match (label(metric), metric.kind()) {
            // All rows with this label are one family.
            (Some((family, _, _)), _) => {
                let is_first = text.begin_once(family, "counter", family_help(family));
                if is_first {
                    let same = counts.iter().filter_map(|(metric, value)| {
                        let (its, name, label) = label(metric)?;
                        (its == family).then_some((name, label, value))
                    });
                    for (name, label, value) in same {
                        text.counter(family, &[(name, label)], value);
                    }
                }
            }
            (None, Kind::Counter) => {
                if let Some(name) = metric.name().strip_suffix("_microseconds") {
                    let family = format!("{name}_seconds");
                    text.begin(&family, "counter", &help.replace("Microseconds", "Seconds"));
                    text.counter(&family, &[], seconds(value));
                } else {
                    text.begin(metric.name(), "counter", help);
                    text.counter(metric.name(), &[], value);
                }
            }
            (None, Kind::Gauge) => {
                text.begin(metric.name(), "gauge", help);
                text.gauge(metric.name(), &[], value);
            }
        }
    }
}

/// The family of a row that shares one, its label and the value of it.
fn label(metric: Metric) -> Option<(&'static str, &'static str, &'static str)> {
    let name = metric.name();
    let responses = name.strip_prefix("responses_");
    let responses = responses.map(|class| ("responses", "class", class));
    let refused = name.strip_prefix("refused_");
    let refused = refused.filter(|reason| *reason != "requests");
    responses.or_else(|| refused.map(|reason| ("refusals", "reason", reason)))
}

fn family_help(family: &str) -> &'static str {
    match family {
        "responses" => "Responses that ended a request, by the class of their status.",
        _ => "Refused requests, by what is wrong with them.",
    }
}

fn of_times(text: &mut Text, status: &Status) {
    let times = &status.times;
    text.histogram(
        "request_duration_seconds",
        "From the begin of a request to its end, without the time in which it waited for its client.",
        &times.request,
    );
    text.histogram(
        "queue_wait_seconds",
        "From the arrival of a request to its begin, in the accept queue or parked. Waits below 5 ms are not told apart; longer ones on unix sockets are not known.",
        &times.queue,
    );
    text.histogram(
        "worker_boot_seconds",
        "From the order to fork a worker until it served.",
        &status.history.boot,
    );
}

fn of_history(text: &mut Text, status: &Status) {
    let history = &status.history;
    text.begin("worker_starts", "counter", "Workers that were forked.");
    text.counter("worker_starts", &[], history.worker_starts);
    let of = |text: &mut Text, name: &str, label: &str, help: &str, counts: &[Count]| {
        text.begin(name, "counter", help);
        for Count {
            what,
            signal,
            count,
        } in counts
        {
            match signal {
                None => text.counter(name, &[(label, what)], count),
                Some(signal) => {
                    text.counter(name, &[(label, what), ("signal", signal)], count);
                }
            }
        }
    };
    let ends = "Workers that have ended, by the reason.";
    of(text, "worker_ends", "reason", ends, &history.worker_ends);
    let reloads = "Reloads that are over, by their outcome.";
    of(text, "reloads", "outcome", reloads, &history.reloads);
    let upgrades = "Upgrades of the server, by their kind.";
    of(text, "upgrades", "kind", upgrades, &history.upgrades);
}

/// A gauge of the server: its name, its help, and its value.
type OfServer = (&'static str, &'static str, fn(&Status) -> f64);

const OF_SERVER: [OfServer; 9] = [
    (
        "start_time_seconds",
        "When the server was started, in seconds since 1970.",
        |status| seconds_since_1970(status.history.started),
    ),
    (
        "generation",
        "The generation in force: a reload makes the next.",
        |status| status.generation.into(),
    ),
    (
        "ready",
        "1 while a worker serves and no stop has begun.",
        |status| is_ready(status).into(),
    ),
    ("workers_wanted", "Workers that are wanted.", |status| {
        status.wanted.into()
    }),
    ("workers_serving", "Workers that serve.", |status| {
        number(status.serving())
    }),
    (
        "spare_workers_wanted",
        "Spare workers that are wanted.",
        |status| status.wanted_spares.into(),
    ),
    (
        "request_threads",
        "Threads of the workers that serve, each of which runs one request at a time.",
        |status| status.threads.into(),
    ),
    (
        "requests_in_progress",
        "Requests in the app now.",
        |status| all_in_hand(status).into(),
    ),
    (
        "parked_connections",
        "Connections that occupy no worker now.",
        |status| {
            let held = u32::try_from(status.counts.connections).unwrap_or(u32::MAX);
            held.saturating_sub(all_in_hand(status)).into()
        },
    ),
];

fn of_server(text: &mut Text, status: &Status) {
    let sources = status.build.as_ref();
    let sources = sources.map_or("", |build| build.sources.as_str());
    text.begin_info("build", "What was built.");
    let labels = [("version", status.version.as_str()), ("sources", sources)];
    text.gauge("build_info", &labels, 1);
    for (name, help, value) in OF_SERVER {
        text.begin(name, "gauge", help);
        text.gauge(name, &[], value(status));
    }
    text.begin("state", "gauge", "1 for the state that the server is in.");
    for state in STATES {
        let is = u32::from(status.state == state);
        text.gauge("state", &[("state", state)], is);
    }
    text.begin(
        "workers",
        "gauge",
        "Workers, by the stage that they are in.",
    );
    for stage in STAGES {
        let workers = status.workers.iter();
        let count = workers.filter(|worker| worker.stage == stage).count();
        text.gauge("workers", &[("stage", stage)], count);
    }
}

/// There are never more than fit.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

/// Seconds of the wall clock: exact until 2106.
fn seconds_since_1970(seconds: i64) -> f64 {
    u32::try_from(seconds).map_or(f64::NAN, f64::from)
}

/// How many requests all workers have in hand.
fn all_in_hand(status: &Status) -> u32 {
    status.workers.iter().map(in_hand).sum()
}

/// How many requests a worker has in hand.
fn in_hand(worker: &WorkerStatus) -> u32 {
    let busy = worker.threads.iter();
    let busy = busy.filter(|thread| thread.request.is_some()).count();
    match worker.threads.len() {
        0 => u32::from(worker.request_age.is_some()),
        _ => u32::try_from(busy).unwrap_or(u32::MAX),
    }
}

/// A gauge of one worker: its name, its help, and its value if the worker has one.
type OfWorker = (&'static str, &'static str, fn(&WorkerStatus) -> Option<f64>);

const OF_WORKER: [OfWorker; 6] = [
    (
        "worker_resident_memory_bytes",
        "Resident memory of a worker; what it shares with others is counted in each.",
        |worker| {
            let kibibytes = u32::try_from(worker.resident?).ok()?;
            Some(f64::from(kibibytes) * 1024.0)
        },
    ),
    (
        "worker_busy_seconds",
        "For how long the oldest request in hand has run; 0 if there is none.",
        |worker| Some(worker.request_age.unwrap_or(0.0)),
    ),
    (
        "worker_requests_in_progress",
        "Requests in hand.",
        |worker| Some(in_hand(worker).into()),
    ),
    ("worker_connections", "Connections held.", |worker| {
        Some(worker.connections.into())
    }),
    (
        "worker_age_seconds",
        "For how long a worker has served.",
        |worker| worker.age,
    ),
    (
        "worker_generation",
        "The generation of a worker.",
        |worker| Some(worker.generation.into()),
    ),
];

fn of_each_worker(text: &mut Text, workers: &[WorkerStatus]) {
    for (name, help, value) in OF_WORKER {
        text.begin(name, "gauge", help);
        for worker in workers {
            if let Some(value) = value(worker) {
                let slot = worker.slot.to_string();
                text.gauge(name, &[("slot", &slot)], value);
            }
        }
    }
}

/// Microseconds as seconds.
fn seconds(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64()
}

/// Families that are written one after the other.
struct Text {
    format: Format,
    text: String,
}

/// What all names begin with.
const PREFIX: &str = "rcorn_";

impl Text {
    /// Begins a family.
    fn begin(&mut self, family: &str, kind: &str, help: &str) {
        // The total of a counter is a sample of the family in OpenMetrics, and the family itself in
        // the older format.
        let total = match self.format {
            Format::Prometheus if kind == "counter" => "_total",
            Format::Prometheus | Format::OpenMetrics => "",
        };
        let help = help.replace('\\', "\\\\").replace('\n', " ");
        self.line(format_args!("# HELP {PREFIX}{family}{total} {help}"));
        self.line(format_args!("# TYPE {PREFIX}{family}{total} {kind}"));
        let unit = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| family.ends_with(&format!("_{unit}")));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            self.line(format_args!("# UNIT {PREFIX}{family} {unit}"));
        }
    }

    /// The same, unless it was begun before. Returns whether it was not.
    fn begin_once(&mut self, family: &str, kind: &str, help: &str) -> bool {
        let mark = format!("# HELP {PREFIX}{family}");
        let is_first = !self.text.contains(&format!("{mark} "))
            && !self.text.contains(&format!("{mark}_total "));
        if is_first {
            self.begin(family, kind, help);
        }
        is_first
    }

    /// Begins a family of which the labels are what matters.
    fn begin_info(&mut self, family: &str, help: &str) {
        match self.format {
            Format::Prometheus => self.begin(&format!("{family}_info"), "gauge", help),
            Format::OpenMetrics => self.begin(family, "info", help),
        }
    }

    fn counter(&mut self, family: &str, labels: &[(&str, &str)], value: impl Display) {
        self.sample(&format!("{family}_total"), labels, value);
    }

    fn gauge(&mut self, family: &str, labels: &[(&str, &str)], value: impl Display) {
        self.sample(family, labels, value);
    }

    fn histogram(&mut self, family: &str, help: &str, histogram: &Histogram) {
        self.begin(family, "histogram", help);
        let bucket = format!("{family}_bucket");
        let mut sum = 0_u64;
        let bounds = BOUNDS_MICROSECONDS.iter().map(Some).chain([None]);
        for (bound, count) in bounds.zip(histogram.buckets) {
            sum = sum.saturating_add(count);
            // The canonical form of OpenMetrics, `1.0`, in both formats: the label is the same.
            let bound = bound.map_or(Cow::Borrowed("+Inf"), |bound| {
                Cow::Owned(format!("{:?}", seconds(*bound)))
            });
            self.sample(&bucket, &[("le", &bound)], sum);
        }
        let total = seconds(histogram.microseconds);
        self.sample(&format!("{family}_sum"), &[], total);
        self.sample(&format!("{family}_count"), &[], sum);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let text = &mut self.text;
        text.push_str(PREFIX);
        text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            text.push_str(label);
            text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        // Writing to a String does not fail.
        writeln!(text, " {value}").ok();
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a String does not fail.
        writeln!(self.text, "{line}").ok();
    }

    fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn status() -> Status {
        let json = r#"{
            "version": "1.2\"\\\n3", "pid": 10, "state": "running", "generation": 2, "wanted": 3,
            "app": "shop:app", "listeners": [], "templates": [], "threads": 4,
            "counts": {"requests": 7, "responses_2xx": 5, "responses_5xx": 2, "connections": 9,
                       "refused_host": 1, "gil_wait_microseconds": 1500000},
            "history": {"worker_starts": 5, "worker_ends": [
                {"what": "timeout", "count": 1},
                {"what": "crash", "signal": "SIGSEGV", "count": 2}]},
            "workers": [
                {"id": 7, "pid": 12, "generation": 2, "stage": "serving", "age": 61.5, "slot": 3,
                 "requests": 12345, "connections": 2, "resident": 20, "request": "GET /",
                 "request_age": 0.25},
                {"id": 9, "pid": null, "generation": 2, "stage": "forking", "requests": 0,
                 "connections": 0, "slot": 1}
            ]
        }"#;
        let mut status: Status = serde_json::from_str(json).unwrap();
        status.times.request.observe(Duration::from_millis(3));
        status.times.request.observe(Duration::from_mins(5));
        status
    }

    #[test]
    fn prometheus_reads_this() {
        let text = metrics(&status(), Format::Prometheus);
        for line in [
            "# TYPE rcorn_requests_total counter",
            "rcorn_requests_total 7",
            "rcorn_responses_total{class=\"2xx\"} 5",
            "rcorn_refusals_total{reason=\"host\"} 1",
            "rcorn_gil_wait_seconds_total 1.5",
            "rcorn_connections 9",
            "rcorn_parked_connections 8",
            "rcorn_request_duration_seconds_bucket{le=\"0.0025\"} 0",
            "rcorn_request_duration_seconds_bucket{le=\"0.005\"} 1",
            "rcorn_request_duration_seconds_bucket{le=\"1.0\"} 1",
            "rcorn_request_duration_seconds_bucket{le=\"+Inf\"} 2",
            "rcorn_request_duration_seconds_sum 300.003",
            "rcorn_request_duration_seconds_count 2",
            "rcorn_worker_starts_total 5",
            "rcorn_worker_ends_total{reason=\"crash\",signal=\"SIGSEGV\"} 2",
            "rcorn_build_info{version=\"1.2\\\"\\\\\\n3\",sources=\"\"} 1",
            "rcorn_ready 1",
            "rcorn_state{state=\"stopping\"} 0",
            "rcorn_workers{stage=\"forking\"} 1",
            "rcorn_worker_resident_memory_bytes{slot=\"3\"} 20480",
            "rcorn_worker_busy_seconds{slot=\"1\"} 0",
            "rcorn_worker_age_seconds{slot=\"3\"} 61.5",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("worker_age_seconds{slot=\"1\"}"));
    }

    #[test]
    fn fronts_are_there_with_tls_only() {
        let mut status = status();
        assert!(!metrics(&status, Format::Prometheus).contains("rcorn_front"));
        let fronts = r#"[{"pid": 20, "stage": "serving", "age": 3.5, "connections": 7}]"#;
        status.fronts = serde_json::from_str(fronts).unwrap();
        let certificates = r#"[{"file": "/a.pem", "names": ["a"], "not_after": 9, "days": 30}]"#;
        status.certificates = serde_json::from_str(certificates).unwrap();
        let counts = FRONT_COUNTS.iter().map(|(name, _)| ((*name).to_owned(), 5));
        status.front_counts = counts.chain([("new".to_owned(), 6)]).collect();
        let text = metrics(&status, Format::Prometheus);
        for line in [
            "rcorn_fronts{stage=\"serving\"} 1",
            "rcorn_front_open_connections 7",
            "rcorn_front_handshakes_total 5",
            "rcorn_front_deaths_total 5",
            "rcorn_front_new_total 6",
            "rcorn_certificate_not_after_seconds{file=\"/a.pem\"} 9",
            "rcorn_certificate_days{file=\"/a.pem\"} 30",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
        }
    }

    #[test]
    fn openmetrics_has_totals_units_and_an_end() {
        let text = metrics(&status(), Format::OpenMetrics);
        for line in [
            "# TYPE rcorn_requests counter",
            "rcorn_requests_total 7",
            "# TYPE rcorn_received_bytes counter",
            "# UNIT rcorn_received_bytes bytes",
            "# TYPE rcorn_build info",
            "# UNIT rcorn_request_duration_seconds seconds",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in:\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }

    /// A family that is begun twice is an error in both formats, and so is a series that comes
    /// twice.
    #[test]
    fn each_family_and_series_is_there_once() {
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let text = metrics(&status(), format);
            let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
            for line in text.lines().filter(|line| *line != "# EOF") {
                if let Some(rest) = line.strip_prefix("# TYPE ") {
                    let family = rest.split(' ').next().unwrap().to_owned();
                    assert!(families.insert(family), "{line}");
                } else if !line.starts_with('#') {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    assert!(series.insert(name.to_owned()), "{line}");
                    assert!(value.parse::<f64>().is_ok(), "{line}");
                }
            }
            assert!(families.len() > 40, "{families:?}");
        }
    }

    #[test]
    fn every_row_of_the_table_is_there() {
        let text = metrics(&status(), Format::Prometheus);
        for metric in Metric::ALL {
            let name = match label(*metric) {
                Some((family, name, value)) => {
                    format!("rcorn_{family}_total{{{name}=\"{value}\"}} ")
                }
                None => match (metric.kind(), metric.name().strip_suffix("_microseconds")) {
                    (Kind::Counter, Some(name)) => format!("rcorn_{name}_seconds_total "),
                    (Kind::Counter, None) => format!("rcorn_{}_total ", metric.name()),
                    (Kind::Gauge, _) => format!("rcorn_{} ", metric.name()),
                },
            };
            let lines = text.lines().filter(|line| line.starts_with(&name));
            assert_eq!(lines.count(), 1, "{name}");
        }
    }
}
