//! What one arbiter hands to the next at an upgrade, in a memfd named by a variable: sockets only, to a second
//! arbiter beside it; or everything, to a new build that takes its place under the same pid.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use rcorn_arbiter::Arbiter;
use rcorn_settings::{Address, Settings};
use rcorn_sys::process::{adopt, unset_variable};

use super::family::Family;
use super::listeners::Listener;

/// Names the memfd.
pub(super) const VARIABLE: &str = "RCORN_HANDOVER";
/// Changes whenever this struct, the scoreboard or the link's messages change: builds with different numbers do
/// not take over each other's workers.
pub const PROTOCOL: u32 = 6;

/// What is handed over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    protocol: u32,
    /// The arbiter that gave it.
    pub from: i32,
    pub(super) listeners: Vec<Socket>,
    /// The lot: connections that one arbiter's workers leave are served by the other's.
    pub(super) lot: (RawFd, RawFd),
    /// Everything else, when the new build takes the old one's place.
    pub(super) whole: Option<Box<Whole>>,
}

/// One listening socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Socket {
    fd: RawFd,
    address: Option<Address>,
}

/// An arbiter's all.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Whole {
    pub(super) brain: Arbiter,
    pub(super) family: Family,
    pub(super) settings: Settings,
    pub(super) scoreboard: RawFd,
    pub(super) reports: (RawFd, RawFd),
    pub(super) announced: bool,
}

impl Handover {
    pub(super) fn new(
        listeners: &[Listener],
        lot: &(OwnedFd, OwnedFd),
        whole: Option<Whole>,
    ) -> Self {
        let sockets = listeners.iter().map(|listener| Socket {
            fd: listener.number(),
            address: listener.address.clone(),
        });
        Self {
            protocol: PROTOCOL,
            from: i32::try_from(std::process::id()).unwrap_or(0),
            listeners: sockets.collect(),
            lot: (lot.0.as_raw_fd(), lot.1.as_raw_fd()),
            whole: whole.map(Box::new),
        }
    }

    /// Takes what a predecessor left in the environment; `None` when there was none.
    pub fn receive(environment: &dyn Fn(&str) -> Option<String>) -> io::Result<Option<Self>> {
        let Some(number) = environment(VARIABLE) else {
            return Ok(None);
        };
        unset_variable(VARIABLE);
        let fd: RawFd = number.parse().map_err(io::Error::other)?;
        let mut file = File::from(adopt(fd)?);
        file.rewind()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let handover: Self = serde_json::from_str(&text).map_err(io::Error::other)?;
        if handover.protocol != PROTOCOL {
            return Err(io::Error::other("it was written by another kind of rcorn"));
        }
        Ok(Some(handover))
    }

    /// The settings that the predecessor ran with, if this build takes its place.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.whole.as_ref().map(|whole| &whole.settings)
    }

    /// Writes it down; gives the memfd. It and all descriptors named in it have to be inherited.
    pub(super) fn write(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create(c"rcorn-handover", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&serde_json::to_vec(self).map_err(io::Error::other)?)?;
        Ok(file.into())
    }

    /// The descriptors named in it.
    pub(super) fn numbers(&self) -> Vec<RawFd> {
        let mut numbers: Vec<RawFd> = self.listeners.iter().map(|socket| socket.fd).collect();
        numbers.extend([self.lot.0, self.lot.1]);
        if let Some(whole) = &self.whole {
            let ours = [whole.scoreboard, whole.reports.0, whole.reports.1];
            numbers.extend(ours);
            numbers.extend(whole.family.numbers());
        }
        numbers
    }

    /// The sockets, as listeners.
    pub(super) fn adopt_listeners(&self) -> io::Result<Vec<Listener>> {
        self.listeners
            .iter()
            .map(|socket| {
                Listener::hand_over(
                    adopt(socket.fd)?,
                    socket.address.clone(),
                    self.whole.is_some(),
                )
            })
            .collect()
    }
}

/// The words of a command line for exec(3).
pub(super) fn words(arguments: &[std::ffi::OsString]) -> io::Result<Vec<CString>> {
    use std::os::unix::ffi::OsStrExt;
    arguments
        .iter()
        .map(|word| CString::new(word.as_bytes()).map_err(io::Error::other))
        .collect()
}

/// Lets a descriptor survive the exec, or not.
pub(super) fn keep(fd: RawFd, keep: bool) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let flags = if keep {
        FdFlag::empty()
    } else {
        FdFlag::FD_CLOEXEC
    };
    let fd = rcorn_sys::process::borrow_inherited(fd)?;
    fcntl(fd, FcntlArg::F_SETFD(flags))?;
    Ok(())
}
