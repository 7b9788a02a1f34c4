//! The hooks of a `gunicorn.conf.py`. The arbiter has only the data of that file: the template
//! executes it again, and every worker is forked with its functions. The objects that hooks get are
//! in `hooks.py`; they are called from here.

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyList, PyTuple};

use rcorn_link::{Failure, HookEvent, Start, TemplateReason};
use rcorn_log as log;
use rcorn_python::traceback;
use rcorn_settings::{ConfigFile, Level, Settings, values};
use rcorn_sys::exit_now;
use rcorn_sys::fork::is_forked_child;

use super::load_embedded;

/// The server object of a template.
#[derive(Debug)]
pub struct Hooks {
    server: Py<PyAny>,
}

/// The worker object of a worker.
#[derive(Debug)]
pub struct WorkerHooks {
    worker: Py<PyAny>,
    before: bool,
    after: bool,
}

/// Writes a record of `server.log`.
#[pyfunction]
fn write(level: &str, text: &str) {
    let level = level.parse().unwrap_or(Level::Info);
    log::record(level, format_args!("{text}"));
}

/// The text of the Python config file, if it can be read. The user of the workers may not be
/// allowed to.
pub fn source(settings: &Settings) -> Option<Vec<u8>> {
    match &settings.config {
        Some(ConfigFile::Python(path)) => std::fs::read(path).ok(),
        Some(ConfigFile::Yaml(_) | ConfigFile::Module(_)) | None => None,
    }
}

impl Hooks {
    /// Executes the Python config file, if there is one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or raised: the log has the traceback.
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
        let loaded = || -> PyResult<Self> {
            let source = load_embedded(py, "_rcorn_hooks", include_str!("hooks.py"))?;
            let directory = start.directory.to_string_lossy();
            let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
            if !path.contains(&*directory)? {
                path.insert(1, &*directory)?;
            }
            let names = source
                .getattr("load")?
                .call1((kind, place, &*directory, text))?;
            let settings = settings(py, start, &names)?;
            let listeners: Vec<i32> = start.listeners.iter().map(|listener| listener.fd).collect();
            let write: Bound<'_, PyCFunction> = wrap_pyfunction!(write, py)?;
            let server = source.getattr("Server")?.call1((
                names,
                settings,
                write,
                start.arbiter,
                listeners,
            ))?;
            Ok(Self {
                server: server.unbind(),
            })
        };
        loaded().map(Some).map_err(|error| {
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

    /// `logconfig_dict` as the file has it.
    pub fn logconfig_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let cfg = self.server.bind(py).getattr("cfg")?;
        cfg.getattr("logconfig_dict")
    }

    /// Calls a method of the server object, which logs what its hook raises.
    fn call<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        arguments: impl pyo3::call::PyCallArgs<'py>,
    ) -> Option<Bound<'py, PyAny>> {
        let called = self.server.bind(py).getattr(method);
        let called = called.and_then(|method| method.call1(arguments));
        called
            .inspect_err(|error| log::error(format_args!("a hook cannot be called: {error}")))
            .ok()
    }

    /// Calls `on_starting`, before the app is imported; also in place of a template that has died,
    /// and what the hook had set with it. `again`: this process has called it before.
    ///
    /// # Errors
    ///
    /// The hook raised `SystemExit`: the start ends.
    pub fn begins(
        &self,
        py: Python<'_>,
        reason: TemplateReason,
        again: bool,
    ) -> Result<(), Failure> {
        if reason == TemplateReason::Reload || again {
            return Ok(());
        }
        let server = self.server.bind(py);
        server.call_method0("_starts").map(drop).map_err(|error| {
            let summary = format!("on_starting: {}", traceback::summary(py, &error));
            log::error(format_args!("{summary}"));
            Failure { code: 1, summary }
        })
    }

    /// Calls `when_ready` or `on_reload`, before the first fork.
    pub fn ready(&self, py: Python<'_>, reason: TemplateReason) {
        let name = match reason {
            TemplateReason::Boot => "when_ready",
            TemplateReason::Reload => "on_reload",
            TemplateReason::Replacement => return,
        };
        self.call(py, "_try", (name, &self.server));
    }

    /// Calls `pre_fork`.
    pub fn forks(&self, py: Python<'_>, id: u64) {
        self.call(py, "_forks", (id,));
    }

    /// After the fork, in the template.
    pub fn forked(&self, py: Python<'_>, pid: i32) {
        self.call(py, "_forked", (pid,));
    }

    /// After the fork, in the worker.
    ///
    /// # Errors
    ///
    /// Those of Python.
    pub fn for_worker(self, py: Python<'_>) -> PyResult<WorkerHooks> {
        let server = self.server.bind(py);
        let has = |name: &str| server.call_method1("_has", (name,))?.extract::<bool>();
        Ok(WorkerHooks {
            worker: server.getattr("_next")?.unbind(),
            before: has("pre_request")?,
            after: has("post_request")?,
        })
    }

    /// Calls the hook of an event that the arbiter reports.
    pub fn happened(&self, py: Python<'_>, moment: &HookEvent) {
        match moment {
            HookEvent::ChildExit { id, pid } => self.call(py, "_child_exit", (id, pid)),
            HookEvent::WorkersChanged { now, before } => {
                self.call(py, "_workers_changed", (now, before))
            }
            HookEvent::PreExec => self.call(py, "_try", ("pre_exec", &self.server)),
            HookEvent::Exit => self.call(py, "_exits", ()),
        };
    }
}

