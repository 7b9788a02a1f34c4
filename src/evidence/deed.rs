//! What an import does, before the code that did it is known.

/// The kinds of deeds. A line of code is named once for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A draw of random numbers or bytes.
    Random,
    /// A query for what differs between processes: ids, and what `/proc` says about them.
    Identity,
    /// A clock that counts nanoseconds: two readings are never equal.
    Clock,
    /// A file made, changed or opened for writing.
    File,
    /// A lock on a file.
    Lock,
    /// Memory that is shared with other processes.
    SharedMemory,
    /// A connection, or a socket for one.
    Socket,
    /// A pipe, or another descriptor without a file.
    Descriptor,
    /// A thread.
    Thread,
    /// A timer.
    Timer,
    /// A child process.
    Child,
    /// A database.
    Database,
    /// A change of what the process does about a signal; a signal that was sent.
    Signal,
    /// Code that runs at the end of the process.
    Exit,
    /// Code that runs at a fork.
    Fork,
    /// The session, the group, or the parent or children of the process.
    Session,
    /// A further interpreter in this process.
    Interpreter,
    /// What hinders the process from forking, or the forked one from being a worker.
    Confinement,
    /// A C function of which nothing is known.
    Foreign,
    /// The import could not be watched.
    Unwatched,
}

/// A deed, before the code that did it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) kind: Kind,
    pub(crate) what: String,
    /// Whose code must have done it, so that it is a finding.
    pub(crate) by: By,
}

/// The code whose deeds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// All code.
    Anybody,
    /// The app's code, directly or through the standard library. Libraries have good reasons, and
    /// what they leave is seen at the end.
    App,
    /// A line of the app's own code.
    AppLine,
}

impl Deed {
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            by: By::Anybody,
        }
    }
}
