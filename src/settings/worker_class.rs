//! What becomes of `worker_class`: rcorn has workers that serve one request at a time, and workers
//! with threads. Other classes of gunicorn are served by threads where that is possible.

use super::error::Error;
use super::origin::{Origin, Origins};
use super::rows::Settings;

/// A worker that serves one request at a time.
const SYNC: &str = "sync";
/// A worker with threads.
const GTHREAD: &str = "gthread";

/// The threads of a worker that stands for one of gevent or eventlet, unless `threads` is set. More
/// than most apps have connections to their database.
const GREEN_THREADS: u32 = 32;

/// What a class asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// gunicorn's sync worker.
    Sync,
    /// gunicorn's threaded worker.
    Threads,
    /// A class that is based on gunicorn's threaded or sync worker.
    Subclass,
    /// Many requests at a time in one thread, by greenlets of this library.
    Green(&'static str),
    /// One request at a time, in tornado's loop.
    Tornado,
    /// ASGI.
    Asgi,
    /// Nothing that is known.
    Unknown,
}

/// Whether a part of the path begins with the name of Trio, which other words contain.
fn names_trio(path: &str) -> bool {
    let mut parts = path.split(['.', ':', '#', '/']);
    parts.any(|part| part.starts_with("trio"))
}

impl Kind {
    fn of(class: &str) -> Self {
        match class {
            "sync" | "gunicorn.workers.sync.SyncWorker" | "egg:gunicorn#sync" => return Self::Sync,
            "gthread" | "gunicorn.workers.gthread.ThreadWorker" | "egg:gunicorn#gthread" => {
                return Self::Threads;
            }
            _ => {}
        }
        let lower = class.to_ascii_lowercase();
        let names = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        // The order matters: `uvicorn.workers` and `geventwebsocket.gunicorn.workers` both name
        // gunicorn's package.
        if names(&[
            "asgi",
            "uvicorn",
            "uvloop",
            "hypercorn",
            "aiohttp",
            "asyncio",
        ]) || names_trio(&lower)
        {
            Self::Asgi
        } else if names(&["gevent"]) {
            Self::Green("gevent")
        } else if names(&["eventlet"]) {
            Self::Green("eventlet")
        } else if names(&["tornado"]) {
            Self::Tornado
        } else if names(&["gthread", "threadworker", "syncworker"]) {
            Self::Subclass
        } else {
            Self::Unknown
        }
    }

    /// What a class is, by its name or else by those that it is based on.
    fn with_bases(class: &str, bases: &[String]) -> Self {
        let by_name = Self::of(class);
        if is_known(&by_name) {
            return by_name;
        }
        match bases.iter().map(|base| Self::of(base)).find(is_known) {
            Some(Self::Sync | Self::Threads | Self::Subclass) => Self::Subclass,
            Some(kind @ (Self::Green(_) | Self::Tornado | Self::Asgi)) => kind,
            Some(Self::Unknown) | None => Self::Unknown,
        }
    }
}

fn is_known(kind: &Kind) -> bool {
    *kind != Kind::Unknown
}

/// How rcorn serves what a worker class asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedClass {
    /// `sync` or `gthread`.
    pub class: &'static str,
    /// The number of threads.
    pub threads: u32,
    /// What happens instead of what the class asks for.
    pub warning: Option<String>,
}

impl ServedClass {
    /// Decides about a class. `bases`: the classes that it is based on, the nearest first;
    /// `threads`: what a source sets.
    ///
    /// # Errors
    ///
    /// The class cannot be served by threads: why, and what to do instead.
    pub fn of(
        class: &str,
        bases: &[String],
        threads: Option<u32>,
    ) -> Result<Self, (&'static str, &'static str)> {
        let kind = Kind::with_bases(class, bases);
        if let Some(refusal) = refusal(kind) {
            return Err(refusal);
        }
        let usual = match kind {
            Kind::Green(_) => GREEN_THREADS,
            Kind::Sync
            | Kind::Threads
            | Kind::Subclass
            | Kind::Tornado
            | Kind::Asgi
            | Kind::Unknown => 1,
        };
        // 0 is 1, as with gunicorn.
        let threads = threads.unwrap_or(usual).max(1);
        let is_sync = matches!(kind, Kind::Sync | Kind::Tornado) && threads == 1;
        Ok(Self {
            class: if is_sync { SYNC } else { GTHREAD },
            threads,
            warning: warning(kind, class, threads),
        })
    }
}

/// Makes `worker_class` `sync` or `gthread`, and `threads` the number of threads. `bases`: the
/// classes that a class of the configuration file is based on, the nearest first.
///
/// # Errors
///
/// The class cannot be served by threads. `at`: the flag or the variable that names it.
pub(super) fn settle(
    settings: &mut Settings,
    origins: &Origins,
    bases: &[String],
    at: impl FnOnce() -> String,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let class = settings.worker_class.trim().to_owned();
    let bases = match origins.of("worker_class") {
        Origin::File(..) => bases,
        Origin::Default | Origin::Environment(_) | Origin::CommandLine => &[],
    };
    let is_set = *origins.of("threads") != Origin::Default;
    let threads = is_set.then_some(settings.threads);
    let served = ServedClass::of(&class, bases, threads);
    let served = served.map_err(|(reason, instead)| Error::WorkerClass {
        at: at(),
        class,
        reason,
        instead,
    })?;
    served.class.clone_into(&mut settings.worker_class);
    settings.threads = served.threads;
    warnings.extend(served.warning);
    Ok(())
}

