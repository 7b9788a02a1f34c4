//! What a test needs beyond Rust, a C compiler and Python. A test that may be unable to run begins
//! with:
//!
//! ```text
//! if lacks(&[program("nginx")]) {
//!     return;
//! }
//! ```
//!
//! It is then reported as not run: on standard error when the test program ends, and in the file
//! that `RCORN_TESTS_NOT_RUN` names, which `tests/run` prints. With `RCORN_TESTS_REQUIRE=all`, as
//! in CI, it fails instead; `RCORN_TESTS_WITHOUT` lists programs (also `python3.9`), builds and
//! `memory-group`, which may be missing even then.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::thread;

use nix::unistd::Uid;

use super::{MemoryGroup, ROOT, process, venv};

/// Programs, and the packages of Debian that have them; "" if none has.
const PACKAGES: [(&str, &str); 20] = [
    ("/usr/bin/python3", "python3"),
    ("busybox", "busybox"),
    ("chromium-headless-shell", "chromium-headless-shell"),
    ("curl", "curl"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("lighttpd", "lighttpd"),
    ("mandoc", "mandoc"),
    ("nginx", "nginx-light"),
    ("objcopy", "binutils"),
    ("openssl", "openssl"),
    ("promtool", "prometheus"),
    ("rsyslogd", "rsyslog"),
    ("strace", "strace"),
    ("strip", "binutils"),
    ("supervisord", "supervisor"),
    ("systemd-analyze", "systemd"),
    ("terraform", ""),
    ("tmux", "tmux"),
    ("unshare", "util-linux"),
    ("valgrind", "valgrind"),
];

/// Where Debian has nginx's streams, which others have built in.
pub(super) const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Something that a test needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// Root's rights.
    Root,
    /// A program: see [`program`].
    Program(&'static str, &'static str),
    /// nginx with its module for streams.
    NginxStream,
    /// The environment of `tests/requirements.txt`.
    Packages,
    /// A Python that can make virtual environments.
    Venv,
    /// A Python with pip.
    Pip,
    /// A kernel that gives us user namespaces.
    UserNamespaces,
    /// The right to make control groups with a limit of memory.
    MemoryGroup,
    /// A build that `tests/other-builds` makes.
    Build(OtherBuild),
    /// The wheel that `tests/portable-wheel` makes.
    PortableWheel,
    /// CPython 3 of this minor version; whether it was found.
    Python(u32, bool),
    /// Free-threaded CPython 3 of this minor version; whether it was found, and whether the build
    /// under test has a module for it.
    FreeThreaded(u32, bool, bool),
}

/// Another rcorn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OtherBuild {
    /// Commit cb54ddf, the oldest one from which an upgrade in place starts.
    First,
    /// The sources of this one, with one setting more.
    Added,
}

impl OtherBuild {
    fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Added => "added",
        }
    }

    /// Its name in `RCORN_TESTS_WITHOUT`.
    fn excuse(self) -> &'static str {
        match self {
            Self::First => "first-build",
            Self::Added => "added-build",
        }
    }

    fn folder(self) -> PathBuf {
        let builds = Path::new(env!("CARGO_TARGET_TMPDIR")).join("builds");
        builds.join(self.name())
    }

    /// Its executable. A test asks for [`Need::Build`] before.
    pub(crate) fn path(self) -> PathBuf {
        self.folder().join("rcorn")
    }

    fn is_there(self) -> bool {
        let digest = fs::read_to_string(self.folder().join("digest")).unwrap_or_default();
        let wanted = match self {
            Self::First => "cb54ddf\n".to_owned(),
            Self::Added => output(&format!("{ROOT}/tests/other-builds --digest")),
        };
        digest == wanted && self.path().exists()
    }
}

/// The need for this program, which must be in `PACKAGES`.
pub(crate) fn program(name: &str) -> Need {
    let found = PACKAGES.iter().find(|(known, _)| *known == name);
    let (name, package) = found.unwrap_or_else(|| panic!("{name} is not in PACKAGES"));
    Need::Program(name, package)
}

/// Whether any of these needs is not met. The running test is then recorded as not run and must
/// return; or this panics, if all tests must run.
pub(crate) fn lacks(needs: &[Need]) -> bool {
    // Under nextest a test may run in the main thread.
    let name = env::var("NEXTEST_TEST_NAME").ok();
    let name = name.or_else(|| thread::current().name().map(str::to_owned));
    lacks_for(&name.unwrap_or_default(), needs)
}

/// The same, for a part of a test.
pub(crate) fn lacks_for(part: &str, needs: &[Need]) -> bool {
    let must = env::var("RCORN_TESTS_REQUIRE").as_deref() == Ok("all");
    let excused = env::var("RCORN_TESTS_WITHOUT").unwrap_or_default();
    match judge(part, needs, must, &excused) {
        Verdict::Runs => false,
        Verdict::NotRun(line) => {
            record(line);
            true
        }
        Verdict::Fails(why) => panic!("{why}"),
    }
}

/// What becomes of a test.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Runs,
    NotRun(String),
    Fails(String),
}

