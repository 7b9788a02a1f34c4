//! The attribute `native_id` of Python's threads: no event tells of it, and it calls no C function.

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

/// The module that has the class of threads.
pub(crate) const THREADS: &str = "threading";

/// The class of threads while its attribute asks the C function too: that is watched.
#[derive(Debug)]
pub(crate) struct AskingThreads {
    class: Py<PyAny>,
    original: Py<PyAny>,
    asking: Py<PyAny>,
}

impl AskingThreads {
    /// Replaces the attribute, if threads have it on this system.
    ///
    /// # Errors
    ///
    /// This Python's threads are made in another way.
    pub(crate) fn begin(py: Python<'_>) -> PyResult<Option<Self>> {
        let threading = py.import(THREADS)?;
        let class = threading.getattr("Thread")?;
        let Some(original) = class.getattr_opt("native_id")? else {
            return Ok(None);
        };
        let get = py.import("_thread")?.getattr("get_native_id")?.unbind();
        let attribute = original.clone().unbind();
        let ask = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            let py = arguments.py();
            get.call0(py)?;
            attribute.call_method1(py, "__get__", arguments)
        };
        let ask = PyCFunction::new_closure(py, None, None, ask)?;
        let asking = py.import("builtins")?.getattr("property")?.call1((ask,))?;
        class.setattr("native_id", &asking)?;
        Ok(Some(Self {
            class: class.unbind(),
            original: original.unbind(),
            asking: asking.unbind(),
        }))
    }

    /// Puts the original back, unless the app has put something else there.
    ///
    /// # Errors
    ///
    /// The class cannot be changed any more.
    pub(crate) fn end(self, py: Python<'_>) -> PyResult<()> {
        let class = self.class.bind(py);
        if class.getattr("native_id")?.is(&self.asking) {
            class.setattr("native_id", self.original)?;
        }
        Ok(())
    }
}
