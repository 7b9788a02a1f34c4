//! The only `unsafe` towards CPython: what the hot path needs and PyO3 does not offer at its price,
//! each as a small safe function. Knows nothing of HTTP or WSGI. Called by `template`, `worker` and
//! `wsgi`.

pub mod builtin;
pub mod call;
pub mod context;
pub mod fork;
pub mod modules;
pub mod observe;
pub mod stack_dump;
pub mod streams;
pub mod text;
pub mod thread;
pub mod traceback;
mod vectorcall;

pub use builtin::{Arguments, Builtin, builtin as bind_builtin};

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test that fails panics")]
mod tests;
