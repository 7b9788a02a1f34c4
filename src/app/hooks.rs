//! Calls the hooks of a `gunicorn.conf.py`. The arbiter has only the data of that file. The
//! template executes the file again, and its workers inherit the functions. `hooks.py` has the
//! objects that hooks receive.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyList, PyTuple};

use rcorn_link::{Failure, HookEvent, Start, TemplateReason};
use rcorn_log as log;
use rcorn_python::traceback;
use rcorn_settings::{ConfigFile, Settings, values};
use rcorn_sys::exit_now;
use rcorn_sys::fork::is_forked_child;

use super::load_embedded;

/// The hooks in a template.
#[derive(Debug)]
pub struct Hooks {
    /// The `Server` of `hooks.py`.
    server: Py<PyAny>,
}

/// The hooks in a worker.
#[derive(Debug)]
pub struct WorkerHooks {
    /// The `Worker` of `hooks.py`.
    worker: Py<PyAny>,
    /// The file defines `pre_request`.
    has_pre_request: bool,
    /// The file defines `post_request`.
    has_post_request: bool,
}

/// A hook has set `worker.alive` to False.
static LEAVES: AtomicBool = AtomicBool::new(false);

/// Whether a hook wants this worker to leave.
pub fn hook_wants_to_leave() -> bool {
    LEAVES.load(Ordering::Relaxed)
}

/// Notes that a hook wants this worker to leave.
#[pyfunction]
fn leave() {
    LEAVES.store(true, Ordering::Relaxed);
}

/// A request whose hooks are called.
#[derive(Debug)]
pub struct HookedRequest<'py> {
    /// The `Request` of `hooks.py`.
    object: Bound<'py, PyAny>,
    /// The header fields, pairs of name and value, if `pre_request` changed them.
    changed_fields: Option<Bound<'py, PyList>>,
}

impl<'py> HookedRequest<'py> {
    /// The header fields, pairs of name and value, if `pre_request` changed them.
    #[must_use]
    pub fn changed_fields(&self) -> Option<&Bound<'py, PyList>> {
        self.changed_fields.as_ref()
    }
}

/// The text of the Python configuration file, if it can be read. Called before privileges are
/// dropped: the user that workers run as may not be allowed to read it.
pub fn source(settings: &Settings) -> Option<Vec<u8>> {
    match &settings.config {
        Some(ConfigFile::Python(path)) => std::fs::read(path).ok(),
        Some(ConfigFile::Yaml(_) | ConfigFile::Module(_)) | None => None,
    }
}

impl Hooks {
    /// Executes the Python configuration file, if there is one that this process needs: the arbiter
    /// has its settings, but hooks and the effects of its code are needed here. `text`: what
    /// [`source`] returned.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or raises an exception. The log has the traceback.
    pub fn load(
        py: Python<'_>,
        start: &Start,
        text: Option<&[u8]>,
    ) -> Result<Option<Self>, Failure> {
        let (kind, place) = match &start.settings.config {
            Some(ConfigFile::Python(path)) => ("file", path.to_string_lossy().into_owned()),
            Some(ConfigFile::Module(name)) => ("module", name.clone()),
            Some(ConfigFile::Yaml(_)) | None => return Ok(None),
        };
        let loaded = || -> PyResult<Option<Self>> {
            let directory = start.directory.to_string_lossy();
            let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
            if !path.contains(&*directory)? {
                path.insert(1, &*directory)?;
            }
            if start.settings.config_is_data {
                return Ok(None);
            }
            let source = load_embedded(py, "_rcorn_hooks", include_str!("hooks.py"))?;
            let names = source
                .getattr("load")?
                .call1((kind, place, &*directory, text))?;
            let settings = settings(py, start, &names)?;
            let leave: Bound<'_, PyCFunction> = wrap_pyfunction!(leave, py)?;
            let listeners: Vec<i32> = start.listeners.iter().map(|listener| listener.fd).collect();
            let server = source.getattr("Server")?.call1((
                names,
                settings,
                start.arbiter,
                listeners,
                leave,
            ))?;
            Ok(Some(Self {
                server: server.unbind(),
            }))
        };
        loaded().map_err(|error| {
            let text = traceback::format(py, &error);
            log::error(format_args!(
                "Failed to read config file: {}\n{text}",
                start
                    .settings
                    .config
                    .as_ref()
                    .map(|file| file.shown(&start.directory))
                    .unwrap_or_default()
            ));
            Failure {
                code: 1,
                summary: format!("the config file: {}", traceback::summary(py, &error)),
            }
        })
    }

