//! Violations of PEP 3333, with the rule and a hint for the author of the app. Raised inside the
//! app where it can still react, logged with the traceback otherwise.

use pyo3::exceptions::{PyAssertionError, PyTypeError, PyValueError};
use pyo3::prelude::*;

/// A violation of PEP 3333 by the app.
#[derive(Debug, thiserror::Error)]
pub enum WsgiViolation {
    /// The status is not a `str`.
    #[error("start_response: the status is of type '{0}'; it must be a str such as '200 OK'")]
    StatusType(String),
    /// The status has the wrong form.
    #[error(
        "start_response: bad status {0}: {1}; it must be three digits, a space and a reason, such as '200 OK'"
    )]
    Status(String, String),
    /// The headers are not a list.
    #[error(
        "start_response: the headers are of type '{0}'; they must be a list of (name, value) tuples"
    )]
    FieldsType(String),
    /// A header is not a pair of `str`.
    #[error("start_response: bad header {0}; each must be a tuple of two str: (name, value)")]
    Field(String),
    /// A header's name or value cannot be sent.
    #[error("start_response: bad header {0}: {1}")]
    FieldText(String, String),
    /// `start_response` came twice.
    #[error("start_response was called a second time without exc_info")]
    Twice,
    /// The call has the wrong arguments.
    #[error("start_response takes (status, headers, exc_info=None)")]
    Arguments,
    /// A body without a head.
    #[error("the app gave a body before it called start_response")]
    NotStarted,
    /// The app returned without `start_response`.
    #[error("the app returned without calling start_response")]
    NeverStarted,
    /// `start_response` or `write` was kept and used later.
    #[error("start_response or write() was called after its request had ended")]
    Over,
    /// The return value cannot be a body.
    #[error("the app returned {0}; it must return an iterable of bytes{1}")]
    Returned(String, &'static str),
    /// An item is not `bytes`.
    #[error("the app's response has a '{kind}' as item {position}; each item must be bytes{hint}")]
    Item {
        /// Its type.
        kind: String,
        /// Which item, from 0.
        position: usize,
        /// What to do.
        hint: &'static str,
    },
    /// `early_hints` has the wrong arguments.
    #[error("early_hints takes one list of (name, value) tuples")]
    HintArguments,
    /// `early_hints` came after the head.
    #[error("early_hints was called after the response had begun")]
    HintsLate,
    /// `early_hints` was kept and used later.
    #[error("early_hints was called after its request had ended")]
    HintsOver,
    /// Something was to be sent on a connection that the app has taken.
    #[error("the app has taken the client's socket: nothing else is sent")]
    SocketTaken,
    /// The client's socket was taken after the head was sent.
    #[error("the client's socket was used after the response had begun")]
    SocketLate,
    /// The client's socket was kept and used later.
    #[error("the client's socket was used after its request had ended")]
    SocketOver,
    /// `write()` got something else.
    #[error("write() takes one bytes object, not '{0}'")]
    Written(String),
}

impl From<WsgiViolation> for PyErr {
    fn from(mistake: WsgiViolation) -> Self {
        let text = mistake.to_string();
        match mistake {
            WsgiViolation::StatusType(_)
            | WsgiViolation::FieldsType(_)
            | WsgiViolation::Field(_)
            | WsgiViolation::Returned(..)
            | WsgiViolation::Item { .. }
            | WsgiViolation::Arguments
            | WsgiViolation::HintArguments
            | WsgiViolation::Written(_) => PyTypeError::new_err(text),
            WsgiViolation::Status(..) | WsgiViolation::FieldText(..) => PyValueError::new_err(text),
            WsgiViolation::Twice
            | WsgiViolation::NotStarted
            | WsgiViolation::NeverStarted
            | WsgiViolation::Over
            | WsgiViolation::HintsLate
            | WsgiViolation::HintsOver
            | WsgiViolation::SocketTaken
            | WsgiViolation::SocketLate
            | WsgiViolation::SocketOver => PyAssertionError::new_err(text),
        }
    }
}

/// What to do about an item or a return value of this type.
#[must_use]
pub(super) fn hint(kind: &str) -> &'static str {
    match kind {
        "str" => ": encode it, as in text.encode('utf-8')",
        "NoneType" => ": is there a missing 'return'?",
        "bytes" => ": put it into a list, as in [body]",
        "int" => ": was a bytes object returned instead of a list of bytes?",
        "dict" => ": serialise it, as in [json.dumps(value).encode('utf-8')]",
        "coroutine" => ": this looks like an async (ASGI) app, which rcorn does not serve",
        _ => "",
    }
}
