//! What a connection waits for, and what another worker must know about it.

use serde::{Deserialize, Serialize};

use rcorn_http::ProxiedAddresses;

use super::progress::TransferProgress;
use super::wire_protocol::WireProtocol;

/// What a parked connection waits for. The names of the variants are fixed: they travel between
/// workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiting {
    /// The first byte of its first request.
    #[default]
    FirstByte,
    /// The rest of a head.
    Head,
    /// The rest of a body, until the buffer has this many bytes.
    Body(usize),
    /// The rest of a chunked body.
    Chunks,
    /// The first byte of its next request.
    NextRequest,
    /// The client to take the rest of a response.
    #[serde(rename = "Reply")]
    Response(AfterResponse),
    /// The client's close, after ours. What still arrives is discarded: otherwise the kernel would
    /// answer with a reset, which can destroy a response that the client has not read yet (RFC 9112
    /// section 9.6).
    Close,
}

impl Waiting {
    /// Whether `next` continues this wait with the time that is left. Each wait for a request is a
    /// new one.
    #[must_use]
    pub fn goes_on_as(self, next: Self) -> bool {
        (self == next && next != Self::NextRequest) || (self.is_for_body() && next.is_for_body())
    }

    /// Whether it waits for the rest of a body.
    #[must_use]
    pub fn is_for_body(self) -> bool {
        match self {
            Self::Body(_) | Self::Chunks => true,
            Self::FirstByte | Self::Head | Self::NextRequest | Self::Response(_) | Self::Close => {
                false
            }
        }
    }

    /// Whether it waits for a request to begin.
    #[must_use]
    pub fn is_for_request(self) -> bool {
        match self {
            Self::FirstByte | Self::NextRequest => true,
            Self::Head | Self::Body(_) | Self::Chunks | Self::Response(_) | Self::Close => false,
        }
    }

    /// The order in which connections are closed when there are too many, 0 first; `None` while a
    /// response is being sent.
    pub(crate) fn rank(self) -> Option<u8> {
        match self {
            Self::Close => Some(0),
            Self::NextRequest => Some(1),
            Self::FirstByte => Some(2),
            Self::Head => Some(3),
            Self::Body(_) | Self::Chunks => Some(4),
            Self::Response(_) => None,
        }
    }
}

/// What follows when the client has taken its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterResponse {
    /// The next request.
    NextRequest,
    /// Our close, in the way that loses no response.
    Close,
    /// Our close; the client has sent its last request.
    Done,
}

/// What becomes of a connection after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It waits for this.
    Park(Waiting),
    /// The server ends it while the client may still send: close in the way that loses no response.
    Close,
    /// The client expects nothing more and has sent nothing more: close.
    Done,
    /// It is broken: close.
    Abort,
}

impl Next {
    /// The same, once the client has taken its response. `owes`: a part of the response waits.
    #[must_use]
    pub fn after_response(self, owes: bool) -> Self {
        let after = match self {
            Self::Park(Waiting::Response(after)) => after,
            Self::Park(_) => AfterResponse::NextRequest,
            Self::Close => AfterResponse::Close,
            Self::Done => AfterResponse::Done,
            Self::Abort => return self,
        };
        if owes {
            Self::Park(Waiting::Response(after))
        } else {
            self
        }
    }
}

/// What is sent with a connection that is handed to another worker, beside its socket and its
/// bytes. The names on the wire are fixed: during an upgrade, workers of two builds share one
/// queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionState {
    /// The listener that accepted it.
    pub listener: usize,
    /// The protocol of its listener.
    pub protocol: WireProtocol,
    /// Its first bytes may be a PROXY header.
    pub may_be_proxied: bool,
    /// The addresses that a PROXY header has named, or a front for its last request.
    #[serde(rename = "passage")]
    pub proxied: Option<ProxiedAddresses>,
    /// How many requests were served on it.
    pub served: u64,
    /// What it waits for. A client gets no extra time by a change of workers.
    #[serde(default)]
    pub waiting: Waiting,
    /// The progress of that wait.
    #[serde(default, rename = "pace")]
    pub progress: TransferProgress,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Waiting; 7] = [
        Waiting::FirstByte,
        Waiting::Head,
        Waiting::Body(9),
        Waiting::Chunks,
        Waiting::NextRequest,
        Waiting::Response(AfterResponse::Close),
        Waiting::Close,
    ];

    #[test]
    fn a_wait_goes_on_only_as_itself() {
        for (before, one) in ALL.into_iter().enumerate() {
            for (after, other) in ALL.into_iter().enumerate() {
                let body = one.is_for_body() && other.is_for_body();
                let same = before == after && one != Waiting::NextRequest;
                assert_eq!(one.goes_on_as(other), body || same, "{one:?} {other:?}");
            }
        }
        assert!(Waiting::Body(1).goes_on_as(Waiting::Body(2)));
        let done = Waiting::Response(AfterResponse::Done);
        assert!(!Waiting::Response(AfterResponse::Close).goes_on_as(done));
    }

    #[test]
    fn a_response_comes_before_anything_but_an_abort() {
        for waiting in ALL {
            let next = Next::Park(waiting);
            assert_eq!(next.after_response(false), next);
            let expected = if let Waiting::Response(after) = waiting {
                after
            } else {
                AfterResponse::NextRequest
            };
            let parked = Next::Park(Waiting::Response(expected));
            assert_eq!(next.after_response(true), parked);
        }
        let response = |after| Next::Park(Waiting::Response(after));
        assert_eq!(
            Next::Close.after_response(true),
            response(AfterResponse::Close)
        );
        assert_eq!(
            Next::Done.after_response(true),
            response(AfterResponse::Done)
        );
        assert_eq!(Next::Abort.after_response(true), Next::Abort);
    }
}
