//! Looks up names: the addresses of hosts, the numbers of a user and a group. getaddrinfo(3) and
//! getpwnam(3) may ask servers, take any time, and cannot be interrupted, so a helper process calls
//! them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::{Registry, Token};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;

use rcorn_arbiter::Pid;
use rcorn_settings::{Address, Settings};
use rcorn_sys::exit_now;
use rcorn_sys::fork::{Fork, fork};
use rcorn_types::Monotonic;

use super::helper::{Helper, HelperError, answer_pipe};
use super::owner::Owner;

/// How long a look-up may take.
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

/// The hosts in `bind` that are not numeric.
fn names(settings: &Settings) -> Vec<Name> {
    let name = |address: &Address| match address.socket() {
        Address::Tcp { host, port } if host.parse::<IpAddr>().is_err() => {
            Some((host.clone(), *port))
        }
        Address::Tcp { .. }
        | Address::Unix(_)
        | Address::Abstract(_)
        | Address::Fd(_)
        | Address::Uwsgi(_)
        | Address::Https(_) => None,
    };
    settings.bind.iter().filter_map(name).collect()
}

/// What was looked up.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) addresses: Addresses,
    /// The owner of new files, or why there is none.
    pub(super) owner: Result<Owner, String>,
}

/// Who owns new files.
#[derive(Debug)]
enum OwnerName {
    Known(Owner),
    /// It must be looked up.
    Of(Box<Settings>),
}

/// A look-up that runs, or has nothing to do.
#[derive(Debug)]
pub(super) struct Lookup {
    names: Vec<Name>,
    owner: OwnerName,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// No name needs it.
    None,
    /// A helper looks it up.
    Helper(Helper),
    /// The look-up cannot be started.
    Failed(io::Error),
}

impl Lookup {
    /// Starts it, if the settings have a name to look up. `owner`: that of new files, if it is
    /// known.
    pub(super) fn start(
        settings: &Settings,
        owner: Option<Owner>,
        registry: &Registry,
        token: Token,
    ) -> Self {
        let names = names(settings);
        let owner = match owner.or_else(|| Owner::of_numbers(settings)) {
            Some(owner) => OwnerName::Known(owner),
            None => OwnerName::Of(Box::new(settings.clone())),
        };
        let work = if names.is_empty() && matches!(owner, OwnerName::Known(_)) {
            Work::None
        } else {
            let helper = start_helper(&names, &owner).and_then(|helper| {
                helper.register(registry, token)?;
                Ok(helper)
            });
            helper.map_or_else(Work::Failed, Work::Helper)
        };
        Self { names, owner, work }
    }

