//! The half of a worker that does not know Python: it accepts connections ([`Acceptor`]), moves
//! their bytes ([`Transport`], [`Channel`]), parks them ([`Connections`]), hands them to other
//! workers ([`HandoffQueue`]), and has the thread that serves them while the app runs
//! ([`IoThread`]). Called by `wsgi` and `worker`.
#![forbid(unsafe_code)]

mod acceptor;
mod body_block;
mod channel;
mod coalesce;
mod connection;
mod connections;
mod fd_budget;
mod handoff;
mod head_scan;
mod io_thread;
mod lost;
mod parking;
mod poller;
mod progress;
mod queue_limit;
mod state;
mod sync;
mod transport;
mod unlocked;
mod wait;
mod wire_protocol;
mod write_buffer;

#[cfg(loom)]
#[cfg(test)]
mod loom_tests;

pub use acceptor::{Accepted, Acceptor, Listener, has_more_than_its_share};
pub use channel::{Channel, ClientTimeouts, WeakChannel, WorkerEntry, WriteOffload};
pub use coalesce::Coalescing;
pub use connection::{Connection, WaitTimeouts};
pub use connections::{Connections, Expired};
pub use fd_budget::FdBudget;
pub use handoff::{HandoffQueue, TransferredConnection};
pub use head_scan::HeadScan;
pub use io_thread::{Attendance, IoThread, LeaveFlags, OneThread};
pub use lost::Lost;
pub use parking::Published;
pub use poller::{Events, Interest, Poller, Source};
pub use progress::{MIN_BYTES_PER_SECOND, RateCheck, TransferProgress};
pub use queue_limit::{Answer, OverdueAnswer, QueueLimit};
pub use state::{AfterResponse, ConnectionState, Next, Waiting};
pub use transport::{Flush, Transport};
pub use unlocked::Unlocked;
pub use wait::WaitProgress;
pub use wire_protocol::WireProtocol;
pub use write_buffer::FileRest;
