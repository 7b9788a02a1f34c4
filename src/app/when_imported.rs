//! A function that is called as soon as a module has been imported, without importing it.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use rcorn_python::modules::loaded;

use super::load_embedded;

/// Calls `then` when the module has been imported: now, if it has been.
///
/// # Errors
///
/// Those of `then`, or of Python.
pub(super) fn when_imported(
    py: Python<'_>,
    name: &'static str,
    then: Bound<'_, PyAny>,
) -> PyResult<()> {
    if loaded(py, name).is_some() {
        then.call0()?;
        return Ok(());
    }
    let entry = Entry {
        name,
        then: then.unbind(),
        finder: PyOnceLock::new(),
    };
    let path = py.import("sys")?.getattr("meta_path")?;
    path.call_method1("insert", (0, entry))?;
    Ok(())
}

/// An entry of `sys.meta_path` that does nothing until the module is looked up. The finder that
/// then does the work is Python, and takes longer to compile than a small app to import.
#[pyclass(frozen, module = "rcorn")]
struct Entry {
    name: &'static str,
    then: Py<PyAny>,
    finder: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl Entry {
    #[pyo3(signature = (name, path = None, target = None))]
    fn find_spec<'py>(
        slf: &Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
        path: Option<Bound<'py, PyAny>>,
        target: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        let text = name.cast::<PyString>();
        let is_it = text.is_ok_and(|text| text.to_cow().is_ok_and(|text| text == this.name));
        if !is_it {
            return Ok(None);
        }
        let finder = this.finder.get_or_try_init(py, || {
            let source = include_str!("when_imported.py");
            let module = load_embedded(py, "_rcorn_when_imported", source)?;
            let arguments = (this.name, &this.then, slf);
            let finder = module.getattr("Finder")?.call1(arguments)?;
            Ok::<_, PyErr>(finder.unbind())
        })?;
        let found = finder
            .bind(py)
            .call_method1("find_spec", (name, path, target))?;
        Ok(Some(found))
    }
}
