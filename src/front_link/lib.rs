//! What the arbiter and a front tell each other, and what a front tells a worker of a client.
//!
//! A front is a process that terminates TLS and HTTP/2 and passes requests on to the workers. On
//! the link, a stream socket, each message is JSON after its length ([`wire`]). With a request to a
//! worker comes one header field, [`Facts`]. A large body comes back in memory: [`SharedBody`].
//!
//! Arbiter and front are of the same build, except during an upgrade in place, when the front of
//! the build before drains. So a name on the wire never changes, and a new field has a
//! `#[serde(default)]`.
#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]

mod base64;
mod certificate;
mod configuration;
pub mod der;
mod facts;
mod messages;
mod shared_body;
pub mod wire;

pub use certificate::ClientCertificate;
pub use configuration::{
    ClientCertificates, Coding, Compress, Configuration, Http2Limits, Limits, RedirectHttps,
    TicketKey, Tls, TlsSite, TlsVersion, VerifyMode,
};
pub use facts::{FIELD_NAME, Facts, FactsError, HttpVersion, Scheme, Verify};
pub use messages::{
    CertificateFacts, Descriptor, FromFront, FrontListener, ListenerKind, Start, ToFront, User,
};
pub use shared_body::{MAX_SHARED_BODY_BYTES, SharedBody};

/// The descriptor of the link in a front that was just started.
pub const LINK_FD: i32 = 3;
