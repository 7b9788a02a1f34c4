//! Finds the app by its name: `module`, `module:attribute.path` or `module:factory("text", k=1)`.
//! As with gunicorn, the exit code is 3 if the import raises an exception and 4 if the name is
//! wrong.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use rcorn_python::traceback;
use rcorn_settings::{AppRef, Expression, Literal};

/// Why there is no app.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The import or the factory raised an exception.
    #[error("{traceback}")]
    Raised {
        /// The traceback, without frames of rcorn.
        traceback: String,
        /// The last line of the traceback.
        summary: String,
        /// The exception.
        error: PyErr,
    },
    /// The module has no such attribute.
    #[error("Failed to find attribute '{attribute}' in '{module}'.{near}")]
    NoAttribute {
        /// The module, or the object in it, by its dotted name.
        module: String,
        /// The name that is missing there.
        attribute: String,
        /// A sentence that lists callables of the module, as a hint; may be empty.
        near: String,
    },
    /// The object exists but is not callable.
    #[error(
        "'{app}' is a {kind}, which is not callable; a WSGI app is a callable taking (environ, start_response)"
    )]
    NotCallable {
        /// The name of the object.
        app: String,
        /// The name of its type.
        kind: String,
    },
}

impl LoadError {
    /// The exit code, as with gunicorn.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Raised { .. } => 3,
            Self::NoAttribute { .. } | Self::NotCallable { .. } => 4,
        }
    }

    /// The exception, if the import or the factory raised one.
    #[must_use]
    pub fn raised(&self) -> Option<&PyErr> {
        match self {
            Self::Raised { error, .. } => Some(error),
            Self::NoAttribute { .. } | Self::NotCallable { .. } => None,
        }
    }

    /// The error in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Raised { summary, .. } => summary.clone(),
            Self::NoAttribute { .. } | Self::NotCallable { .. } => self.to_string(),
        }
    }
}

fn raised(py: Python<'_>, error: &PyErr) -> LoadError {
    LoadError::Raised {
        traceback: traceback::format(py, error),
        summary: traceback::summary(py, error),
        error: error.clone_ref(py),
    }
}

/// Imports the module and returns the app.
///
/// # Errors
///
/// See [`LoadError`].
pub fn load<'py>(py: Python<'py>, app: &AppRef) -> Result<Bound<'py, PyAny>, LoadError> {
    // PyImport_Import (and not importlib.import_module): its tracebacks leave the import machinery
    // out.
    let module = py
        .import(app.module.as_str())
        .map_err(|error| raised(py, &error))?;
    let (path, call) = match &app.expression {
        Expression::Attribute(path) => (path, None),
        Expression::Call { path, args, kwargs } => (path, Some((args, kwargs))),
    };
    let mut found: Bound<'py, PyAny> = module.into_any();
    let mut name = app.module.clone();
    for attribute in path {
        found = match found.getattr(attribute.as_str()) {
            Ok(next) => next,
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyAttributeError>(py) => {
                let near = candidates(&found);
                return Err(LoadError::NoAttribute {
                    module: name,
                    attribute: attribute.clone(),
                    near,
                });
            }
            Err(error) => return Err(raised(py, &error)),
        };
        name = format!("{name}.{attribute}");
    }
    if let Some((arguments, keywords)) = call {
        if !found.is_callable() {
            return Err(not_callable(name, &found));
        }
        let made = (|| {
            let arguments: Vec<_> = arguments
                .iter()
                .map(|literal| value(py, literal))
                .collect::<PyResult<_>>()?;
            let named = PyDict::new(py);
            for (keyword, literal) in keywords {
                named.set_item(keyword, value(py, literal)?)?;
            }
            found.call(PyTuple::new(py, arguments)?, Some(&named))
        })();
        found = made.map_err(|error| raised(py, &error))?;
        name.push_str("()");
    }
    if found.is_callable() {
        Ok(found)
    } else {
        Err(not_callable(name, &found))
    }
}

fn not_callable(app: String, found: &Bound<'_, PyAny>) -> LoadError {
    let kind = found
        .get_type()
        .qualname()
        .map_or_else(|_broken| "object".to_owned(), |name| name.to_string());
    LoadError::NotCallable { app, kind }
}

/// A sentence that lists public callables of a module; empty if there are none.
fn candidates(module: &Bound<'_, PyAny>) -> String {
    let names = || -> PyResult<Vec<String>> {
        let mut names = Vec::new();
        let mine = module.getattr("__name__")?;
        for name in module.dir()?.iter() {
            let name: String = name.extract()?;
            let object = module.getattr(name.as_str())?;
            // What the module has imported is not its own.
            let own = object
                .getattr("__module__")
                .is_ok_and(|home| home.eq(&mine).unwrap_or(false));
            let app_like = ["app", "application", "wsgi_app"].contains(&name.as_str());
            if !name.starts_with('_') && object.is_callable() && (own || app_like) {
                names.push(name);
            }
        }
        Ok(names)
    };
    match names() {
        Ok(names) if !names.is_empty() => {
            format!(
                " Callables there: {}.",
                names.get(..8).unwrap_or(&names).join(", ")
            )
        }
        Ok(_) | Err(_) => String::new(),
    }
}

fn value<'py>(py: Python<'py>, literal: &Literal) -> PyResult<Bound<'py, PyAny>> {
    Ok(match literal {
        Literal::None => py.None().into_bound(py),
        Literal::Bool(value) => pyo3::types::PyBool::new(py, *value).to_owned().into_any(),
        // int() accepts numbers of any size.
        Literal::Int(digits) => py.get_type::<pyo3::types::PyInt>().call1((digits, 0))?,
        Literal::Float(value) => value.into_pyobject(py)?.into_any(),
        Literal::Str(text) => PyString::new(py, text).into_any(),
        Literal::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Literal::List(items) => PyList::new(py, values(py, items)?)?.into_any(),
        Literal::Tuple(items) => PyTuple::new(py, values(py, items)?)?.into_any(),
        Literal::Dict(items) => {
            let dict = PyDict::new(py);
            for (key, item) in items {
                dict.set_item(value(py, key)?, value(py, item)?)?;
            }
            dict.into_any()
        }
    })
}

fn values<'py>(py: Python<'py>, items: &[Literal]) -> PyResult<Vec<Bound<'py, PyAny>>> {
    items.iter().map(|item| value(py, item)).collect()
}
