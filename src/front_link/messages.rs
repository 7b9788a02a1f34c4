//! The messages of the link: one enum for each direction.

use std::collections::BTreeMap;

use rcorn_types::Level;
use serde::{Deserialize, Serialize};

use crate::{Configuration, TicketKey, Tls};

/// Arbiter → front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToFront {
    /// The first message. Answered by [`FromFront::Ready`], or by [`FromFront::Refused`], after
    /// which the front exits.
    Start(Box<Start>),
    /// Serve new connections by this. Answered by [`FromFront::Ready`], or by
    /// [`FromFront::Refused`], and then nothing has changed.
    Reload(Box<Configuration>),
    /// Check this, and change nothing. Also as the first message. Answered by
    /// [`FromFront::Checked`] or [`FromFront::Refused`].
    Check(Box<Tls>),
    /// The keys of session tickets from now on, the newest first. Not answered.
    TicketKeys(Vec<TicketKey>),
    /// Accept nothing more, finish what runs for at most so long, and exit with 0.
    Drain {
        /// In seconds.
        seconds: u64,
    },
    /// Answered by [`FromFront::Status`].
    Status,
}

/// What a front needs to know at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// How it is to serve.
    pub configuration: Configuration,
    /// The listeners, in the order of their descriptors.
    pub listeners: Vec<FrontListener>,
    /// What the descriptors that come with the message are, in their order.
    pub descriptors: Vec<Descriptor>,
    /// Whom to become before a byte of a client is read; `None`: stay.
    #[serde(default)]
    pub user: Option<User>,
    /// Threads; 0: as many as there are CPUs.
    #[serde(default)]
    pub threads: usize,
    /// The generation of the settings.
    #[serde(default)]
    pub generation: u32,
}

/// What a descriptor that comes with [`ToFront::Start`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Descriptor {
    /// A listening socket: the next of [`Start::listeners`].
    Listener,
    /// The inode of the workers' unix socket (`O_PATH`). Whom the front becomes needs the right to
    /// write to it.
    Inner,
    /// The directory `.well-known/acme-challenge` of redirecting listeners.
    AcmeChallenges,
    /// Where a panic is reported: the error log.
    ErrorLog,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontListener {
    /// Its address, for logs.
    pub address: String,
    /// What is spoken there.
    pub kind: ListenerKind,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerKind {
    /// TLS, with HTTP/1.1 and HTTP/2 in it.
    Https,
    /// HTTP/1.1, and HTTP/2 with prior knowledge (RFC 9113 section 3.3).
    Http,
    /// HTTP/1.1 that is answered by redirects to HTTPS.
    Redirect,
}

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// Front → arbiter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromFront {
    /// It serves by the last configuration.
    Ready {
        /// Its certificates, in the order of the sites.
        #[serde(default)]
        certificates: Vec<CertificateFacts>,
    },
    /// The last configuration cannot be served by.
    Refused {
        /// A sentence that names the file, the cause and the way out.
        reason: String,
    },
    /// The certificates that were to be checked are good.
    Checked {
        /// In the order of the sites.
        certificates: Vec<CertificateFacts>,
    },
    /// A record for the error log.
    Log {
        /// Its level.
        level: Level,
        /// Its text, one line.
        text: String,
    },
    /// How the front does.
    Status {
        /// Counters since its start, by name.
        counters: BTreeMap<String, u64>,
        /// Open connections of clients.
        connections: u64,
    },
}

/// What an operator needs to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// Its file.
    pub certfile: String,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
}
