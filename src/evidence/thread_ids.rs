//! The attribute `native_id` of Python's threads: no event tells of it, and it calls no C function.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The attribute, which asks the C function too: that is watched.
const ASKING: &str = "
@property
def native_id(self):
    get_native_id()
    return original.__get__(self)
";

/// The class of threads while its attribute asks.
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
        let threading = py.import("threading")?;
        let class = threading.getattr("Thread")?;
        let Some(original) = class.getattr_opt("native_id")? else {
            return Ok(None);
        };
        let names = PyDict::new(py);
        let get = py.import("_thread")?.getattr("get_native_id")?;
        names.set_item("get_native_id", get)?;
        names.set_item("original", &original)?;
        // It counts as code of the standard library, as the original does.
        let builtins = py.import("builtins")?;
        let file = threading.getattr("__file__")?;
        let code = builtins.call_method1("compile", (ASKING, file, "exec"))?;
        builtins.call_method1("exec", (code, &names))?;
        let asking = names.as_any().get_item("native_id")?;
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
