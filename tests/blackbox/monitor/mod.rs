//! The status address (`status_bind`), and health checks on the app's own (`health_path`).

mod abuse;
mod health;
mod metrics;
mod page;
mod service;
mod stages;

use crate::support::{Place, Reply, Server, Wire, get};

/// Where a server that was started with `--status-bind 127.0.0.1:0` answers.
fn status_place(server: &Server) -> Place {
    let line = server.log().expect("Status at: http://");
    let (_, address) = line.split_once("http://").unwrap();
    Place::Tcp(address.trim().parse().unwrap())
}

/// Asks for a path there.
fn ask(place: &Place, target: &str) -> Reply {
    let mut wire = Wire::connect(place);
    wire.send(get(target));
    let reply = wire.read_reply();
    wire.expect_eof();
    reply
}

/// The value of a series, by its name with its labels.
fn value<T>(metrics: &str, series: &str) -> T
where
    T: std::str::FromStr<Err: std::fmt::Debug>,
{
    let of = |line: &&str| {
        let rest = line.strip_prefix(series);
        rest.is_some_and(|rest| rest.starts_with(' '))
    };
    let line = metrics.lines().find(of);
    let line = line.unwrap_or_else(|| panic!("no {series} in:\n{metrics}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// The value of a series that counts something.
fn count(metrics: &str, series: &str) -> u64 {
    value(metrics, series)
}
