//! What the status address answers: the metrics of a [`Status`](rcorn_control::Status) as
//! Prometheus and OpenMetrics read them, health, the status itself, and a page for people.
//! Text in, text out: the driver owns the sockets.
#![forbid(unsafe_code)]

mod exposition;
mod page;
mod readiness;
mod request;
mod response;

pub use exposition::{Format, metrics};
pub use request::{Hosts, MAX_REQUEST_BYTES, Question, Reading, Resource, read};
pub use response::{Body, answer, head, refusal};