/// Every setting by name. Those that rcorn does not have are as in the file.
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
        // A process that the hook forked has come back: the worker's sockets are not its own.
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
    pub fn born(&self, py: Python<'_>, pid: i32) -> Result<(), Failure> {
        self.call(py, "_born", (pid,))
            .map(|_none| ())
            .map_err(|error| failure(py, &error, "post_fork"))
    }

    /// Calls `post_worker_init`; gives the app to serve, which the hook may have wrapped.
    ///
    /// # Errors
    ///
    /// The hook raised.
    pub fn booted<'py>(
        &self,
        py: Python<'py>,
        app: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>, Failure> {
        self.call(py, "_booted", (app,))
            .map_err(|error| failure(py, &error, "post_worker_init"))
    }

    /// Installs `worker_abort` as the handler of SIGABRT. It runs in the main thread, unless that
    /// is killed before.
    ///
    /// # Errors
    ///
    /// Those of `signal.signal`.
    pub fn listen_for_abort(&self, py: Python<'_>) -> PyResult<()> {
        let worker = self.worker.bind(py);
        if worker
            .getattr("server")?
            .call_method1("_has", ("worker_abort",))?
            .extract()?
        {
            let signal = py.import("_signal")?;
            signal.call_method1(
                "signal",
                (signal.getattr("SIGABRT")?, worker.getattr("_aborted")?),
            )?;
        }
        Ok(())
    }

    /// Calls `pre_request`; gives the request object for `post_request`.
    ///
    /// # Errors
    ///
    /// The hook raised.
    pub fn before<'py>(
        &self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !self.before {
            return Ok(None);
        }
        self.call(py, "_before", (environ,)).map(Some)
    }

    /// Calls `post_request`. `head`: the head of the reply as it was sent.
    pub fn after(
        &self,
        py: Python<'_>,
        request: Option<Bound<'_, PyAny>>,
        environ: &Bound<'_, PyDict>,
        head: &[u8],
        status: u16,
        sent: u64,
    ) {
        if !self.after {
            return;
        }
        let called = reply(py, head, status).and_then(|(status, headers)| {
            self.call(py, "_after", (request, environ, status, headers, sent))
        });
        if let Err(error) = called {
            log::error(format_args!(
                "Exception in post_request hook\n{}",
                traceback::format(py, &error)
            ));
        }
    }

    /// Calls `worker_int`.
    pub fn interrupted(&self, py: Python<'_>) {
        self.told(py, "_interrupted");
    }

    /// Calls `worker_exit`.
    pub fn leaves(&self, py: Python<'_>) {
        self.told(py, "_leaves");
    }

    fn told(&self, py: Python<'_>, method: &str) {
        if let Err(error) = self.call(py, method, ()) {
            log::error(format_args!("a hook cannot be called: {error}"));
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

/// `200 OK` and the fields of a reply's head; its number alone when the app gave none.
fn reply<'py>(py: Python<'py>, head: &[u8], status: u16) -> PyResult<(String, Bound<'py, PyList>)> {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
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
