//! `wsgi.input` (PEP 3333 "Input and Error Streams"): read, readline, readlines, iteration, with an
//! end of file at the end of the body for both framings (`wsgi.input_terminated`). Raises an
//! exception when the client leaves, so that a partial body never looks complete.

use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::memchr;
use pyo3::exceptions::{PyOSError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList};

use rcorn_http::Refusal;
use rcorn_python::text;
use rcorn_sys::fork::is_forked_child;

use super::attached::{Attached, lost_error};
use super::body::{Body, BodyError, Pull};
use super::turn::ReceivingTurn;
use rcorn_connection::{Flush, Lost, Unlocked};

/// The longest read whose memory is allocated before its bytes have arrived: a client must not make
/// the server reserve what it only announces.
const MAX_ADVANCE_BYTES: u64 = 1024 * 1024;

/// The interim response that an `Expect: 100-continue` waits for (RFC 9110 section 10.1.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl From<BodyError> for PyErr {
    fn from(error: BodyError) -> Self {
        let text = error.to_string();
        match error {
            BodyError::Lost(lost) => lost_error(lost),
            BodyError::Torn(_) => pyo3::exceptions::PyConnectionResetError::new_err(text),
            BodyError::Malformed(_) => PyOSError::new_err(text),
            BodyError::Over => PyValueError::new_err(text),
        }
    }
}

/// The object behind `environ['wsgi.input']`. `None` inside: a request without a body.
#[pyclass(frozen, name = "Input", module = "rcorn")]
#[derive(Debug)]
pub struct Input {
    // Never locked while the GIL is released or code of the app runs, which would be a deadlock. A
    // thread that waits for it detaches: without a GIL the other one may wait for it.
    body: Mutex<Option<Body>>,
    /// The thread of the app that receives more of it.
    turn: ReceivingTurn,
}

impl Input {
    /// The input of requests that have no body.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            body: Mutex::new(None),
            turn: ReceivingTurn::default(),
        }
    }

    /// The input of a request with this body.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self {
            body: Mutex::new(Some(body)),
            turn: ReceivingTurn::default(),
        }
    }

    /// Ends it; see [`Body::finish`].
    pub fn finish(&self, py: Python<'_>) -> Option<Vec<u8>> {
        self.lock(py)
            .as_mut()
            .map_or_else(|| Some(Vec::new()), Body::finish)
    }

    /// The error in the body's framing, if there was one.
    #[must_use]
    pub fn malformed(&self, py: Python<'_>) -> Option<Refusal> {
        self.lock(py).as_ref().and_then(Body::malformed)
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Option<Body>> {
        let locked = self.body.lock_py_attached(py);
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if the request is over: an input that was kept reads neither the old body nor that of
    /// the next request.
    fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(body) = self.lock(py).as_ref() {
            body.channel()?;
        }
        Ok(())
    }

    fn take_whole<'py>(&self, py: Python<'py>, limit: u64) -> Option<Bound<'py, PyBytes>> {
        self.lock(py).as_mut()?.take_whole(py, limit)
    }

    /// Waits for more bytes; `false` at the end of the body. For a caller that finds nothing
    /// available. After `true` it looks again, because another thread may have taken what has
    /// arrived.
    fn more(&self, py: Python<'_>) -> PyResult<bool> {
        check_not_forked()?;
        let Some(_turn) = self.turn.take() else {
            // Another thread receives, and may take all the rest.
            py.detach(|| self.turn.wait_until_free());
            return if Attached(py).must_leave() {
                Err(lost_error(Lost::Leaving))
            } else {
                Ok(true)
            };
        };
        loop {
            let pulled = match self.lock(py).as_mut() {
                None => return Ok(false),
                Some(body) => body.pull()?,
            };
            match pulled {
                Pull::Got => return Ok(true),
                Pull::End => return Ok(false),
                Pull::Wait => self.wait(py)?,
            }
        }
    }

    /// Receives into `buffer` without waiting; returns how many bytes, or `None` if there are none
    /// yet.
    fn receive_into(&self, py: Python<'_>, buffer: &mut [u8]) -> PyResult<Option<usize>> {
        check_not_forked()?;
        let Some(_turn) = self.turn.take() else {
            return Ok(None);
        };
        match self.lock(py).as_mut() {
            None => Ok(Some(0)),
            Some(body) => Ok(body.pull_into(buffer)?),
        }
    }

    /// Waits until more bytes arrive on the connection.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let (channel, mut progress, total) = match self.lock(py).as_mut() {
            None => return Ok(()),
            Some(body) => (body.channel()?, body.progress(), body.total()),
        };
        if channel.owes_continue() {
            channel.owe_continue(false);
            let parts = &mut [std::io::IoSlice::new(CONTINUE)];
            channel
                .send(&Attached(py), parts, Flush::Now)
                .map_err(lost_error)?;
        }
        channel
            .wait_for_bytes(&Attached(py), &mut progress, total)
            .map_err(lost_error)?;
        if let Some(body) = self.lock(py).as_mut() {
            body.waited(progress);
        }
        Ok(())
    }

    /// Everything up to `limit` bytes.
    fn read_up_to<'py>(&self, py: Python<'py>, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
        self.check_open(py)?;
        if let Some(whole) = self.take_whole(py, limit) {
            return Ok(whole);
        }
        let known = self.lock(py).as_ref().map_or(Some(0), Body::left);
        if let Some(left) = known {
            let wanted = left.min(limit);
            if wanted <= MAX_ADVANCE_BYTES {
                return self.read_exactly(py, usize::try_from(wanted).unwrap_or(0));
            }
        }
        let mut collected: Vec<u8> = Vec::new();
        loop {
            if let Some(body) = self.lock(py).as_mut() {
                let room = limit.saturating_sub(u64::try_from(collected.len()).unwrap_or(0));
                let here = body.available();
                let here = here
                    .get(..usize::try_from(room).unwrap_or(usize::MAX))
                    .unwrap_or(here);
                collected.extend_from_slice(here);
                let count = here.len();
                body.take(count);
            }
            let full = u64::try_from(collected.len()).unwrap_or(u64::MAX) >= limit;
            if full || !self.more(py)? {
                return Ok(PyBytes::new(py, &collected));
            }
        }
    }

    /// `count` bytes of a body that has as many, received into the result itself; fewer if another
    /// thread that reads the same input takes some of them.
    fn read_exactly<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Bound<'py, PyBytes>> {
        text::bytes_with(py, count, |mut buffer| -> PyResult<usize> {
            while !buffer.is_empty() {
                let taken = self
                    .lock(py)
                    .as_mut()
                    .map_or(0, |body| body.take_into(buffer));
                let got = if taken > 0 {
                    Some(taken)
                } else {
                    self.receive_into(py, buffer)?
                };
                match got {
                    Some(0) => break,
                    Some(got) => buffer = buffer.get_mut(got..).unwrap_or(&mut []),
                    // Waits. The next turn takes what has arrived.
                    None if self.more(py)? => {}
                    None => break,
                }
            }
            Ok(count.saturating_sub(buffer.len()))
        })?
    }

    /// One line up to `limit` bytes, with its newline; empty at the end.
    fn line(&self, py: Python<'_>, limit: usize) -> PyResult<Vec<u8>> {
        self.check_open(py)?;
        // From here on piece by piece.
        drop(self.take_whole(py, 0));
        let mut line = Vec::new();
        loop {
            if let Some(body) = self.lock(py).as_mut() {
                let room = limit.saturating_sub(line.len());
                let here = body.available();
                let here = here.get(..room).unwrap_or(here);
                let end = memchr(b'\n', here).map(|at| at.saturating_add(1));
                let piece = here.get(..end.unwrap_or(here.len())).unwrap_or(here);
                line.extend_from_slice(piece);
                let count = piece.len();
                body.take(count);
                if end.is_some() || line.len() >= limit {
                    return Ok(line);
                }
            }
            if !self.more(py)? {
                return Ok(line);
            }
        }
    }
}