/// Judges a test by its needs: whether all tests must run, and which programs are excused from
/// that.
pub(super) fn judge(part: &str, needs: &[Need], must: bool, excused: &str) -> Verdict {
    let missing = |need: &Need| Some((*need, need.missing()?));
    let Some((need, reason)) = needs.iter().find_map(missing) else {
        return Verdict::Runs;
    };
    let excused: Vec<&str> = excused.split(' ').collect();
    let is_excused = match need {
        Need::Program(name, _) => excused.contains(&name),
        Need::Build(build) => excused.contains(&build.excuse()),
        Need::Python(minor, _) => excused.contains(&&*format!("python3.{minor}")),
        Need::FreeThreaded(minor, ..) => excused.contains(&&*format!("python3.{minor}t")),
        Need::MemoryGroup => excused.contains(&"memory-group"),
        Need::Root
        | Need::NginxStream
        | Need::Packages
        | Need::Venv
        | Need::Pip
        | Need::PortableWheel
        | Need::UserNamespaces => false,
    };
    if must && !is_excused {
        Verdict::Fails(format!("{part} cannot run: {reason}"))
    } else {
        Verdict::NotRun(format!("not run: {part}: {reason}"))
    }
}

impl Need {
    /// Why this need is not met; `None` if it is.
    fn missing(self) -> Option<String> {
        match self {
            Self::Root => (!Uid::effective().is_root()).then(|| "it must be root".to_owned()),
            Self::Program(name, "") => (!exists(name))
                .then(|| format!("{name} is not installed (Debian has no package of it)")),
            Self::Program(name, package) => (!exists(name))
                .then(|| format!("{name} is not installed (Debian's package: {package})")),
            Self::NginxStream => program("nginx").missing().or_else(|| {
                let has = Path::new(NGINX_STREAM).exists()
                    || succeeds("nginx -V 2>&1 | grep -qE -- '--with-stream( |$)'");
                (!has).then(|| {
                    "nginx has no streams (Debian's package: libnginx-mod-stream)".to_owned()
                })
            }),
            Self::Packages => (!venv::is_ready())
                .then(|| "the packages of tests/requirements.txt are not installed".to_owned()),
            Self::Venv => (!succeeds("python3 -c 'import venv, ensurepip'")).then(|| {
                "Python makes no virtual environments (Debian's package: python3-venv)".to_owned()
            }),
            Self::Pip => (!succeeds("python3 -m pip --version"))
                .then(|| "Python has no pip (Debian's package: python3-pip)".to_owned()),
            Self::UserNamespaces => {
                static HAS: OnceLock<bool> = OnceLock::new();
                let asks = "unshare --user --map-root-user --mount --pid --fork true";
                let has = *HAS.get_or_init(|| succeeds(asks));
                (!has).then(|| {
                    "the kernel gives it no user namespaces (in a chroot it never does)".to_owned()
                })
            }
            Self::MemoryGroup => MemoryGroup::new().err().map(|error| {
                format!("it can make no control group with a limit of memory ({error})")
            }),
            Self::PortableWheel => (!is_portable_wheel_there())
                .then(|| "there is no wheel of zig's (tests/portable-wheel makes it)".to_owned()),
            Self::Python(minor, there) => {
                (!there).then(|| format!("no CPython 3.{minor} was found (tests/pythons looks)"))
            }
            Self::FreeThreaded(_, _, false) => Some(
                "this build has no module for it (a debug build has with RCORN_FREE_THREADED=1)"
                    .to_owned(),
            ),
            Self::FreeThreaded(minor, there, true) => {
                (!there).then(|| format!("no CPython 3.{minor}t was found (tests/pythons looks)"))
            }
            Self::Build(build) => (!build.is_there()).then(|| {
                let name = build.name();
                format!("the build {name:?} is not there (tests/other-builds makes it)")
            }),
        }
    }
}

fn is_portable_wheel_there() -> bool {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portable/digest");
    let wanted = output(&format!("{ROOT}/tests/other-builds --digest"));
    fs::read_to_string(made).is_ok_and(|made| made == wanted)
}

fn exists(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian installs servers where only root's PATH looks.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut files = folders.map(|folder| folder.join(program));
    files.any(|file| {
        file.metadata()
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    })
}

/// What a script prints; nothing if it fails.
fn output(script: &str) -> String {
    let done = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .output();
    done.map_or_else(
        |_| String::new(),
        |done| String::from_utf8_lossy(&done.stdout).into_owned(),
    )
}

fn succeeds(script: &str) -> bool {
    let path = env::var("PATH").unwrap_or_default();
    let status = Command::new("sh")
        .args(["-c", script])
        .env("PATH", format!("{path}:/usr/sbin"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

static NOT_RUN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static REPORT: Once = Once::new();

fn record(line: String) {
    if let Some(path) = env::var_os("RCORN_TESTS_NOT_RUN") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        // One write: other tests append at the same time.
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    REPORT.call_once(|| process::at_exit(report));
    NOT_RUN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line);
}

/// Prints the report after the test runner's last line, which counts these tests as passed.
extern "C" fn report() {
    let mut lines = NOT_RUN.lock().unwrap_or_else(PoisonError::into_inner);
    lines.sort();
    let count = lines.len();
    let text = format!(
        "\n{}\n{count} of the tests above did not run here; tests/run installs what they need.\n",
        lines.join("\n")
    );
    std::io::stderr().write_all(text.as_bytes()).ok();
}
