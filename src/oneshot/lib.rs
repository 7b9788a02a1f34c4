//! `rcorn cgi`, `rcorn invoke`, `rcorn pack`: one request, or one bundle, and no server. This process becomes the
//! user's own Python, with what it has to do and our Python modules in a descriptor; workers and the native module
//! would only cost time here. The modules are those that `rcorn pack` puts into a bundle, so a function service and
//! `rcorn invoke` run the same code. Called by `main.rs`.
#![forbid(unsafe_code)]

mod argv;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde::Serialize;

use rcorn_driver as driver;
use rcorn_settings::{self as settings, Environment, Resolved, Settings};
use rcorn_sys::descriptor::set_inherited;
use rcorn_sys::memfd::{self, Content};

use argv::{Details, Parsed};

/// What is done by `-c`.
const BOOTSTRAP: &str = include_str!("bootstrap.py");

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"), "/../../packaging/python/rcorn/", $name, ".py"
        )))),*]
    };
}

/// Our Python modules.
static MODULES: [(&str, &str); 8] = modules![
    "__init__", "cgi", "events", "exchange", "function", "load", "oneshot", "pack",
];

/// One of the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OneShot {
    /// Answer the request in the environment (RFC 3875).
    Cgi,
    /// Answer an API-gateway event.
    Invoke,
    /// Make a function bundle.
    Pack,
}

impl OneShot {
    /// All commands.
    pub const ALL: [Self; 3] = [Self::Cgi, Self::Invoke, Self::Pack];

    /// The parser of its command line, with its help texts.
    #[must_use]
    pub fn command(self) -> clap::Command {
        argv::command(self)
    }

    /// The command of this name.
    #[must_use]
    pub fn named(word: &OsString) -> Option<Self> {
        Self::ALL.into_iter().find(|one| word == one.word())
    }

    /// The word after `rcorn` that asks for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cgi => "cgi",
            Self::Invoke => "invoke",
            Self::Pack => "pack",
        }
    }
}

/// What the interpreter is told.
#[derive(Serialize)]
struct Orders<'a> {
    command: OneShot,
    app: String,
    argv: Vec<String>,
    chdir: String,
    pythonpath: Vec<String>,
    #[serde(flatten)]
    details: &'a Details,
    files: BTreeMap<&'static str, &'static str>,
}

/// What is wrong, the way out, and the exit code.
struct Trouble(String, Option<String>, u8);

fn system(what: &'static str) -> impl Fn(io::Error) -> Trouble {
    move |error| Trouble(format!("cannot {what}: {error}"), None, 1)
}

/// Runs a command with all words of the command line. Comes back only when there is nothing to run; gives the exit
/// code.
pub fn run(command: OneShot, words: &[OsString], environment: &Environment<'_>) -> u8 {
    match prepare(command, words, environment) {
        Ok(code) => code,
        Err(Trouble(text, hint, code)) => {
            let mut stderr = io::stderr();
            let hint = hint
                .map(|hint| format!("; hint: {hint}"))
                .unwrap_or_default();
            drop(writeln!(stderr, "rcorn: error: {text}{hint}"));
            code
        }
    }
}

