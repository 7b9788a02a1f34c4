//! Strings between the wire and Python: WSGI's "native strings" are `str` whose characters are
//! bytes (latin-1), PEP 3333 "A Note on String Types".
#![expect(unsafe_code, reason = "raw C API on the hot path")]

use std::ffi::c_char;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

unsafe extern "C" {
    /// In every CPython 3 (stable ABI from 3.10 on).
    fn PyUnicode_AsUTF8AndSize(
        unicode: *mut ffi::PyObject,
        size: *mut ffi::Py_ssize_t,
    ) -> *const c_char;
}

/// A `str` with one character for each byte.
///
/// # Errors
///
/// Python has no memory.
pub fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let length = ffi::Py_ssize_t::try_from(bytes.len()).unwrap_or(ffi::Py_ssize_t::MAX);
    // SAFETY: pointer and length of a live slice; the error handler is never needed (all bytes
    // map).
    let made =
        unsafe { ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), length, std::ptr::null()) };
    // SAFETY: a new reference, or null with an exception set.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, made) }?;
    Ok(made.cast_into()?)
}

/// The same, interned, for dict keys that recur.
///
/// # Errors
///
/// Python has no memory.
pub fn interned<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let mut made = latin1(py, bytes)?.into_ptr();
    // SAFETY: we own the reference; the call may replace it by the one interned before.
    unsafe { ffi::PyUnicode_InternInPlace(&raw mut made) };
    // SAFETY: still one owned reference to a str.
    let made = unsafe { Bound::from_owned_ptr(py, made) };
    Ok(made.cast_into()?)
}

/// Appends the string's characters as bytes. `false` if one does not fit into a byte: then nothing
/// is appended. Lone surrogates do not fit either.
///
/// # Errors
///
/// Python has no memory.
pub fn append_latin1(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> PyResult<bool> {
    let mut size = 0;
    // SAFETY: a live str; the result, when not null, is a buffer of `size` bytes that the str owns.
    let utf8 = unsafe { PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut size) };
    if utf8.is_null() {
        // Lone surrogates cannot be encoded; anything else is an error of the interpreter's.
        let error = PyErr::fetch(text.py());
        let surrogates = error.is_instance_of::<pyo3::exceptions::PyUnicodeEncodeError>(text.py());
        return if surrogates { Ok(false) } else { Err(error) };
    }
    // SAFETY: as said above; the str lives through this function.
    let utf8 = unsafe {
        std::slice::from_raw_parts(utf8.cast::<u8>(), usize::try_from(size).unwrap_or(0))
    };
    if utf8.is_ascii() {
        out.extend_from_slice(utf8);
        return Ok(true);
    }
    let start = out.len();
    // CPython never makes invalid UTF-8; if it did, the text would not be latin-1 either.
    for character in std::str::from_utf8(utf8).unwrap_or("\u{100}").chars() {
        match u8::try_from(u32::from(character)) {
            Ok(byte) => out.push(byte),
            Err(_too_large) => {
                out.truncate(start);
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// A `bytes` of at most this length. `fill` writes into it, and returns how many bytes it has used.
///
/// # Errors
///
/// Python has no memory. The inner result is that of `fill`.
pub fn bytes_with<E>(
    py: Python<'_>,
    capacity: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> PyResult<Result<Bound<'_, PyBytes>, E>> {
    let mut outcome = Ok(0);
    let whole = PyBytes::new_with(py, capacity, |buffer| {
        outcome = fill(buffer);
        Ok(())
    })?;
    Ok(match outcome {
        Ok(used) if used == capacity => Ok(whole),
        Ok(used) => Ok(PyBytes::new(
            py,
            whole.as_bytes().get(..used).unwrap_or(&[]),
        )),
        Err(error) => Err(error),
    })
}
