//! Metrics for a statsd server, with gunicorn's names.

use std::fmt::Write as _;
use std::time::Duration;

use mio::{Registry, Token};

use rcorn_log::Logged;
use rcorn_scoreboard::Taken;
use rcorn_settings::{Settings, StatsdAddress, Value as _};
use rcorn_types::Monotonic;

use super::outlet::{Outlet, Place, Sent};

/// How often metrics are sent.
const INTERVAL: Duration = Duration::from_millis(250);
/// Durations that are sent each time: more would be too much for the buffer of a server.
const MAX_DURATIONS: usize = 2000;
/// Lines that are kept until they are sent.
const MAX_LINES: usize = 10_000;
/// What a datagram may carry in an Ethernet frame, whatever tunnels there are.
const MAX_DATAGRAM_BYTES: usize = 1400;

/// What the settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatsdSettings {
    address: StatsdAddress,
    prefix: String,
    tags: String,
}

impl StatsdSettings {
    /// What these settings say; `None`: there is no server.
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        let tags = &settings.dogstatsd_tags.0;
        Some(Self {
            address: settings.statsd_host.clone()?,
            prefix: prefix(&settings.statsd_prefix.0),
            tags: if tags.is_empty() {
                String::new()
            } else {
                format!("|#{tags}")
            },
        })
    }
}

/// The prefix with its dot. gunicorn adds none to a single character.
fn prefix(text: &str) -> String {
    let name = text.trim_end_matches('.');
    if name.chars().count() < 2 {
        return text.to_owned();
    }
    format!("{name}.")
}

/// The connection to the server, and the lines that wait for the next datagram.
#[derive(Debug)]
pub(super) struct Statsd {
    pub(super) settings: StatsdSettings,
    outlet: Outlet,
    lines: Vec<String>,
    due: Monotonic,
    /// The number of workers that was sent last.
    workers: Option<usize>,
}

