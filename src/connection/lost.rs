//! Why a connection cannot be used any more.

use std::io;
use std::time::Duration;

use super::progress::MIN_BYTES_PER_SECOND;

/// Why a connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The client closed or reset it.
    #[error("the client left")]
    Gone(#[source] io::Error),
    /// The client took or gave nothing for too long.
    #[error("the client {} nothing for {} s", .0, .1.as_secs_f32())]
    Stalled(&'static str, Duration),
    /// The client took or gave something now and then, but too little.
    #[error("the client {} too little: less than {MIN_BYTES_PER_SECOND} bytes a second", .0)]
    TooSlow(&'static str),
    /// A file had fewer bytes than it had when its response began.
    #[error("the file has become shorter while it was sent")]
    Short,
    /// The worker was told to leave at once.
    #[error("the worker was told to leave")]
    Leaving,
}
