//! Calls into Python at their lowest cost: vectorcall where this CPython exports it (from 3.11 on),
//! and attribute look-up without an exception.
#![expect(unsafe_code, reason = "raw C API on the hot path")]

use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use pyo3::exceptions::PySystemExit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use rcorn_sys::signal::AsyncSignalSafe;

use super::vectorcall::{self, Vectorcall};
use super::{Arguments, Builtin, bind_builtin};

type GetOptional =
    unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject, *mut *mut ffi::PyObject) -> c_int;

type SetInterruptEx = unsafe extern "C" fn(c_int) -> c_int;

/// What this interpreter exports, looked up once.
struct Exports {
    vectorcall: Option<Vectorcall<ffi::PyObject>>,
    get_optional: Option<GetOptional>,
    set_interrupt_ex: Option<SetInterruptEx>,
}

static EXPORTS: OnceLock<Exports> = OnceLock::new();

fn exports() -> &'static Exports {
    EXPORTS.get_or_init(|| {
        let find = |name: &CStr| {
            // SAFETY: a NUL-terminated name; RTLD_DEFAULT searches what is already loaded.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        let attribute = find(c"PyObject_GetOptionalAttr").or_else(|| find(c"_PyObject_LookupAttr"));
        Exports {
            // SAFETY: CPython's symbol of this name has this signature.
            vectorcall: find(c"PyObject_Vectorcall").map(|f| unsafe {
                std::mem::transmute::<*mut libc::c_void, Vectorcall<ffi::PyObject>>(f)
            }),
            // SAFETY: both names have the same signature (3.13 made the private one public).
            get_optional: attribute
                .map(|f| unsafe { std::mem::transmute::<*mut libc::c_void, GetOptional>(f) }),
            // SAFETY: CPython's symbol of this name, from 3.10 on, has this signature.
            set_interrupt_ex: find(c"PyErr_SetInterruptEx")
                .map(|f| unsafe { std::mem::transmute::<*mut libc::c_void, SetInterruptEx>(f) }),
        }
    })
}

/// Calls `callable(first, second)`.
///
/// # Errors
///
/// What the callable raises.
pub fn call2<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(function) = exports().vectorcall else {
        return callable.call1((first, second));
    };
    // SAFETY: CPython's own function, three live objects, and the GIL is held (Bound).
    let result =
        unsafe { vectorcall::call2(function, callable.as_ptr(), first.as_ptr(), second.as_ptr()) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(callable.py(), result) }
}

/// The attribute, or `None` without the cost of an `AttributeError`.
///
/// # Errors
///
/// What the look-up raises, except `AttributeError`.
pub fn optional_attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(get_optional) = exports().get_optional else {
        return match object.getattr(name) {
            Ok(found) => Ok(Some(found)),
            Err(error)
                if error.is_instance_of::<pyo3::exceptions::PyAttributeError>(object.py()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        };
    };
    let mut found = ptr::null_mut();
    // SAFETY: live objects, and a place for the result.
    let status = unsafe { get_optional(object.as_ptr(), name.as_ptr(), &raw mut found) };
    if status < 0 {
        return Err(PyErr::fetch(object.py()));
    }
    // SAFETY: null (no such attribute) or a new reference.
    Ok(unsafe { Bound::from_owned_ptr_or_opt(object.py(), found) })
}

