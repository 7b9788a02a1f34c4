//! `wsgi.file_wrapper` (PEP 3333 "Optional Platform-Specific File Handling"): an iterator over
//! blocks. If the app returns it unread around a regular file, the file is sent by sendfile(2).

use std::os::fd::OwnedFd;

use nix::sys::stat::fstat;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use rcorn_python::call;
use rcorn_sys::descriptor::duplicate;

/// The object behind `environ['wsgi.file_wrapper']`.
#[pyclass(frozen, name = "FileWrapper", module = "rcorn")]
#[derive(Debug)]
pub struct FileWrapper {
    file: Py<PyAny>,
    block: i64,
}

/// A file that sendfile(2) can take.
#[derive(Debug)]
pub(super) struct RegularFile {
    /// A duplicate of the app's descriptor, which the app may close.
    pub descriptor: OwnedFd,
    /// The position of the Python object.
    pub offset: i64,
    /// Bytes from there to the end.
    pub size: u64,
}

impl FileWrapper {
    /// The file behind it, if sendfile(2) sends the bytes that `read()` would give. That is so only
    /// for the binary files of the `io` module: a `GzipFile` or a text file has a descriptor, too,
    /// but its bytes differ.
    pub(super) fn regular_file(&self, py: Python<'_>) -> PyResult<Option<RegularFile>> {
        let mut file = self.file.bind(py).clone();
        if !is_real(&file)? {
            // tempfile's wrapper keeps the real file in `.file`.
            match call::optional_attribute(&file, intern!(py, "file"))? {
                Some(inner) if is_real(&inner)? => file = inner,
                Some(_) | None => return Ok(None),
            }
        }
        let number: i32 = file.call_method0(intern!(py, "fileno"))?.extract()?;
        // A pipe has no position: it is read block by block.
        let place = file.call_method0(intern!(py, "tell"));
        let Ok(offset) = place.and_then(|at| at.extract::<i64>()) else {
            return Ok(None);
        };
        let Ok(descriptor) = duplicate(number) else {
            return Ok(None);
        };
        let Ok(status) = fstat(&descriptor) else {
            return Ok(None);
        };
        let regular = status.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG;
        let size = u64::try_from(status.st_size.saturating_sub(offset)).unwrap_or(0);
        // Files of /proc have size 0, but contents.
        Ok((regular && status.st_size > 0).then_some(RegularFile {
            descriptor,
            offset,
            size,
        }))
    }
}

/// Whether it is one of the `io` module's own binary files.
fn is_real(file: &Bound<'_, PyAny>) -> PyResult<bool> {
    static KINDS: PyOnceLock<[Py<PyAny>; 3]> = PyOnceLock::new();
    let py = file.py();
    let kinds = KINDS.get_or_try_init(py, || {
        let io = py.import("_io")?;
        let kind = |name| PyResult::Ok(io.getattr(name)?.unbind());
        PyResult::Ok([
            kind("BufferedReader")?,
            kind("BufferedRandom")?,
            kind("FileIO")?,
        ])
    })?;
    let kind = file.get_type();
    Ok(kinds.iter().any(|known| kind.is(known)))
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=8192))]
    fn new(filelike: Py<PyAny>, blksize: i64) -> Self {
        Self {
            file: filelike,
            // As in read(), a negative size means everything at once.
            block: if blksize == 0 { 1 } else { blksize },
        }
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let read = intern!(py, "read");
        let block = self.file.bind(py).call_method1(read, (self.block,))?;
        let end = block
            .cast::<PyBytes>()
            .is_ok_and(|block| block.as_bytes().is_empty());
        Ok((!end).then_some(block))
    }

    /// Whether `seek` may be used: Werkzeug asks before it sends a range, and reads the file from
    /// its beginning otherwise.
    fn seekable(&self, py: Python<'_>) -> PyResult<bool> {
        let file = self.file.bind(py);
        match call::optional_attribute(file, intern!(py, "seekable"))? {
            Some(seekable) => seekable.call0()?.is_truthy(),
            None => file.hasattr(intern!(py, "seek")),
        }
    }

    /// The file's own `seek`.
    #[pyo3(signature = (offset, whence=0))]
    fn seek<'py>(
        &self,
        py: Python<'py>,
        offset: &Bound<'py, PyAny>,
        whence: i32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let seek = intern!(py, "seek");
        self.file.bind(py).call_method1(seek, (offset, whence))
    }

    /// The file's own `tell`.
    fn tell<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.file.bind(py).call_method0(intern!(py, "tell"))
    }

    /// Closes the file, if it can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let file = self.file.bind(py);
        if let Some(close) = call::optional_attribute(file, intern!(py, "close"))? {
            close.call0()?;
        }
        Ok(())
    }

    /// The file, as wsgiref's wrapper names it.
    #[getter]
    fn filelike(&self, py: Python<'_>) -> Py<PyAny> {
        self.file.clone_ref(py)
    }
}
