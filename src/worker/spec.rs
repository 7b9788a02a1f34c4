//! What a new worker is given.

use std::io;
use std::os::fd::BorrowedFd;

use rcorn_app::hooks::WorkerHooks;
use rcorn_link::Start;
use rcorn_scoreboard::{Cell, Scoreboard};

/// What a new worker is given.
#[derive(Debug)]
pub struct WorkerSpec<'a> {
    /// The start message of its template: settings, generation, and the numbers of inherited
    /// descriptors.
    pub start: &'static Start,
    /// The shared memory in which the worker publishes what it does.
    pub scoreboard: &'static Scoreboard,
    /// The report socket: "ready", "boot failed", "wants to retire".
    pub reports: BorrowedFd<'static>,
    /// The worker's id, which is never used again.
    pub id: u64,
    /// The index of the worker's cell in the scoreboard.
    pub cell: u16,
    /// The memfd into which `faulthandler` writes the worker's Python stacks.
    pub stack_dump: BorrowedFd<'a>,
    /// Whether the app must answer a request to `reload_probe` before the worker reports "ready".
    pub probe: bool,
    /// Whether the worker waits until it is told to serve.
    pub spare: bool,
    /// The hooks of a `gunicorn.conf.py` that run in workers; `None` if it has none of them.
    pub hooks: Option<&'static WorkerHooks>,
}

impl WorkerSpec<'_> {
    /// The worker's cell.
    pub(super) fn own_cell(&self) -> io::Result<&'static Cell> {
        let cell = self.scoreboard.cell(self.cell);
        cell.ok_or_else(|| io::Error::other("the scoreboard has no such cell"))
    }
}
