//! The front: a process that terminates TLS and HTTP/2 and passes requests on to the workers, as
//! HTTP/1.1 over their unix socket.
//!
//! It is a program of its own, so that the arbiter and the workers have neither its code nor its
//! keys. The arbiter starts it, and tells it over a socket what to do ([`rcorn_front_link`]).
//!
//! A connection of a client stays in one thread (`serving`, `accept`), which has connections to
//! workers of its own (`inner`). HTTP/1 is parsed by the rules of the workers (`http1`), and a
//! stream of HTTP/2 is made a request of HTTP/1 and held to the same rules (`http2`). An exchange
//! passes request (`upload`) and response on in both directions at a time (`exchange`), between a
//! worker and a client that speaks either (`side`); on the way a response may be compressed
//! (`compressed_side`).
#![forbid(unsafe_code)]

mod accept;
mod body_block;
mod buffer;
mod buffered;
mod compressed_side;
mod compression;
mod control;
mod counters;
mod encoder;
mod exchange;
mod http1;
mod http1_io;
mod http1_side;
mod http2;
mod http2_bytes;
mod http2_request;
mod http2_shared;
mod http2_side;
mod inner;
mod inner_socket;
mod local;
mod outcome;
mod page;
mod process;
mod records;
mod redirect;
mod request_head;
mod response_head;
mod running;
mod serving;
mod side;
mod stream;
mod timer;
mod tls;
mod upload;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// Serves as the arbiter at the other end of the link says, and returns when it drains or the link
/// closes. To be called once, in a process with one thread.
pub fn run(link: OwnedFd) -> ExitCode {
    process::prepare();
    let served = serving::runtime().and_then(|runtime| {
        let local = tokio::task::LocalSet::new();
        let served = local.block_on(&runtime, control::run(link));
        // Connections that are still open end with the process.
        drop((local, runtime));
        served
    });
    // Without a link there is nobody to tell.
    served.unwrap_or(ExitCode::FAILURE)
}
