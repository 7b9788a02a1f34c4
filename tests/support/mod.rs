//! The harness of the black-box tests: real processes, real sockets, and no sleeping. Tests wait on
//! events (a log line, a datagram, a FIFO, a process's end), each with a deadline; the one place
//! that polls is `deadline.rs`. It knows nothing of rcorn's insides and shares no code with it: the
//! HTTP reading of `wire.rs` is its own, so that a mistake of ours cannot hide itself.
//!
//! `server.rs` is where to begin. A test that needs more than Rust, a C compiler and Python begins
//! with `needs::lacks`. `tests.rs` tries the harness against a stand-in in Python.

mod apps;
pub(crate) mod build;
mod builder;
pub(crate) mod conf;
#[path = "../corpus/format.rs"]
pub(crate) mod corpus;
mod ctl;
mod deadline;
mod gate;
mod load;
mod memory_group;
mod needs;
pub(crate) mod nginx;
mod notify;
pub(crate) mod once;
mod output;
mod process;
mod pythons;
mod random;
mod reply;
mod request;
pub(crate) mod resources;
mod screen;
mod server;
pub(crate) mod site;
mod strace;
mod tests;
pub(crate) mod venv;
mod wire;

pub(crate) use apps::{APPS, EXAMPLES, OLD, ROOT};
pub(crate) use builder::{Builder, have_threads};
pub(crate) use ctl::{Told, ctl, serves};
pub(crate) use deadline::{Deadline, holds_within, wait_until};
pub(crate) use gate::Gate;
pub(crate) use load::{Connections, Load};
pub(crate) use memory_group::MemoryGroup;
pub(crate) use needs::{Need, OtherBuild, lacks, lacks_for, program};
pub(crate) use nginx::{Nginx, UWSGI_PARAMS};
pub(crate) use notify::Notify;
pub(crate) use once::Once;
pub(crate) use output::Output;
pub(crate) use process::{Pidfd, children, own, thread_named, title};
pub(crate) use pythons::{free_threaded_pythons, python, pythons, supported_pythons};
pub(crate) use random::Random;
pub(crate) use reply::{Broken, Reply, expect_lines, has_line};
pub(crate) use request::{get, post};
pub(crate) use screen::Screen;
pub(crate) use server::{Ended, Server};
pub(crate) use strace::Strace;
pub(crate) use wire::{Place, Wire};