    /// The object `logconfig_dict` of the file, which JSON could not represent.
    ///
    /// # Errors
    ///
    /// The file does not define it.
    pub fn logconfig_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let cfg = self.server.bind(py).getattr("cfg")?;
        cfg.getattr("logconfig_dict")
    }

    /// Calls a method of the server object. The method itself logs an exception of its hook.
    fn call<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> Option<Bound<'py, PyAny>> {
        let called = self.server.bind(py).getattr(method);
        let called = called.and_then(|method| method.call1(arguments));
        called
            .inspect_err(|error| log::error(format_args!("Cannot call a hook: {error}")))
            .ok()
    }

    /// Calls `on_starting`, before the app is imported. A template that replaces a dead one calls
    /// it too, because what the hook had set was lost. A reload does not, nor does a check
    /// (`is_check`).
    ///
    /// # Errors
    ///
    /// The hook raised `SystemExit`, which ends the start.
    pub fn on_starting(
        &self,
        py: Python<'_>,
        reason: TemplateReason,
        is_check: bool,
    ) -> Result<(), Failure> {
        if reason == TemplateReason::Reload || is_check {
            return Ok(());
        }
        let server = self.server.bind(py);
        server
            .call_method0("_on_starting")
            .map(drop)
            .map_err(|error| {
                let summary = format!("on_starting: {}", traceback::summary(py, &error));
                log::error(format_args!("{summary}"));
                Failure { code: 1, summary }
            })
    }

    /// Calls `when_ready` or `on_reload`, before the first fork.
    pub fn when_ready(&self, py: Python<'_>, reason: TemplateReason) {
        let name = match reason {
            TemplateReason::Boot => "when_ready",
            TemplateReason::Reload => "on_reload",
            TemplateReason::Replacement => return,
        };
        self.call(py, "_call_safely", (name, &self.server));
    }

    /// Calls `pre_fork`.
    pub fn pre_fork(&self, py: Python<'_>, id: u64) {
        self.call(py, "_pre_fork", (id,));
    }

    /// Notes the pid of the worker that was forked after [`Hooks::pre_fork`].
    pub fn note_forked(&self, py: Python<'_>, pid: i32) {
        self.call(py, "_forked", (pid,));
    }

    /// Which of these hooks the file has.
    ///
    /// # Errors
    ///
    /// Those of Python.
    pub fn present<'n>(&self, py: Python<'_>, names: &[&'n str]) -> PyResult<Vec<&'n str>> {
        let server = self.server.bind(py);
        let mut present = Vec::new();
        for name in names {
            if server.call_method1("_has", (name,))?.extract()? {
                present.push(*name);
            }
        }
        Ok(present)
    }

    /// Whether the file, or a hook, has registered functions for the exit.
    ///
    /// # Errors
    ///
    /// Those of Python.
    pub fn have_exit_functions(&self, py: Python<'_>) -> PyResult<bool> {
        let server = self.server.bind(py);
        server.call_method0("_has_exit_functions")?.extract()
    }

    /// The hooks of the worker that this process has become.
    ///
    /// # Errors
    ///
    /// [`Hooks::pre_fork`] was not called before the fork.
    pub fn of_worker(&self, py: Python<'_>) -> PyResult<WorkerHooks> {
        // What a worker wanted that this process or its template was before.
        LEAVES.store(false, Ordering::Relaxed);
        let server = self.server.bind(py);
        let has = |name: &str| server.call_method1("_has", (name,))?.extract::<bool>();
        Ok(WorkerHooks {
            worker: server.getattr("_forking")?.unbind(),
            has_pre_request: has("pre_request")?,
            has_post_request: has("post_request")?,
        })
    }

    /// Calls the hook of an event in the arbiter.
    pub fn on_event(&self, py: Python<'_>, event: &HookEvent) {
        match event {
            HookEvent::ChildExit { id, pid } => self.call(py, "_child_exit", (id, pid)),
            HookEvent::WorkersChanged { now, before } => {
                self.call(py, "_workers_changed", (now, before))
            }
            HookEvent::PreExec => self.call(py, "_call_safely", ("pre_exec", &self.server)),
            HookEvent::Exit => self.call(py, "_on_exit", ()),
        };
    }
}

/// The values of all settings by name. Those that only gunicorn has are taken from the file.
fn settings<'py>(
    py: Python<'py>,
    start: &Start,
    names: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    for (name, literal) in values(&start.settings) {
        let value = py.eval(&std::ffi::CString::new(literal)?, None, None)?;
        all.set_item(name, value)?;
    }
    let names = names.cast::<PyDict>()?;
    let theirs = rcorn_settings::UNSUPPORTED.iter().map(|one| one.name);
    for name in theirs.chain(["logconfig_dict"]) {
        if let Some(value) = names.get_item(name)? {
            all.set_item(name, value)?;
        }
    }
    Ok(all)
}

