//! A thread of the server that runs Python, as `threading` sees it.
#![expect(unsafe_code, reason = "exceptions for other threads")]

use std::time::Duration;

use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;

/// Gives the calling thread a name for `threading.current_thread().name`.
///
/// Threads that the app starts from it are no daemons unless the app says so, as under gunicorn:
/// `threading` takes a thread that it did not start for a daemon, and its children inherit that.
///
/// # Errors
///
/// Those of Python.
pub fn set_name(py: Python<'_>, name: &str) -> PyResult<()> {
    let thread = py.import("threading")?.call_method0("current_thread")?;
    thread.setattr("name", name)?;
    // The property refuses a thread that runs.
    thread.setattr("_daemonic", false)
}

/// Takes the calling thread from those that `threading` lists. It does so itself only for threads
/// that it has started, and from 3.13 on for others.
///
/// # Errors
///
/// Those of Python.
pub fn forget(py: Python<'_>) -> PyResult<()> {
    let thread = py.import("threading")?.call_method0("current_thread")?;
    thread.call_method0("_delete").map(drop)
}

/// The number by which Python knows the calling thread (`threading.get_ident()`).
///
/// # Errors
///
/// Those of Python.
pub fn ident(py: Python<'_>) -> PyResult<u64> {
    let ident = py.import("_thread")?.call_method0("get_ident")?;
    ident.extract()
}

/// Raises `SystemExit` in the thread that has this number, at its next bytecode. The caller holds
/// the GIL, so the thread is where it was when the caller looked.
pub fn raise_exit(py: Python<'_>, ident: u64) {
    let exit = py.get_type::<PySystemExit>();
    set_exception(py, ident, exit.as_ptr());
}

/// Takes back what [`raise_exit`] has ordered, if the thread has not met it yet.
pub fn take_back_exit(py: Python<'_>, ident: u64) {
    set_exception(py, ident, std::ptr::null_mut());
}

fn set_exception(_py: Python<'_>, ident: u64, exception: *mut ffi::PyObject) {
    // The address of a thread's descriptor: no system uses the upper half of them.
    let ident = std::ffi::c_long::try_from(ident).unwrap_or(0);
    // SAFETY: the GIL is held; the exception is a live object, or null, which clears. How many
    // threads were changed says nothing: one that has ended meets nothing any more.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident, exception) };
}

/// The stack size for new threads that the app has set (`threading.stack_size()`), in bytes; 0: it
/// has set none.
///
/// # Errors
///
/// Those of Python.
pub fn stack_bytes(py: Python<'_>) -> PyResult<usize> {
    let size = py.import("_thread")?.call_method0("stack_size")?;
    size.extract()
}

/// Sets how long a thread may run Python while others wait to.
///
/// # Errors
///
/// Those of `sys.setswitchinterval`.
pub fn set_switch_interval(py: Python<'_>, interval: Duration) -> PyResult<()> {
    let set = py.import("sys")?.getattr("setswitchinterval")?;
    set.call1((interval.as_secs_f64(),)).map(drop)
}

/// Whether this interpreter has a GIL. Only from 3.13 on there is a choice.
#[must_use]
pub fn has_gil(py: Python<'_>) -> bool {
    let sys = py.import("sys");
    let enabled = sys.and_then(|sys| sys.call_method0("_is_gil_enabled")?.is_truthy());
    enabled.unwrap_or(true)
}