    /// Starts the look-up of one name. A number needs none, and is there at once.
    pub(super) fn of_name((host, port): Name, registry: &Registry, token: Token) -> Self {
        let bind = vec![Address::tcp(host, port)];
        let settings = Settings {
            bind,
            ..Settings::default()
        };
        Self::start(&settings, None, registry, token)
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Monotonic {
        match &self.work {
            Work::None | Work::Failed(_) => Monotonic::ZERO,
            Work::Helper(helper) => helper.deadline(),
        }
    }

    /// The results, once all are known or given up.
    pub(super) fn poll(&mut self, now: Monotonic) -> Option<Found> {
        let answer = match &mut self.work {
            Work::None => Ok(Vec::new()),
            Work::Helper(helper) => helper.poll(now)?,
            Work::Failed(error) => Err(io::Error::new(error.kind(), error.to_string()).into()),
        };
        Some(read(&self.names, &self.owner, answer))
    }
}

fn start_helper(names: &[Name], owner: &OwnerName) -> io::Result<Helper> {
    let (answer, theirs) = answer_pipe()?;
    let arbiter = std::process::id();
    match fork()? {
        Fork::Parent(pid) => Ok(Helper::new(Pid(pid.as_raw()), answer, LOOKUP_LIMIT)),
        Fork::Child => {
            drop(answer);
            look_up_and_exit(names, owner, theirs, arbiter)
        }
    }
}

/// Reads what the helper has written. For a name without an answer the result is the reason.
fn read(names: &[Name], owner: &OwnerName, answer: Result<Vec<u8>, HelperError>) -> Found {
    let (lines, reason) = match answer {
        Ok(bytes) => (bytes, "its look-up ended without an answer".to_owned()),
        Err(HelperError::TimedOut(limit)) => {
            let limit = limit.as_secs();
            (Vec::new(), format!("its look-up took more than {limit} s"))
        }
        Err(error) => (Vec::new(), error.to_string()),
    };
    let mut lines = lines.split(|byte| *byte == b'\n');
    let owner = match owner {
        OwnerName::Known(owner) => Ok(*owner),
        OwnerName::Of(_) => answer_in(lines.next()).unwrap_or_else(|| {
            let reason = &reason;
            Err(format!("user and group of the workers: {reason}"))
        }),
    };
    let found = names.iter().map(|name| {
        let answer = answer_in(lines.next());
        (name.clone(), answer.unwrap_or_else(|| Err(reason.clone())))
    });
    let addresses = Addresses {
        found: found.collect(),
    };
    Found { addresses, owner }
}

/// The answer in one line, if there is one.
fn answer_in<T: DeserializeOwned>(line: Option<&[u8]>) -> Option<Result<T, String>> {
    serde_json::from_slice(line?).ok()
}

/// Runs the helper, to its end.
fn look_up_and_exit(names: &[Name], owner: &OwnerName, answer: OwnedFd, arbiter: u32) -> ! {
    let is_orphan = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_err()
        || nix::unistd::getppid().as_raw().cast_unsigned() != arbiter;
    let done = !is_orphan && write_answers(names, owner, std::fs::File::from(answer)).is_ok();
    exit_now(i32::from(!done))
}

/// Looks everything up, and writes one line of JSON for each: the owner, if it is asked for, then
/// the names.
fn write_answers(names: &[Name], owner: &OwnerName, mut answer: impl Write) -> io::Result<()> {
    if let OwnerName::Of(settings) = owner {
        let found = Owner::find(settings).map_err(|error| error.to_string());
        let line = serde_json::to_string(&found)?;
        writeln!(answer, "{line}")?;
    }
    for (host, port) in names {
        let found = (host.as_str(), *port).to_socket_addrs();
        let found: Result<SocketAddr, String> = match found.map(|mut all| all.next()) {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err("the name has no address".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let line = serde_json::to_string(&found)?;
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
        let owner = OwnerName::Of(Box::new(settings));
        write_answers(&wanted, &owner, &mut answer).unwrap();
        let found = read(&wanted, &owner, Ok(answer));
        assert_eq!(found.owner.unwrap().if_other(), None);
        let found = found.addresses;
        assert!(found.of("localhost", 1).unwrap().ip().is_loopback());
        assert!(found.of("no.such.name.invalid", 2).is_err());
    }

    #[test]
    fn a_helper_that_dies_early_leaves_a_reason_for_each_name() {
        let names = [("a".to_owned(), 1), ("b".to_owned(), 2)];
        let known = OwnerName::Known(Owner::find(&Settings::default()).unwrap());
        let found = read(
            &names,
            &known,
            Ok(b"{\"Ok\":\"192.0.2.1:1\"}\n{\"O".to_vec()),
        );
        let found = found.addresses;
        assert_eq!(found.of("a", 1).unwrap().to_string(), "192.0.2.1:1");
        let error = found.of("b", 2).unwrap_err().to_string();
        assert!(error.contains("without an answer"), "{error}");
        let unknown = OwnerName::Of(Box::default());
        let found = read(&names, &unknown, Err(HelperError::TimedOut(LOOKUP_LIMIT)));
        let error = found.owner.unwrap_err();
        assert!(error.contains("more than 30 s"), "{error}");
        let error = found.addresses.of("a", 1).unwrap_err().to_string();
        assert!(error.contains("more than 30 s"), "{error}");
    }

    #[test]
    fn the_pipe_of_a_helper_never_blocks_the_loop() {
        let (ours, _theirs) = answer_pipe().unwrap();
        let read = nix::unistd::read(ours.as_fd(), &mut [0; 1]);
        assert_eq!(read, Err(nix::Error::EAGAIN));
    }
}
