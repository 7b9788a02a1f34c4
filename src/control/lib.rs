//! The protocol of the control socket, and its client (`rcorn ctl`). One line of JSON each way; the
//! answer may come late (`reload --wait`).
#![forbid(unsafe_code)]

mod client;
mod history;
pub mod place;
mod table;

use std::collections::BTreeMap;

use rcorn_scoreboard::{Counts, Times};
use serde::{Deserialize, Serialize};

pub use client::{ask, command, run};
pub use history::{Count, History, Recent};

/// The longest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 4096;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Report the templates and workers, and what they do.
    Status,
    /// Load settings and code again; with `wait` the answer is the outcome.
    Reload {
        /// Answer when the reload is over.
        wait: bool,
    },
    /// Upgrade, as USR2 does.
    Upgrade,
    /// Change the number of workers.
    Scale(Scale),
    /// Replace this worker (its id or its pid).
    Retire(u64),
    /// Make the worker that has served most requests the template, and replace the others; the
    /// answer is the decision.
    Refork,
    /// Dump the Python stacks of this worker or template (its id or its pid).
    Stack(u64),
    /// Show the last slow requests, with their stacks.
    Slow,
    /// Reopen the log files.
    Reopen,
    /// Stop as TERM does; `quick`: as INT does.
    Stop {
        /// Do not wait for requests in progress.
        quick: bool,
    },
}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// This number.
    To(u32),
    /// This many more, or fewer.
    By(i32),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether the request was carried out.
    pub ok: bool,
    /// The answer in words.
    pub text: String,
    /// The answer to [`Request::Status`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<Status>,
}

impl Answer {
    /// The request was carried out.
    pub fn done(text: impl Into<String>) -> Self {
        Self {
            ok: true,
            text: text.into(),
            status: None,
        }
    }

    /// The request was refused, or failed.
    pub fn failed(text: impl Into<String>) -> Self {
        Self {
            ok: false,
            text: text.into(),
            status: None,
        }
    }
}

/// The state of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// rcorn's version.
    pub version: String,
    /// What was built.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub build: Option<Build>,
    /// The arbiter's pid.
    pub pid: i32,
    /// `running`, `reloading`, `watching` a reload, or `stopping`.
    pub state: String,
    /// The generation in force.
    pub generation: u32,
    /// The wanted number of workers.
    pub wanted: u32,
    /// How many spare workers there are to be: none where the import is shared.
    #[serde(default)]
    pub wanted_spares: u32,
    /// The app.
    pub app: String,
    /// The addresses.
    pub listeners: Vec<String>,
    /// Whether workers share one import of the app, and if not, why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub preload: Option<String>,
    /// How the last reload ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_reload: Option<String>,
    /// How far the last refork has come, or why there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refork: Option<String>,
    /// The pid of a new arbiter beside this one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upgrade: Option<i32>,
    /// What all workers have counted, those that have ended too: a count never goes back.
    #[serde(default)]
    pub counts: Counts,
    /// What all workers have measured, those that have ended too.
    #[serde(default)]
    pub times: Times,
    /// What has happened since the server was started.
    #[serde(default)]
    pub history: History,
    /// Threads of all workers that serve, each of which runs one request at a time.
    #[serde(default)]
    pub threads: u32,
    /// The templates.
    pub templates: Vec<TemplateStatus>,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// The processes that speak TLS; none without TLS.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fronts: Vec<FrontStatus>,
    /// What they have counted, those that have ended, too, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub front_counts: BTreeMap<String, u64>,
    /// The certificates in force.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub certificates: Vec<CertificateStatus>,
}

impl Status {
    /// The number of workers that serve.
    #[must_use]
    pub fn serving(&self) -> usize {
        self.in_stage("serving")
    }

    /// The number of workers that wait until one is missing.
    pub(crate) fn spares(&self) -> usize {
        self.in_stage("spare")
    }

    /// The number of workers in this stage.
    #[must_use]
    pub fn in_stage(&self, stage: &str) -> usize {
        let workers = self.workers.iter();
        workers.filter(|worker| worker.stage == stage).count()
    }
}

/// One front: a process that speaks TLS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontStatus {
    /// Its pid.
    pub pid: i32,
    /// `starting`, `serving`, `leaving`.
    pub stage: String,
    /// For how long it has run, in seconds.
    pub age: f64,
    /// Connections of clients that it holds.
    pub connections: u64,
}

/// A certificate in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its file.
    pub file: String,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
    /// The whole days until then; less than none once it has expired.
    #[serde(default)]
    pub days: i64,
}

/// A build of rcorn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The target triple.
    pub target: String,
    /// `release` or `debug`.
    pub profile: String,
    /// The compiler.
    pub rustc: String,
    /// A digest of the sources: builds of one version differ in it.
    pub sources: String,
    /// The native modules in it, by the ABI that they keep to.
    pub modules: Vec<String>,
}

/// The Python of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonStatus {
    /// The path by which it was started.
    pub path: String,
    /// Why this one.
    pub reason: String,
    /// Its implementation and version, such as `CPython 3.14.2`, once it has said it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
}

/// One template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateStatus {
    /// Its generation.
    pub generation: u32,
    /// Its pid, once it has one.
    pub pid: Option<i32>,
    /// `starting`, `bare` (ready, but without the app), `ready`, `leaving`.
    pub stage: String,
    /// Its interpreter; that of a template which an older build has started is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub python: Option<PythonStatus>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its id: counted from 1, never used twice.
    pub id: u64,
    /// Its pid, once it has one.
    pub pid: Option<i32>,
    /// Its place among the workers: that of one that has ended is used again.
    #[serde(default)]
    pub slot: u16,
    /// Its generation.
    pub generation: u32,
    /// `forking`, `booting`, `spare` (waits until a worker is missing), `serving`, `leaving`,
    /// `hung`, `unwinding`, `killed`.
    pub stage: String,
    /// For how long it has served, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub age: Option<f64>,
    /// Requests it has served.
    pub requests: u64,
    /// Connections it holds.
    pub connections: u32,
    /// All that it has counted.
    #[serde(default)]
    pub counts: Counts,
    /// Its resident memory in KiB.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resident: Option<u64>,
    /// The request in hand; of several, the oldest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request: Option<String>,
    /// For how long it has been in hand, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_age: Option<f64>,
    /// Its threads that serve requests; none if it serves one request at a time.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub threads: Vec<ThreadStatus>,
}

impl WorkerStatus {
    /// Its threads that have a request in hand.
    pub fn busy_threads(&self) -> impl Iterator<Item = &ThreadStatus> {
        self.threads
            .iter()
            .filter(|thread| thread.request.is_some())
    }
}

/// One thread of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// Which of the worker's, counted from 1.
    pub number: u16,
    /// The kernel's number of it, as `ps -L` shows it.
    pub tid: u32,
    /// Requests it has served.
    pub requests: u64,
    /// The request in hand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request: Option<String>,
    /// For how long it has been in hand, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_age: Option<f64>,
}