fn prepare(
    command: OneShot,
    words: &[OsString],
    environment: &Environment<'_>,
) -> Result<u8, Trouble> {
    let usage = |text| Trouble(text, Some(format!("rcorn {} --help", command.word())), 2);
    let (details, flags) = match argv::read(command, words).map_err(usage)? {
        Parsed::Run(details, flags) => (details, flags),
        Parsed::Print(text) => {
            // A reader that left early (head) is no failure of ours.
            drop(io::stdout().write_all(text.as_bytes()));
            return Ok(0);
        }
    };
    // Those that change one default each are for servers: a port that is no port must not end a request.
    let environment = |name: &str| {
        let heeded = name == "PWD" || name.ends_with("_CMD_ARGS");
        heeded.then(|| environment(name)).flatten()
    };
    let resolved = match resolve(words, flags, &environment) {
        Ok(Some(resolved)) => resolved,
        Ok(None) => {
            let text = "a variable with flags asks for help or the version".to_owned();
            return Err(Trouble(text, None, 2));
        }
        Err(error) => {
            drop(io::stderr().write_all(error.detail().unwrap_or_default().as_bytes()));
            return Err(Trouble(
                error.to_string(),
                error.hint(),
                error.exit_status().code(),
            ));
        }
    };
    for warning in &resolved.warnings {
        drop(writeln!(io::stderr(), "rcorn: warning: {warning}"));
    }
    if command == OneShot::Cgi {
        is_request(&resolved.settings)?;
    }
    become_python(command, &resolved.settings, &details, words)
}

/// The settings, if that is what the words ask for. A file is read only when it is named: whoever starts a CGI program
/// does not choose its directory.
fn resolve(
    words: &[OsString],
    flags: Vec<OsString>,
    environment: &Environment<'_>,
) -> Result<Option<Resolved>, settings::Error> {
    let directory = settings::launch_directory(environment)?;
    let sources = match settings::collect(flags.into_iter(), environment, directory)? {
        settings::Invocation::Serve(sources) => sources.without_usual_file(),
        settings::Invocation::Print(_) | settings::Invocation::Generate(_) => return Ok(None),
    };
    let answer = match sources.python_file() {
        Some(file) => Some(driver::evaluate(&file, words)?),
        None => None,
    };
    sources.resolve(answer.as_deref()).map(Some)
}

/// People type the command into a shell to see what it does.
fn is_request(settings: &Settings) -> Result<(), Trouble> {
    let set = std::env::var_os("REQUEST_METHOD").is_some_and(|method| !method.is_empty());
    let given = settings
        .raw_env
        .iter()
        .any(|(name, _)| name == "REQUEST_METHOD");
    if set || given {
        return Ok(());
    }
    let text = "REQUEST_METHOD is not set: `rcorn cgi` is started by a web server, for each request, with the request in its environment (RFC 3875)";
    let hint = "to try it: REQUEST_METHOD=GET PATH_INFO=/ rcorn cgi APP_MODULE; to serve: rcorn APP_MODULE";
    Err(Trouble(text.to_owned(), Some(hint.to_owned()), 2))
}

fn become_python(
    command: OneShot,
    settings: &Settings,
    details: &Details,
    words: &[OsString],
) -> Result<u8, Trouble> {
    let python = driver::python(settings.python.clone())
        .map_err(|error| Trouble(error.to_string(), Some(error.hint()), 1))?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let orders = Orders {
        command,
        app: settings
            .wsgi_app
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        argv: words
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        chdir: text(&settings.chdir),
        pythonpath: settings.pythonpath.iter().map(|path| text(path)).collect(),
        details,
        files: MODULES.into_iter().collect(),
    };
    let file = hand_over(&orders).map_err(system("hand the orders over"))?;
    std::env::set_current_dir(&settings.chdir).map_err(system("change to the app's directory"))?;
    let error = Command::new(&python)
        .args(["-c", BOOTSTRAP])
        .arg(file.as_raw_fd().to_string())
        .envs(settings.raw_env.iter().map(|(name, value)| (name, value)))
        .exec();
    let text = format!("cannot run {}: {error}", python.display());
    Err(Trouble(
        text,
        Some("another Python is chosen with --python".to_owned()),
        1,
    ))
}

/// The orders in memory, open for reading and for the exec.
fn hand_over(orders: &Orders<'_>) -> io::Result<OwnedFd> {
    let orders = serde_json::to_vec(orders).map_err(io::Error::other)?;
    let memory = memfd::sealed(c"rcorn-orders", &orders, Content::Data)?;
    set_inherited(&memory, true)?;
    Ok(memory)
}
