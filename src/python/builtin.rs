//! Built-in functions with the fast calling convention (`METH_FASTCALL`): no argument tuple is
//! built for a call. Worth 400 to 1,100 instructions a request against a `#[pyclass]` with
//! `__call__`.
#![expect(
    unsafe_code,
    reason = "a C function pointer that CPython calls has no safe form"
)]

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// The flag's value, which the stable ABI's headers name from 3.10 on but every CPython since 3.7
/// knows.
const METH_FASTCALL: c_int = 0x0080;

/// A function that Python can call, bound to one object.
pub trait Builtin {
    /// Its name, for tracebacks and `repr`.
    const NAME: &'static CStr;

    /// The call itself.
    ///
    /// # Errors
    ///
    /// What the caller in Python gets as an exception.
    fn call<'py>(
        this: &Bound<'py, PyAny>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>>;
}

/// The arguments of one call.
pub struct Arguments<'a, 'py> {
    py: Python<'py>,
    /// Each points to an object that lives through the call: only [`trampoline`] makes this.
    positional: &'a [*mut ffi::PyObject],
    keyword_names: Option<Bound<'py, PyTuple>>,
    /// The values of `keyword_names`, of which the same is true.
    keywords: &'a [*mut ffi::PyObject],
}

impl std::fmt::Debug for Arguments<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arguments({})", self.count())
    }
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// How many arguments there are, positional and by keyword.
    #[must_use]
    pub fn count(&self) -> usize {
        // Both are parts of one slice.
        self.positional.len().saturating_add(self.keywords.len())
    }

    /// How many positional arguments there are.
    #[must_use]
    pub fn positional(&self) -> usize {
        self.positional.len()
    }

    /// The argument at this position, or else by this keyword.
    ///
    /// # Errors
    ///
    /// `TypeError` when a keyword is not a `str`.
    pub fn get(
        &self,
        position: usize,
        keyword: &str,
    ) -> PyResult<Option<Borrowed<'a, 'py, PyAny>>> {
        if let Some(found) = self.positional.get(position) {
            return Ok(Some(self.borrow(found)));
        }
        let Some(names) = &self.keyword_names else {
            return Ok(None);
        };
        for (name, value) in names.iter_borrowed().zip(self.keywords) {
            if name.cast::<PyString>()?.to_string_lossy() == keyword {
                return Ok(Some(self.borrow(value)));
            }
        }
        Ok(None)
    }

    fn borrow(&self, object: &'a *mut ffi::PyObject) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: the object lives through the call, and `'a` ends with it.
        unsafe { Borrowed::from_ptr(self.py, *object) }
    }
}

/// Makes the function object, bound to `this`.
///
/// # Errors
///
/// Python has no memory.
pub fn builtin<'py, B: Builtin>(this: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let definition: &'static ffi::PyMethodDef = const {
        &ffi::PyMethodDef {
            ml_name: B::NAME.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                // SAFETY: the flags below tell CPython the true signature of the function; function
                // pointers have one size.
                PyCFunction: unsafe {
                    std::mem::transmute::<FastCall, ffi::PyCFunction>(trampoline::<B>)
                },
            },
            ml_flags: METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: ptr::null(),
        }
    };
    // SAFETY: the definition is static, `this` is a live object; CPython only reads the definition.
    let made = unsafe {
        ffi::PyCFunction_NewEx(
            ptr::from_ref(definition).cast_mut(),
            this.as_ptr(),
            ptr::null_mut(),
        )
    };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(this.py(), made) }
}

type FastCall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// What CPython calls. A panic must not cross into C: it becomes an exception.
unsafe extern "C" fn trampoline<B: Builtin>(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls built-in functions with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let called = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `this` is the object the function was bound to, alive during the call.
        let this = unsafe { Bound::from_borrowed_ptr(py, this) };
        // SAFETY: null, or a tuple of names that lives through the call.
        let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) };
        let names = names.and_then(|names| names.cast_into::<PyTuple>().ok());
        let positional = usize::try_from(count).unwrap_or(0);
        let keywords = names.as_ref().map_or(0, PyTupleMethods::len);
        let all = positional.saturating_add(keywords);
        let all = if all == 0 {
            &[]
        } else {
            // SAFETY: the protocol gives `count` positional values followed by one for each name,
            // alive through the call.
            unsafe { std::slice::from_raw_parts(arguments, all) }
        };
        let (positional, keywords) = all.split_at_checked(positional).unwrap_or((&[], &[]));
        B::call(
            &this,
            &Arguments {
                py,
                positional,
                keyword_names: names,
                keywords,
            },
        )
    }));
    match called {
        Ok(Ok(value)) => value.into_ptr(),
        Ok(Err(error)) => {
            error.restore(py);
            ptr::null_mut()
        }
        Err(_panic) => {
            PyRuntimeError::new_err(
                "a bug in rcorn: a built-in function panicked; please report it",
            )
            .restore(py);
            ptr::null_mut()
        }
    }
}
