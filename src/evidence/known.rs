//! What libraries do at their import, or when an app creates their objects at its import, that does
//! no harm: by name, with the reason. Found by experiment.

use super::deed::Kind;

/// Code that may do these things.
struct Known {
    /// The beginning of `file:function`, the file relative to where it is installed.
    by: &'static str,
    kinds: &'static [Kind],
    /// Why it does no harm.
    #[expect(dead_code, reason = "it is here for the reader")]
    why: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        by: "tempfile.py:_get_default_tempdir",
        kinds: &[Kind::File, Kind::Random, Kind::Identity],
        why: "a file that is removed at once, to see whether one can be made",
    },
    Known {
        by: "weakref.py",
        kinds: &[Kind::Exit],
        why: "runs finalizers, which are looked at one by one",
    },
    Known {
        by: "subprocess.py",
        kinds: &[Kind::Descriptor, Kind::Identity],
        why: "belongs to a process that is found by itself",
    },
    Known {
        by: "logging/__init__.py:__init__",
        kinds: &[Kind::Identity, Kind::Clock],
        why: "what is logged at import is logged once, with the id of who did it",
    },
    Known {
        by: "aiohttp/_websocket/writer.py:<module>",
        kinds: &[Kind::Random],
        why: "masks of a client's WebSocket, which its peer sees in clear",
    },
    Known {
        by: "billiard/process.py:<module>",
        kinds: &[Kind::Random],
        why: "the key of multiprocessing, which a process and those it forks have in common",
    },
    Known {
        by: "bson/objectid.py:<module>",
        kinds: &[Kind::Random, Kind::Identity],
        why: "drawn again when the process id differs",
    },
    Known {
        by: "certifi/core.py",
        kinds: &[Kind::Exit],
        why: "closes a copy of the certificates, which it makes only of packages in an archive",
    },
    Known {
        by: "filelock/_core/_shutdown.py:<module>",
        kinds: &[Kind::Exit],
        why: "gives back the locks of the process that ends",
    },
    Known {
        by: "filelock/_core/_fork.py:<module>",
        kinds: &[Kind::Identity],
        why: "compares the id at each use, to find forks",
    },
    Known {
        by: "filelock/_native/_unix.py:<module>",
        kinds: &[Kind::Identity],
        why: "compares the id at each use, to find forks",
    },
    Known {
        by: "filelock/_native/_windows.py:<module>",
        kinds: &[Kind::Identity],
        why: "compares the id at each use, to find forks",
    },
    Known {
        by: "loguru/__init__.py:<module>",
        kinds: &[Kind::Exit],
        why: "closes what each process logs to",
    },
    Known {
        by: "loguru/_logger.py:_log",
        kinds: &[Kind::Identity],
        why: "what is logged at import is logged once, with the id of who did it",
    },
    Known {
        by: "newrelic/packages/urllib3/util/connection.py:_has_ipv6",
        kinds: &[Kind::Socket],
        why: "asks whether there is IPv6, and closes the socket",
    },
    Known {
        by: "opentelemetry/context/__init__.py:create_key",
        kinds: &[Kind::Random],
        why: "names of variables of this process",
    },
    Known {
        by: "paramiko/kex_curve25519.py:is_available",
        kinds: &[Kind::Random],
        why: "asks whether there is X25519",
    },
    Known {
        by: "paramiko/kex_mlkem.py:is_available",
        kinds: &[Kind::Random],
        why: "asks whether there is X25519",
    },
    Known {
        by: "paramiko/transport.py:<module>",
        kinds: &[Kind::Exit],
        why: "ends the threads of the process that ends",
    },
    Known {
        by: "passlib/utils/__init__.py:<module>",
        kinds: &[Kind::Random],
        why: "asks whether os.urandom works",
    },
    Known {
        by: "PIL/Image.py:<module>",
        kinds: &[Kind::Exit],
        why: "frees memory",
    },
    Known {
        by: "prometheus_client/process_collector.py",
        kinds: &[Kind::Identity],
        why: "asks whether there is a /proc; reads its figures when it is asked for them",
    },
    Known {
        by: "prometheus_client/values.py:MultiProcessValue",
        kinds: &[Kind::Identity],
        why: "compares the id at each use; the files of metrics are found by themselves",
    },
    Known {
        by: "psutil/_pslinux.py:<module>",
        kinds: &[Kind::Identity],
        why: "asks what there is in /proc",
    },
    Known {
        by: "pymongo/synchronous/monitor.py:<module>",
        kinds: &[Kind::Exit],
        why: "ends the threads of the process that ends",
    },
    Known {
        by: "redis/connection.py",
        kinds: &[Kind::Random, Kind::Identity],
        why: "the name of a pool in metrics; the id is compared at each use",
    },
    Known {
        by: "sentry_sdk/integrations/atexit.py",
        kinds: &[Kind::Exit],
        why: "sends what each process has not sent yet",
    },
    Known {
        by: "sentry_sdk/profiler/",
        kinds: &[Kind::Exit],
        why: "stops the profiler of the process that ends",
    },
    Known {
        by: "sentry_sdk/utils.py:get_git_revision",
        kinds: &[Kind::Child, Kind::Descriptor],
        why: "asks git for the revision, and waits for the answer",
    },
    Known {
        by: "urllib3/util/connection.py:_has_ipv6",
        kinds: &[Kind::Socket],
        why: "asks whether there is IPv6, and closes the socket",
    },
];

/// Code that does something of which no event tells, with the kind and the text for it. It is
/// recognised by something else that it does.
const MEANINGS: &[(&str, Kind, &str)] = &[
    (
        "multiprocessing/synchronize.py",
        Kind::SharedMemory,
        "makes a semaphore that processes share",
    ),
    ("tempfile.py:rng", Kind::Random, "makes a random name"),
    ("tempfile.py:__next__", Kind::Random, "makes a random name"),
];

/// The meaning of a deed of such code.
pub(crate) fn meaning(passed: &[String]) -> Option<(Kind, &'static str)> {
    let meant = MEANINGS.iter().find(|(by, ..)| {
        passed
            .iter()
            .any(|function| function.starts_with(by) && !function.ends_with(":<module>"))
    });
    meant.map(|(_, kind, what)| (*kind, *what))
}

/// Whether it is known to do no harm. `passed`: the functions of libraries on the
/// stack.
pub(crate) fn is_known(kind: Kind, passed: &[String]) -> bool {
    KNOWN.iter().any(|known| {
        known.kinds.contains(&kind) && passed.iter().any(|function| function.starts_with(known.by))
    })
}