/// Why a class is refused, and what to do instead.
fn refusal(kind: Kind) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::Sync | Kind::Threads | Kind::Subclass | Kind::Green(_) | Kind::Tornado => None,
        Kind::Asgi => Some((
            "rcorn serves WSGI apps, this one serves ASGI",
            "serve an ASGI app with an ASGI server",
        )),
        Kind::Unknown => Some((
            "rcorn has workers of its own, and does not know what this one does",
            "use -k sync, or -k gthread with --threads N",
        )),
    }
}

/// What happens instead of what the class asks for.
fn warning(kind: Kind, class: &str, threads: u32) -> Option<String> {
    let by = match threads {
        1 => "one thread in each worker".to_owned(),
        threads => format!("{threads} threads in each worker"),
    };
    let what = match kind {
        Kind::Sync | Kind::Threads | Kind::Asgi | Kind::Unknown => return None,
        Kind::Subclass => format!(
            "worker class '{class}' is served by rcorn's own workers, with {by}: what the class changes has no effect"
        ),
        Kind::Green(library) => format!(
            "worker class '{class}' is served by threads: {by} (threads sets the number). Nothing is monkey-patched. That is not enough for an app that keeps more requests open than it has threads (long polling, WebSockets), or that needs {library} itself"
        ),
        Kind::Tornado => format!(
            "worker class '{class}' is served by threads: {by} (threads sets the number). No loop of tornado runs. That is not enough for an app that needs one"
        ),
    };
    Some(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(class: &str, threads: Option<u32>, bases: &[&str]) -> (String, u32, Vec<String>) {
        let mut settings = Settings {
            worker_class: class.to_owned(),
            threads: threads.unwrap_or(1),
            ..Settings::default()
        };
        let mut origins = Origins::default();
        let file = Origin::File("gunicorn.conf.py".into(), Some(1));
        origins.record("worker_class", &file, class.to_owned());
        if let Some(threads) = threads {
            origins.record("threads", &file, threads.to_string());
        }
        let bases: Vec<String> = bases.iter().map(|&base| base.to_owned()).collect();
        let mut warnings = Vec::new();
        let at = || "worker_class".to_owned();
        settle(&mut settings, &origins, &bases, at, &mut warnings).unwrap();
        (settings.worker_class, settings.threads, warnings)
    }

    #[test]
    fn the_classes_of_gunicorn_have_its_meaning() {
        for (class, threads, expected) in [
            ("sync", None, ("sync", 1)),
            ("sync", Some(0), ("sync", 1)),
            ("sync", Some(1), ("sync", 1)),
            ("gunicorn.workers.sync.SyncWorker", Some(4), ("gthread", 4)),
            ("gthread", None, ("gthread", 1)),
            ("gthread", Some(0), ("gthread", 1)),
            ("egg:gunicorn#gthread", Some(8), ("gthread", 8)),
            (
                "gunicorn.workers.gthread.ThreadWorker",
                Some(2),
                ("gthread", 2),
            ),
        ] {
            let (settled, number, warnings) = settled(class, threads, &[]);
            assert_eq!((settled.as_str(), number), expected, "{class} {threads:?}");
            assert!(warnings.is_empty(), "{warnings:?}");
        }
    }

    /// Class, `threads`, bases; the number of threads, and a part of the warning.
    type Served = (
        &'static str,
        Option<u32>,
        &'static [&'static str],
        u32,
        &'static str,
    );

    const SERVED: &[Served] = &[
        (
            "gevent",
            None,
            &[],
            32,
            "32 threads in each worker (threads sets",
        ),
        ("gevent", Some(8), &[], 8, "8 threads in each worker"),
        ("gevent", Some(1), &[], 1, "one thread in each worker"),
        (
            "egg:gunicorn#gevent_wsgi",
            None,
            &[],
            32,
            "needs gevent itself",
        ),
        (
            "gunicorn.workers.ggevent.GeventPyWSGIWorker",
            None,
            &[],
            32,
            "monkey-patched",
        ),
        (
            "geventwebsocket.gunicorn.workers.GeventWebSocketWorker",
            None,
            &[],
            32,
            "WebSockets",
        ),
        ("eventlet", None, &[], 32, "needs eventlet itself"),
        (
            "gunicorn.workers.geventlet.EventletWorker",
            Some(4),
            &[],
            4,
            "4 threads",
        ),
        ("tornado", Some(4), &[], 4, "No loop of tornado"),
        (
            "shop.workers.ThreadWorker",
            Some(4),
            &[],
            4,
            "what the class changes has no effect",
        ),
        (
            "shop.Worker",
            Some(4),
            &["gunicorn.workers.gthread.ThreadWorker"],
            4,
            "what the class",
        ),
        (
            "shop.Worker",
            None,
            &["shop.Base", "gunicorn.workers.ggevent.GeventWorker"],
            32,
            "gevent",
        ),
    ];

    #[test]
    fn other_classes_are_served_by_threads_with_one_warning() {
        for &(class, threads, bases, number, says) in SERVED {
            let (settled, settled_threads, warnings) = settled(class, threads, bases);
            let expected = if number == 1 && class == "tornado" {
                "sync"
            } else {
                "gthread"
            };
            assert_eq!(
                (settled.as_str(), settled_threads),
                (expected, number),
                "{class}"
            );
            let [warning] = warnings.as_slice() else {
                panic!("{class}: {warnings:?}");
            };
            assert!(
                warning.contains(says) && warning.contains(class),
                "{warning}"
            );
        }
        assert_eq!(settled("tornado", None, &[]).0, "sync");
    }
}
