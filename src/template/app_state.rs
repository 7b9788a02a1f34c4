//! How the import of the app has changed the process: what SIGCHLD does, and whether the process
//! adopts orphans. The template resets both, because its own forks depend on them; each worker gets
//! them back.

use std::io;

use nix::sys::prctl::{get_child_subreaper, set_child_subreaper};
use nix::sys::signal::Signal;

use rcorn_sys::signal::{Disposition, replace_by_default};

/// The app's own choices about child processes.
#[derive(Debug)]
pub(super) struct AppState {
    /// The app's disposition, for workers. In the template a handler of the app would be called for
    /// processes that the app does not know.
    sigchld: Disposition,
    /// With it in force, workers would become the template's children instead of the arbiter's.
    is_subreaper: bool,
}

impl AppState {
    /// Resets them in this process, the template.
    pub(super) fn take() -> io::Result<Self> {
        let state = Self {
            sigchld: replace_by_default(Signal::SIGCHLD)?,
            is_subreaper: get_child_subreaper()?,
        };
        if state.is_subreaper {
            set_child_subreaper(false)?;
        }
        Ok(state)
    }

    /// Whether orphans of the app are its processes'.
    pub(super) fn is_subreaper(&self) -> bool {
        self.is_subreaper
    }

    /// Restores them in this process, a worker.
    pub(super) fn give_back(&self) -> io::Result<()> {
        self.sigchld.restore(Signal::SIGCHLD)?;
        if self.is_subreaper {
            set_child_subreaper(true)?;
        }
        Ok(())
    }
}
