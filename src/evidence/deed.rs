//! What an import does, before it is known who did it.

/// What kind of thing was done. One line of code is named once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A draw of what differs from process to process by chance.
    Random,
    /// A question for what differs from process to process: its ids, and what is under them in
    /// `/proc`.
    Identity,
    /// A clock that counts nanoseconds: two readings never give the same.
    Clock,
    /// A file made, changed or opened for writing.
    File,
    /// A lock on a file.
    Lock,
    /// Memory that is shared with other processes.
    SharedMemory,
    /// A connection, or an end for one.
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
    /// What the process does about a signal; a signal sent.
    Signal,
    /// Code that runs at the end of the process.
    Exit,
    /// Code that runs at a fork.
    Fork,
    /// The session, the group, or the family of the process.
    Session,
    /// A C function of which nothing is known.
    Foreign,
    /// The import could not be watched.
    Unwatched,
}

/// What an observation amounts to, before it is known who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) kind: Kind,
    pub(crate) what: String,
    /// Who must have done it to be a finding.
    pub(crate) by: By,
}

/// Whose deed counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Anybody's.
    Anybody,
    /// The app's, by itself or through the standard library: libraries have good reasons, and what
    /// they leave is seen at the end.
    App,
    /// The app's own line.
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
