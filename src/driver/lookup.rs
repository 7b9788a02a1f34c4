//! The addresses behind host names. getaddrinfo(3) may ask servers and take as long as they like,
//! and it cannot be interrupted: a helper process calls it, forked for the purpose.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::{Registry, Token};
use nix::sys::signal::Signal;

use rcorn_arbiter::Pid;
use rcorn_settings::{Address, Settings};
use rcorn_sys::exit_now;
use rcorn_sys::fork::{Fork, fork};
use rcorn_types::Monotonic;

use super::helper::{Helper, HelperError, answer_pipe};

/// Names that are not found within this time have no address.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);

/// A host and a port.
type Name = (String, u16);

/// The address of each name, or why there is none. Numeric hosts need no look-up and are not in
/// here.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    found: BTreeMap<Name, Result<SocketAddr, String>>,
}

impl Addresses {
    /// The first address of a host, as gunicorn takes it.
    ///
    /// # Errors
    ///
    /// The name has no address, or its look-up failed or took too long.
    pub(super) fn of(&self, host: &str, port: u16) -> io::Result<SocketAddr> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        match self.found.get(&(host.to_owned(), port)) {
            Some(Ok(address)) => Ok(*address),
            Some(Err(reason)) => Err(io::Error::other(reason.clone())),
            None => Err(io::Error::other("the name was not looked up")),
        }
    }
}

/// The names in `bind` that are not numeric.
fn names(settings: &Settings) -> Vec<Name> {
    let name = |address: &Address| match address.socket() {
        Address::Tcp { host, port } if host.parse::<IpAddr>().is_err() => {
            Some((host.clone(), *port))
        }
        Address::Tcp { .. }
        | Address::Unix(_)
        | Address::Abstract(_)
        | Address::Fd(_)
        | Address::Uwsgi(_) => None,
    };
    settings.bind.iter().filter_map(name).collect()
}

/// A look-up that runs, or has nothing to do.
#[derive(Debug)]
pub(super) struct Lookup {
    names: Vec<Name>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// No name needs it.
    None,
    /// A helper does it.
    Helper(Helper),
    /// It cannot be done.
    Failed(io::Error),
}

impl Lookup {
    /// Starts it, if the settings have a name to look up.
    pub(super) fn start(settings: &Settings, registry: &Registry, token: Token) -> Self {
        let names = names(settings);
        let work = if names.is_empty() {
            Work::None
        } else {
            let helper = start_helper(&names).and_then(|helper| {
                helper.register(registry, token)?;
                Ok(helper)
            });
            helper.map_or_else(Work::Failed, Work::Helper)
        };
        Self { names, work }
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Monotonic {
        match &self.work {
            Work::None | Work::Failed(_) => Monotonic::ZERO,
            Work::Helper(helper) => helper.deadline(),
        }
    }

    /// The addresses, once all are known or given up.
    pub(super) fn poll(&mut self, now: Monotonic) -> Option<Addresses> {
        let answer = match &mut self.work {
            Work::None => Ok(Vec::new()),
            Work::Helper(helper) => helper.poll(now)?,
            Work::Failed(error) => Err(io::Error::new(error.kind(), error.to_string()).into()),
        };
        Some(read(&self.names, answer))
    }
}

fn start_helper(names: &[Name]) -> io::Result<Helper> {
    let (answer, theirs) = answer_pipe()?;
    let arbiter = std::process::id();
    match fork()? {
        Fork::Parent(pid) => Ok(Helper::new(Pid(pid.as_raw()), answer, LOOKUP_LIMIT)),
        Fork::Child => {
            drop(answer);
            look_up_and_exit(names, theirs, arbiter)
        }
    }
}

/// What the helper wrote. A name that it said nothing of gets the reason why.
fn read(names: &[Name], answer: Result<Vec<u8>, HelperError>) -> Addresses {
    let (lines, reason) = match answer {
        Ok(bytes) => (bytes, "its look-up ended without an answer".to_owned()),
        Err(HelperError::TimedOut(limit)) => {
            let limit = limit.as_secs();
            (Vec::new(), format!("its look-up took more than {limit} s"))
        }
        Err(error) => (Vec::new(), error.to_string()),
    };
    let mut answers = lines
        .split(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).ok());
    let found = names.iter().map(|name| {
        let answer = answers.next().flatten();
        (name.clone(), answer.unwrap_or_else(|| Err(reason.clone())))
    });
    Addresses {
        found: found.collect(),
    }
}

/// The helper's life.
fn look_up_and_exit(names: &[Name], answer: OwnedFd, arbiter: u32) -> ! {
    let is_orphan = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_err()
        || nix::unistd::getppid().as_raw().cast_unsigned() != arbiter;
    let done = !is_orphan && write_addresses(names, std::fs::File::from(answer)).is_ok();
    exit_now(i32::from(!done))
}

/// Looks the names up, and writes one line of JSON for each.
fn write_addresses(names: &[Name], mut answer: impl Write) -> io::Result<()> {
    for (host, port) in names {
        let found = (host.as_str(), *port).to_socket_addrs();
        let found: Result<SocketAddr, String> = match found.map(|mut all| all.next()) {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err("the name has no address".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let line = serde_json::to_string(&found).unwrap_or_default();
        writeln!(answer, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn settings(bind: &[&str]) -> Settings {
        use rcorn_settings::Value;
        Settings {
            bind: bind
                .iter()
                .map(|text| Address::parse(text).ok().unwrap())
                .collect(),
            ..Settings::default()
        }
    }

    #[test]
    fn numeric_hosts_need_no_lookup() {
        let settings = settings(&["127.0.0.1:1", "[::1]:2", "unix:/x"]);
        assert_eq!(names(&settings), []);
        let none = Addresses::default();
        assert_eq!(none.of("127.0.0.1", 1).unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(none.of("::1", 2).unwrap().to_string(), "[::1]:2");
    }

    #[test]
    fn a_name_has_its_address_or_a_reason() {
        // `.invalid` never has one (RFC 6761 section 6.4).
        let settings = settings(&["localhost:1", "no.such.name.invalid:2"]);
        let wanted = names(&settings);
        // Without the fork: a test has threads, and is refused one.
        let mut answer = Vec::new();
        write_addresses(&wanted, &mut answer).unwrap();
        let found = read(&wanted, Ok(answer));
        assert!(found.of("localhost", 1).unwrap().ip().is_loopback());
        assert!(found.of("no.such.name.invalid", 2).is_err());
    }

    #[test]
    fn a_helper_that_dies_early_leaves_a_reason_for_each_name() {
        let names = [("a".to_owned(), 1), ("b".to_owned(), 2)];
        let found = read(&names, Ok(b"{\"Ok\":\"192.0.2.1:1\"}\n{\"O".to_vec()));
        assert_eq!(found.of("a", 1).unwrap().to_string(), "192.0.2.1:1");
        let error = found.of("b", 2).unwrap_err().to_string();
        assert!(error.contains("without an answer"), "{error}");
        let found = read(&names, Err(HelperError::TimedOut(LOOKUP_LIMIT)));
        let error = found.of("a", 1).unwrap_err().to_string();
        assert!(error.contains("more than 30 s"), "{error}");
    }

    #[test]
    fn the_pipe_of_a_helper_never_blocks_the_loop() {
        let (ours, _theirs) = answer_pipe().unwrap();
        let read = nix::unistd::read(ours.as_fd(), &mut [0; 1]);
        assert_eq!(read, Err(nix::Error::EAGAIN));
    }
}
