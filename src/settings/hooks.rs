//! The functions that a `gunicorn.conf.py` may define for rcorn to call, with their parameters.

/// A hook.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The function's name.
    pub name: &'static str,
    /// The parameters that it is called with.
    pub parameters: &'static [&'static str],
    /// The fewest parameters that it may take instead: gunicorn accepts an older form.
    pub fewest: usize,
    /// The process that calls it.
    pub process: HookProcess,
    /// When it is called: the end of a sentence.
    pub when: &'static str,
}

/// The processes that call hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookProcess {
    /// The template, in place of gunicorn's master: the arbiter has no Python.
    Template,
    /// The worker.
    Worker,
}

impl HookProcess {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Worker => "worker",
        }
    }
}

const fn hook(
    name: &'static str,
    parameters: &'static [&'static str],
    process: HookProcess,
    when: &'static str,
) -> Hook {
    Hook {
        name,
        parameters,
        fewest: parameters.len(),
        process,
        when,
    }
}

use HookProcess::{Template, Worker};

/// All hooks, in the order in which a server calls them.
pub const HOOKS: &[Hook] = &[
    hook(
        "on_starting",
        &["server"],
        Template,
        "before the app is imported; once, and again in a template that replaces a dead one",
    ),
    hook(
        "when_ready",
        &["server"],
        Template,
        "when the sockets are bound, before the first worker; once",
    ),
    hook(
        "on_reload",
        &["server"],
        Template,
        "after a HUP, before the first worker of the new generation",
    ),
    hook(
        "pre_fork",
        &["server", "worker"],
        Template,
        "before a worker is forked",
    ),
    hook(
        "post_fork",
        &["server", "worker"],
        Worker,
        "right after the fork",
    ),
    hook(
        "post_worker_init",
        &["worker"],
        Worker,
        "when the app is loaded, before the first request",
    ),
    hook(
        "pre_request",
        &["worker", "req"],
        Worker,
        "before the app is called",
    ),
    Hook {
        name: "post_request",
        parameters: &["worker", "req", "environ", "resp"],
        fewest: 2,
        process: Worker,
        when: "after the response has been sent",
    },
    hook(
        "worker_int",
        &["worker"],
        Worker,
        "when the worker is told to exit at once (INT, QUIT)",
    ),
    hook(
        "worker_abort",
        &["worker"],
        Worker,
        "before the worker is killed for exceeding `timeout` (ABRT)",
    ),
    hook(
        "worker_exit",
        &["server", "worker"],
        Worker,
        "last, before the worker exits",
    ),
    hook(
        "child_exit",
        &["server", "worker"],
        Template,
        "when a worker has exited",
    ),
    hook(
        "nworkers_changed",
        &["server", "new_value", "old_value"],
        Template,
        "when the configured number of workers changes",
    ),
    hook(
        "pre_exec",
        &["server"],
        Template,
        "before a new rcorn is started (USR2)",
    ),
    hook(
        "on_exit",
        &["server"],
        Template,
        "when all workers have exited, before rcorn does; `graceful_timeout` limits it",
    ),
];

/// The hook of this name.
pub(super) fn hook_named(name: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.name == name)
}