/// How many references to the object there are.
#[must_use]
pub fn references(object: &Bound<'_, PyAny>) -> isize {
    // SAFETY: a live object, and the GIL is held (Bound).
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// Whether an [`Interrupt`] came: blocking calls give up then. One for the process, which leaves.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether an [`Abort`] came that was not raised yet. One for the process: it is for the main
/// thread's request, as an interrupt is.
static ABORTS: AtomicBool = AtomicBool::new(false);

/// Whether the app's code is running: only then is there something to interrupt. One for the
/// process, as is the handler of the signal: an interrupt is for the main thread's request. In a
/// worker with several threads it says nothing, and nothing there asks ([`NoteInterrupt`]).
static IN_APP: AtomicBool = AtomicBool::new(false);

/// Runs the app's code, open to [`Interrupt`].
pub fn in_app<R>(run: impl FnOnce() -> R) -> R {
    IN_APP.store(true, Ordering::Relaxed);
    let result = run();
    IN_APP.store(false, Ordering::Relaxed);
    // One that came too late is not for the next.
    ABORTS.store(false, Ordering::Relaxed);
    result
}

/// Clears an interrupt that came too late for the app, so that it does not end the exit handlers.
pub fn clear_pending_interrupt(py: Python<'_>) {
    if interrupted() {
        // The loop passes the interpreter's check for signals. What it raises is the interrupt.
        drop(py.run(c"for _ in (1, 2): pass", None, None));
    }
}

/// Whether this process was told to drop what it does.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Asks the interpreter to run its handler of SIGINT, which [`catch_interrupts`] has set, in the
/// main thread: at the next bytecode, or when a blocking call was interrupted by the signal.
#[derive(Clone, Copy, Debug)]
pub struct Interrupt;

// SAFETY: two atomics, and `PyErr_SetInterrupt`, of which the C API's documentation says: "This
// function is async-signal-safe. It can be called without the GIL and from a C signal handler."
unsafe impl AsyncSignalSafe for Interrupt {
    fn run(&self) {
        INTERRUPTED.store(true, Ordering::Relaxed);
        if IN_APP.load(Ordering::Relaxed) {
            // SAFETY: may be called at any time, from any thread, without the GIL.
            unsafe { ffi::PyErr_SetInterrupt() };
        }
    }
}

/// The order to drop everything, in a worker whose main thread serves no request: there is nothing
/// to interrupt.
#[derive(Clone, Copy, Debug)]
pub struct NoteInterrupt;

// SAFETY: an atomic.
unsafe impl AsyncSignalSafe for NoteInterrupt {
    fn run(&self) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
}

/// Asks the app to end the request in hand, by an exception in the main thread: at the next
/// bytecode, or when a blocking call was interrupted by the signal. What is raised is said by
/// [`catch_interrupts`]. Without a request in hand this does nothing.
#[derive(Clone, Copy, Debug)]
pub struct Abort;

// SAFETY: atomics; `PyErr_SetInterrupt` as above, or `PyErr_SetInterruptEx`, of which the C API's
// documentation says: "This function is async-signal-safe." Its address was looked up before the
// handler was installed.
unsafe impl AsyncSignalSafe for Abort {
    fn run(&self) {
        if !IN_APP.load(Ordering::Relaxed) {
            return;
        }
        ABORTS.store(true, Ordering::Relaxed);
        match EXPORTS.get().and_then(|exports| exports.set_interrupt_ex) {
            // SAFETY: CPython's own function, which takes any number.
            Some(function) => unsafe { drop_number(function(libc::SIGABRT)) },
            // SAFETY: may be called at any time, from any thread, without the GIL.
            None => unsafe { ffi::PyErr_SetInterrupt() },
        }
    }
}

/// -1 means that the number is no signal.
fn drop_number(_code: c_int) {}

/// Makes an interrupt raise `SystemExit(0)`. With `on_abort`, an [`Abort`] calls that, unless it is
/// Python's `None`, and raises `SystemExit(1)` if the call does not raise. Changes the C-level
/// handlers of SIGINT and SIGABRT too: the caller sets its own after this.
///
/// # Errors
///
/// Those of `signal.signal`.
pub fn catch_interrupts(py: Python<'_>, on_abort: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    // For the handlers, which cannot look it up.
    exports();
    // Not `signal`: the app may have a module of that name.
    let signal = py.import("_signal")?;
    let none = py.None().into_bound(py);
    let leave = bind_builtin::<Leave>(on_abort.unwrap_or(&none))?;
    signal.call_method1("signal", (signal.getattr("SIGINT")?, &leave))?;
    if on_abort.is_some() {
        signal.call_method1("signal", (signal.getattr("SIGABRT")?, leave))?;
    }
    Ok(())
}

/// Python's handler of interrupts and aborts, bound to what an abort calls first.
struct Leave;

impl Builtin for Leave {
    const NAME: &'static CStr = c"leave";

    fn call<'py>(
        this: &Bound<'py, PyAny>,
        _arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if interrupted() {
            return Err(PySystemExit::new_err(0));
        }
        if ABORTS.swap(false, Ordering::Relaxed) {
            if !this.is_none() {
                this.call0()?;
            }
            return Err(PySystemExit::new_err(1));
        }
        // Its request has ended.
        Ok(this.py().None().into_bound(this.py()))
    }
}