/// Fails in a process that the app has forked. It may read what was received, but not from the
/// connection, which belongs to its parent: the parent would lose those bytes.
fn check_not_forked() -> PyResult<()> {
    if is_forked_child() {
        Err(PyOSError::new_err(
            "wsgi.input was read in a process that the app forked; read it before the fork",
        ))
    } else {
        Ok(())
    }
}

/// A Python size argument: `None` or a negative number means all, and so does one beyond all
/// memory.
fn size(size: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(size) = size.filter(|size| !size.is_none()) else {
        return Ok(None);
    };
    match size.extract::<i64>() {
        Ok(size) => Ok(u64::try_from(size).ok()),
        Err(error) if error.is_instance_of::<PyOverflowError>(size.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size=None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        size: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.read_up_to(py, self::size(size)?.unwrap_or(u64::MAX))
    }

    #[pyo3(signature = (size=None))]
    fn readline<'py>(
        &self,
        py: Python<'py>,
        size: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let limit =
            self::size(size)?.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(PyBytes::new(py, &self.line(py, limit)?))
    }

    #[pyo3(signature = (hint=None))]
    fn readlines<'py>(
        &self,
        py: Python<'py>,
        hint: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        // As in io.IOBase: a hint of 0 or less means no limit; the line that exceeds it is the
        // last.
        let limit = size(hint)?.filter(|hint| *hint > 0).unwrap_or(u64::MAX);
        let lines = PyList::empty(py);
        let mut total: u64 = 0;
        while total < limit {
            let line = self.line(py, usize::MAX)?;
            if line.is_empty() {
                break;
            }
            total = total.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
            lines.append(PyBytes::new(py, &line))?;
        }
        Ok(lines)
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.line(py, usize::MAX)?;
        Ok((!line.is_empty()).then(|| PyBytes::new(py, &line)))
    }
}