impl Statsd {
    pub(super) fn new(settings: StatsdSettings) -> Self {
        let place = match &settings.address {
            StatsdAddress::Unix(path) => Place::Unix {
                path: path.clone(),
                or_stream: false,
            },
            StatsdAddress::Udp(host, port) => Place::Udp(host.clone(), *port),
        };
        Self {
            outlet: Outlet::new("statsd", settings.address.show(), place),
            settings,
            lines: Vec::new(),
            due: Monotonic::ZERO,
            workers: None,
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Monotonic {
        self.outlet.deadline().unwrap_or(self.due)
    }

    /// Whether it is time to send what the workers have noted. While the server is away it stays
    /// where they noted it.
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        self.due <= now && self.outlet.transport().is_some()
    }

    /// Adds a line of somebody else: a name with its value and type.
    pub(super) fn add(&mut self, metric: &str) {
        let Self {
            settings, lines, ..
        } = self;
        if lines.len() < MAX_LINES {
            lines.push(format!("{}{metric}{}", settings.prefix, settings.tags));
        } else {
            self.outlet.lose_unlogged(1);
        }
    }

    fn count(&mut self, name: &str, count: u64) {
        if count > 0 {
            self.add(&format!("gunicorn.{name}:{count}|c|@1.0"));
        }
    }

    /// Adds the lines about what the workers have noted, and about their number.
    pub(super) fn report(&mut self, taken: &Taken, workers: usize) {
        let rate = self.add_durations(taken);
        debug_assert!(rate <= 1.0);
        self.count("requests", taken.requests());
        for (status, count) in &taken.statuses {
            self.count(&format!("request.status.{status}"), *count);
        }
        for (kind, count) in Logged::ALL.into_iter().zip(taken.logged) {
            self.count(&format!("log.{}", kind.name()), count);
        }
        // There are none before the first one.
        let is_known = self.workers.is_some() || workers > 0;
        if is_known && self.workers.replace(workers) != Some(workers) {
            self.add(&format!("gunicorn.workers:{workers}|g"));
        }
    }

    /// All durations, or some of them with the rate at which they were chosen. Returns the rate.
    fn add_durations(&mut self, taken: &Taken) -> f64 {
        let requests = usize::try_from(taken.requests()).unwrap_or(usize::MAX);
        let step = taken.durations.len().div_ceil(MAX_DURATIONS).max(1);
        let chosen: Vec<u32> = taken.durations.iter().step_by(step).copied().collect();
        let rate = ratio(chosen.len(), requests);
        for micros in chosen {
            let millis = f64::from(micros) / 1000.0;
            let mut line = String::new();
            // Writing to a String does not fail. A whole number ends in `.0`, as Python shows it.
            write!(line, "gunicorn.request.duration:{millis:?}|ms").ok();
            if rate < 1.0 {
                write!(line, "|@{rate:.6}").ok();
            }
            self.add(&line);
        }
        rate
    }

    /// Goes on towards a connection.
    pub(super) fn advance(&mut self, now: Monotonic, registry: &Registry, token: Token) {
        self.outlet.advance(now, registry, token);
    }

    /// Sends what has gathered. What the server does not take is lost.
    pub(super) fn flush(&mut self, now: Monotonic) {
        self.due = now.after(INTERVAL);
        for datagram in datagrams(&std::mem::take(&mut self.lines)) {
            self.send(&datagram, now);
        }
    }

    fn send(&mut self, datagram: &str, now: Monotonic) {
        let first = self.outlet.send(datagram.as_bytes(), now);
        // A refusal is about the one before.
        let sent = if first == Sent::Refused {
            self.outlet.send(datagram.as_bytes(), now)
        } else {
            first
        };
        let is_lost = [first, sent]
            .iter()
            .any(|one| !matches!(one, Sent::Bytes(_)));
        self.outlet.lose_unlogged(is_lost.into());
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a share of at most some billions"
)]
fn ratio(part: usize, whole: usize) -> f64 {
    if part >= whole {
        return 1.0;
    }
    part as f64 / whole as f64
}

/// The lines, as many in each datagram as fit.
fn datagrams(lines: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in lines {
        match all.last_mut() {
            Some(last)
                if last.len().saturating_add(line.len()).saturating_add(1)
                    <= MAX_DATAGRAM_BYTES =>
            {
                last.push('\n');
                last.push_str(line);
            }
            Some(_) | None => all.push(line.clone()),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use rcorn_settings::MetricText;

    use super::*;

    fn statsd(prefix: &str, tags: &str) -> Statsd {
        let settings = Settings {
            statsd_host: StatsdAddress::parse("127.0.0.1:8125").ok(),
            statsd_prefix: MetricText(prefix.to_owned()),
            dogstatsd_tags: MetricText(tags.to_owned()),
            ..Settings::default()
        };
        Statsd::new(StatsdSettings::of(&settings).unwrap())
    }

    /// Recorded from gunicorn 27.0.1, a datagram each.
    #[test]
    fn lines_are_those_of_gunicorn() {
        let mut statsd = statsd("shop", "env:prod,zone:a b");
        let taken = Taken {
            statuses: vec![(200, 2), (404, 1)],
            durations: vec![1234, 500, 12_000],
            logged: [0, 1, 0, 3],
        };
        statsd.report(&taken, 4);
        let expected = [
            "shop.gunicorn.request.duration:1.234|ms|#env:prod,zone:a b",
            "shop.gunicorn.request.duration:0.5|ms|#env:prod,zone:a b",
            "shop.gunicorn.request.duration:12.0|ms|#env:prod,zone:a b",
            "shop.gunicorn.requests:3|c|@1.0|#env:prod,zone:a b",
            "shop.gunicorn.request.status.200:2|c|@1.0|#env:prod,zone:a b",
            "shop.gunicorn.request.status.404:1|c|@1.0|#env:prod,zone:a b",
            "shop.gunicorn.log.error:1|c|@1.0|#env:prod,zone:a b",
            "shop.gunicorn.log.exception:3|c|@1.0|#env:prod,zone:a b",
            "shop.gunicorn.workers:4|g|#env:prod,zone:a b",
        ];
        assert_eq!(statsd.lines, expected);
        statsd.lines.clear();
        statsd.report(&Taken::default(), 4);
        assert_eq!(statsd.lines, [""; 0], "nothing has changed");
    }

    #[test]
    fn a_prefix_gets_its_dot_as_in_gunicorn() {
        for (given, expected) in [
            ("", ""),
            ("shop", "shop."),
            ("shop.", "shop."),
            ("shop...", "shop."),
            ("a.b", "a.b."),
            ("ab", "ab."),
            ("a", "a"),
            ("a.", "a."),
            ("..", ".."),
        ] {
            assert_eq!(prefix(given), expected, "{given}");
        }
    }

    #[test]
    fn of_many_durations_some_are_sent_with_their_rate() {
        let mut statsd = statsd("", "");
        let taken = Taken {
            statuses: vec![(200, 16_000)],
            durations: vec![1000; 4000],
            ..Taken::default()
        };
        statsd.report(&taken, 1);
        let durations = statsd.lines.iter().filter(|line| line.contains("duration"));
        let durations: Vec<_> = durations.collect();
        assert_eq!(durations.len(), 2000);
        assert_eq!(durations[0], "gunicorn.request.duration:1.0|ms|@0.125000");
        let requests = "gunicorn.requests:16000|c|@1.0".to_owned();
        assert!(statsd.lines.contains(&requests));
    }

    #[test]
    fn datagrams_fit_into_a_frame_and_lose_no_line() {
        let lines: Vec<String> = (0..500).map(|one| format!("gunicorn.x{one}:1|c")).collect();
        let datagrams = datagrams(&lines);
        assert!(datagrams.iter().all(|one| one.len() <= MAX_DATAGRAM_BYTES));
        assert!(datagrams.len() < 10);
        assert_eq!(datagrams.join("\n").lines().collect::<Vec<_>>(), lines);
        assert_eq!(super::datagrams(&[]), [""; 0]);
    }
}