impl WorkerHooks {
    fn call<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let called = self.worker.bind(py).getattr(method)?.call1(arguments);
        // The hook has forked, and this is the child: the worker's sockets are not its own.
        if is_forked_child() {
            exit_now(0);
        }
        called
    }

    /// Calls `post_fork`.
    ///
    /// # Errors
    ///
    /// The hook raised.
    pub fn post_fork(&self, py: Python<'_>, pid: i32) -> Result<(), Failure> {
        self.call(py, "_post_fork", (pid,))
            .map(|_none| ())
            .map_err(|error| failure(py, &error, "post_fork"))
    }

    /// Calls `post_worker_init`; returns the app to serve, which the hook may have wrapped.
    ///
    /// # Errors
    ///
    /// The hook raised.
    pub fn post_worker_init<'py>(
        &self,
        py: Python<'py>,
        app: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>, Failure> {
        self.call(py, "_post_worker_init", (app,))
            .map_err(|error| failure(py, &error, "post_worker_init"))
    }

    /// What is called in the app when its request takes too long: `worker_abort`, whose exception
    /// is for the app.
    ///
    /// # Errors
    ///
    /// Those of Python: no memory.
    pub fn abort_callback<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.worker.bind(py).getattr("_abort_request")
    }

    /// Calls `worker_abort`, unless that has happened in the app.
    pub fn worker_abort(&self, py: Python<'_>) {
        self.call_logged(py, "_abort_idle");
    }

    /// Installs a handler of SIGABRT that calls `worker_abort`, if there is such a hook. Python
    /// runs it in the main thread; if that does not return from C code, the arbiter kills the
    /// worker.
    ///
    /// # Errors
    ///
    /// This is not the main thread.
    pub fn install_abort_handler(&self, py: Python<'_>) -> PyResult<()> {
        let worker = self.worker.bind(py);
        if worker
            .getattr("server")?
            .call_method1("_has", ("worker_abort",))?
            .extract()?
        {
            let signal = py.import("_signal")?;
            signal.call_method1(
                "signal",
                (signal.getattr("SIGABRT")?, worker.getattr("_worker_abort")?),
            )?;
        }
        Ok(())
    }

    /// Calls `pre_request`, if there is a hook of requests. `fields`: the names and values of the
    /// header fields; `number`: which request of its connection this is, counted from 1.
    ///
    /// # Errors
    ///
    /// The hook raised.
    pub fn pre_request<'py, 'a>(
        &self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        number: u64,
    ) -> PyResult<Option<HookedRequest<'py>>> {
        if !self.has_pre_request && !self.has_post_request {
            return Ok(None);
        }
        let list = PyList::empty(py);
        for (name, value) in fields {
            let name = latin1(name).to_ascii_uppercase();
            list.append(PyTuple::new(py, [name, latin1(value)])?)?;
        }
        let called = self.call(py, "_pre_request", (environ, list, number))?;
        let (object, changed_fields) = called.extract()?;
        Ok(Some(HookedRequest {
            object,
            changed_fields,
        }))
    }

    /// Calls `post_request`. `head`: the head of the response as it was sent; `sent`: bytes of
    /// the body.
    pub fn post_request(
        &self,
        py: Python<'_>,
        request: Option<&HookedRequest<'_>>,
        environ: &Bound<'_, PyDict>,
        head: &[u8],
        status: u16,
        sent: u64,
    ) {
        let Some(request) = request.filter(|_| self.has_post_request) else {
            return;
        };
        let called = reply(py, head, status).and_then(|(status, headers)| {
            self.call(
                py,
                "_post_request",
                (&request.object, environ, status, headers, sent),
            )
        });
        if let Err(error) = called {
            log::error(format_args!(
                "Exception in post_request hook\n{}",
                traceback::format(py, &error)
            ));
        }
    }

    /// Calls `worker_int`.
    pub fn worker_int(&self, py: Python<'_>) {
        self.call_logged(py, "_worker_int");
    }

    /// Calls `worker_exit`.
    pub fn worker_exit(&self, py: Python<'_>) {
        self.call_logged(py, "_worker_exit");
    }

    fn call_logged(&self, py: Python<'_>, method: &str) {
        if let Err(error) = self.call(py, method, ()) {
            log::error(format_args!("Cannot call a hook: {error}"));
        }
    }
}

fn failure(py: Python<'_>, error: &PyErr, hook: &str) -> Failure {
    log::error(format_args!(
        "Exception in {hook} hook\n{}",
        traceback::format(py, error)
    ));
    Failure {
        code: 3,
        summary: format!("{hook}: {}", traceback::summary(py, error)),
    }
}

/// The status (`200 OK`) and the fields of a response head. If there is no head, the status is
/// the number alone.
fn reply<'py>(py: Python<'py>, head: &[u8], status: u16) -> PyResult<(String, Bound<'py, PyList>)> {
    let text = latin1(head);
    let mut lines = text.split("\r\n");
    let first = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .map(|(_, status)| status.to_owned());
    let headers = PyList::empty(py);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        headers.append(PyTuple::new(py, [name, value.trim()])?)?;
    }
    Ok((first.unwrap_or_else(|| status.to_string()), headers))
}

/// Bytes as Python's `str` of the WSGI standard has them.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
