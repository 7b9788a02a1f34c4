//! The functions that a `gunicorn.conf.py` may define for rcorn to call, with the parameters that each gets.

/// A hook.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The function's name.
    pub name: &'static str,
    /// What it is called with.
    pub parameters: &'static [&'static str],
    /// The fewest that it may take instead: gunicorn lets an old form be.
    pub fewest: usize,
    /// Where it runs and when.
    pub when: &'static str,
}

const fn hook(name: &'static str, parameters: &'static [&'static str], when: &'static str) -> Hook {
    Hook {
        name,
        parameters,
        fewest: parameters.len(),
        when,
    }
}

/// All of them, in the order in which a server's life calls them.
pub const HOOKS: &[Hook] = &[
    hook(
        "on_starting",
        &["server"],
        "template: before the app is imported, once, and again in place of a template that died",
    ),
    hook(
        "when_ready",
        &["server"],
        "template: the sockets are bound, before the first worker, once",
    ),
    hook(
        "on_reload",
        &["server"],
        "template: after a HUP, before the first worker of the new generation",
    ),
    hook(
        "pre_fork",
        &["server", "worker"],
        "template: before a worker is forked",
    ),
    hook(
        "post_fork",
        &["server", "worker"],
        "worker: right after the fork",
    ),
    hook(
        "post_worker_init",
        &["worker"],
        "worker: the app is loaded, before the first request",
    ),
    hook(
        "pre_request",
        &["worker", "req"],
        "worker: before the app is called",
    ),
    Hook {
        name: "post_request",
        parameters: &["worker", "req", "environ", "resp"],
        fewest: 2,
        when: "worker: after the response was sent",
    },
    hook(
        "worker_int",
        &["worker"],
        "worker: it was told to leave at once (INT, QUIT)",
    ),
    hook(
        "worker_abort",
        &["worker"],
        "worker: it is about to be killed for its timeout (ABRT)",
    ),
    hook(
        "worker_exit",
        &["server", "worker"],
        "worker: the last thing it does",
    ),
    hook(
        "child_exit",
        &["server", "worker"],
        "template: a worker has ended",
    ),
    hook(
        "nworkers_changed",
        &["server", "new_value", "old_value"],
        "template: the wanted number of workers changed",
    ),
    hook(
        "pre_exec",
        &["server"],
        "template: before a new rcorn is started (USR2)",
    ),
    hook(
        "on_exit",
        &["server"],
        "template: all workers have ended, before rcorn does; has graceful_timeout for it",
    ),
];

/// The hook of this name.
pub(super) fn hook_named(name: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.name == name)
}
