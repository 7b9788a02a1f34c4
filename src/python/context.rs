//! A `contextvars.Context` for one call, by the C API: PEP 567. It is not in the stable ABI, but
//! each CPython from 3.7.1 on exports it with these signatures.
#![expect(unsafe_code, reason = "raw C API")]

use std::ffi::{CStr, c_int};
use std::sync::OnceLock;

use nix::libc;
use pyo3::ffi;
use pyo3::prelude::*;

type New = unsafe extern "C" fn() -> *mut ffi::PyObject;
type Switch = unsafe extern "C" fn(*mut ffi::PyObject) -> c_int;

/// What this interpreter exports.
#[derive(Clone, Copy)]
struct Exports {
    new: New,
    enter: Switch,
    exit: Switch,
}

static EXPORTS: OnceLock<Option<Exports>> = OnceLock::new();

fn exports() -> Option<Exports> {
    *EXPORTS.get_or_init(|| {
        let find = |name: &CStr| {
            // SAFETY: a NUL-terminated name; RTLD_DEFAULT searches what is already loaded.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        };
        let switch = |name: &CStr| {
            let found = find(name)?;
            // SAFETY: CPython's symbols of these names have this signature.
            Some(unsafe { std::mem::transmute::<*mut libc::c_void, Switch>(found) })
        };
        let new = find(c"PyContext_New")?;
        Some(Exports {
            // SAFETY: CPython's symbol of this name has this signature.
            new: unsafe { std::mem::transmute::<*mut libc::c_void, New>(new) },
            enter: switch(c"PyContext_Enter")?,
            exit: switch(c"PyContext_Exit")?,
        })
    })
}

/// A new context that this thread is in, until this is dropped.
#[derive(Debug)]
pub struct NewContext<'py>(Option<Bound<'py, PyAny>>);

/// Enters a new, empty context: what runs there sees no variable that was set elsewhere. No context
/// if this interpreter exports no such functions.
///
/// # Errors
///
/// When Python has no memory.
pub fn enter_new_context(py: Python<'_>) -> PyResult<NewContext<'_>> {
    let Some(Exports { new, enter, .. }) = exports() else {
        return Ok(NewContext(None));
    };
    // SAFETY: CPython's own function, and the GIL is held (`py`).
    let context = unsafe { new() };
    // SAFETY: a new reference, or null with an exception set.
    let context = unsafe { Bound::from_owned_ptr_or_err(py, context) }?;
    // SAFETY: a context that nobody has entered.
    if unsafe { enter(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(NewContext(Some(context)))
}

impl Drop for NewContext<'_> {
    fn drop(&mut self) {
        let (Some(context), Some(Exports { exit, .. })) = (&self.0, exports()) else {
            return;
        };
        // SAFETY: a context; it fails if it is not the current one any more.
        if unsafe { exit(context.as_ptr()) } < 0 {
            // The app has entered another one and not left it: the next request has a new one
            // anyway.
            drop(PyErr::take(context.py()));
        }
    }
}
