//! The command lines of the one-shot commands. What they share with the server is handed on to `settings`, which
//! knows these flags; help and the rest are here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Serialize;

use super::OneShot;

/// What a command line asks for.
#[derive(Debug)]
pub(super) enum Asked {
    /// To run, with these details and these flags and app for `settings`.
    Run(Details, Vec<OsString>),
    /// The help text.
    Print(String),
}

/// What a command needs besides settings. Paths are absolute, for the directory changes.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Details {
    event: Option<String>,
    context: Option<String>,
    output: Option<String>,
    requirements: Option<String>,
    include: Vec<String>,
    exclude: Vec<String>,
    handler: Option<String>,
    force: bool,
}

/// The server's flags that mean something here: name, short form, value, help.
const SHARED: [(&str, Option<char>, &str, &str); 5] = [
    (
        "chdir",
        None,
        "DIR",
        "Work in this directory. It is also the first place where modules are looked for.",
    ),
    (
        "pythonpath",
        None,
        "DIRS",
        "Directories to look for modules in, with commas between them.",
    ),
    (
        "python",
        None,
        "PATH",
        "The Python to run the app with, 3.9 or later.",
    ),
    (
        "env",
        Some('e'),
        "NAME=VALUE",
        "Set an environment variable for the app. May be repeated.",
    ),
    (
        "config",
        Some('c'),
        "FILE",
        "Read settings from this file too.",
    ),
];

const APP: &str = "APP_MODULE";

const CGI: &str = "Answers the one request that a web server describes in the environment and on standard input (RFC \
    3875), and leaves. A web server starts it for each request, by a script such as\n\n  \
    #!/bin/sh\n  exec rcorn cgi --chdir /srv/shop shop.wsgi:app\n\n\
    Options stand before APP_MODULE. What follows it is not read, for web servers put words of the query there \
    (RFC 3875 section 4.4). What the app prints goes to standard error.\n\n\
    Leaves with 0 when a whole response was given (also one with status 500, because the app raised), with 1 when it \
    was cut off, with 3 or 4 when the app cannot be loaded; the client is told 500 then.";

const INVOKE: &str = "Gives the app the request in an API-gateway event and prints the response object: statusCode, \
    headers, multiValueHeaders or cookies as the event's gateway wants them, body, isBase64Encoded. Events of AWS REST \
    APIs, HTTP APIs, function URLs and load balancers and of JD Cloud's API gateway are known by what is in them.\n\n\
    The app finds the event in environ['function.event'] and the context in environ['function.context']. What it \
    prints goes to standard error, and so does the traceback of an app that raises; the response has status 500 then.\n\n\
    Leaves with 0 when a response was given, with 1 when the event cannot be used, with 3 or 4 when the app cannot be \
    loaded.";

const PACK: &str = "Writes a zip with all that a function service needs to serve the app by a plain Python 3.9 or \
    later: the app's directory, its requirements, and an entry, index.handler. The same files give the same zip.\n\n\
    The app's directory is --chdir, or the directory of the moment. Hidden files, caches, node_modules and virtual \
    environments are left out.";

fn shared(name: &'static str, about: &'static str, usage: &'static str) -> Command {
    let app = Arg::new(APP)
        .required(true)
        .action(ArgAction::Append)
        .value_parser(value_parser!(OsString))
        .help("The app: MODULE:CALLABLE, or MODULE:FACTORY('literal', name=1). MODULE alone means MODULE:application.");
    let flags = SHARED.map(|(long, short, value, help)| {
        let arg = valued(long, value, help).action(ArgAction::Append);
        short.into_iter().fold(arg, Arg::short)
    });
    Command::new(name)
        .about(about)
        .override_usage(usage)
        .arg(app)
        .args(flags)
}

fn valued(long: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(long)
        .long(long)
        .value_name(value)
        .value_parser(value_parser!(OsString))
        .help(help)
}

fn command(which: OneShot) -> Command {
    match which {
        OneShot::Cgi => shared("rcorn cgi", CGI, "rcorn cgi [OPTIONS] APP_MODULE")
            .mut_arg(APP, |app| app.trailing_var_arg(true).num_args(1..).allow_hyphen_values(true)),
        OneShot::Invoke => shared("rcorn invoke", INVOKE, "rcorn invoke [OPTIONS] APP_MODULE --event FILE")
            .arg(valued("event", "FILE", "The event, as JSON; - reads standard input.").required(true))
            .arg(valued("context", "FILE", "The context, as JSON; its values are items and attributes.")),
        OneShot::Pack => shared("rcorn pack", PACK, "rcorn pack [OPTIONS] APP_MODULE --output FILE")
            .arg(valued("output", "FILE", "The zip to write.").short('o').required(true))
            .arg(valued("requirements", "FILE", "Install the packages that this file names into the bundle, by pip.").short('r'))
            .arg(
                valued("include", "PATH", "Put this file or directory in too, even if it would be left out. May be repeated.")
                    .action(ArgAction::Append),
            )
            .arg(
                valued("exclude", "PATTERN", "Leave out names, or paths in the app's directory, of this form, such as tests or '*.md'. May be repeated.")
                    .action(ArgAction::Append),
            )
            .arg(
                valued("handler", "MODULE.NAME", "What the entry is called.")
                    .default_value("index.handler")
                    .value_parser(handler),
            )
            .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).help("Replace the zip if it exists.")),
    }
}

fn handler(text: &str) -> Result<OsString, String> {
    let is_name = |name: &str| {
        !name.starts_with(|sign: char| sign.is_ascii_digit())
            && !name.is_empty()
            && name
                .chars()
                .all(|sign| sign.is_ascii_alphanumeric() || sign == '_')
    };
    match text.split_once('.') {
        Some((module, name)) if is_name(module) && is_name(name) => Ok(text.into()),
        Some(_) | None => Err("it is MODULE.NAME, such as index.handler".to_owned()),
    }
}

/// Reads all words of a command line: the program's name, the command's, and the rest.
pub(super) fn read(which: OneShot, words: &[OsString]) -> Result<Asked, String> {
    // clap takes the first word for the program's name.
    match command(which).try_get_matches_from(words.iter().skip(1)) {
        Ok(matches) => {
            let flags = flags(which, &matches)?;
            Ok(Asked::Run(details(which, &matches)?, flags))
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Asked::Print(error.to_string())),
        Err(error) => Err(described(&error)),
    }
}

fn described(error: &clap::Error) -> String {
    // Two lines of clap's, the second a list.
    if let (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    {
        let missing = missing.join(" and ").replace("...", "");
        return format!("{missing} is missing");
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn all<'a>(matches: &'a ArgMatches, id: &str) -> impl Iterator<Item = &'a OsString> {
    matches.get_many::<OsString>(id).into_iter().flatten()
}

/// The words for `settings`.
fn flags(which: OneShot, matches: &ArgMatches) -> Result<Vec<OsString>, String> {
    let mut words = Vec::new();
    for (long, ..) in SHARED {
        for value in all(matches, long) {
            words.push(format!("--{long}").into());
            words.push(value.clone());
        }
    }
    let mut apps = all(matches, APP);
    let app = apps.next();
    // With cgi the first word that is no option of its ends the options.
    let begin = app.map(|app| app.to_string_lossy()).unwrap_or_default();
    if begin.starts_with('-') {
        return Err(format!("unexpected argument '{begin}' found"));
    }
    words.extend(app.cloned());
    match apps.next().map(|next| next.to_string_lossy()) {
        // A script that names us in its first line stands here, and behind it what the web server adds.
        Some(next) if which == OneShot::Cgi && next.starts_with('-') => Err(format!(
            "{next} follows the app: options of rcorn cgi stand before it, what follows may be a client's query"
        )),
        Some(next) if which != OneShot::Cgi => Err(format!("a second app is named, '{next}'")),
        Some(_) | None => Ok(words),
    }
}

fn details(which: OneShot, matches: &ArgMatches) -> Result<Details, String> {
    let one = |id: &str| matches.get_one::<OsString>(id);
    let input = |id: &str| {
        one(id).map(|path| {
            if path == "-" {
                text(path)
            } else {
                absolute(path)
            }
        })
    };
    Ok(match which {
        OneShot::Cgi => Details::default(),
        OneShot::Invoke => {
            if one("event") == one("context") && one("event").is_some_and(|path| path == "-") {
                return Err("standard input cannot be both the event and the context".to_owned());
            }
            Details {
                event: input("event").transpose()?,
                context: input("context").transpose()?,
                ..Details::default()
            }
        }
        OneShot::Pack => Details {
            output: one("output").map(absolute).transpose()?,
            requirements: one("requirements").map(absolute).transpose()?,
            include: all(matches, "include")
                .map(absolute)
                .collect::<Result<_, _>>()?,
            exclude: all(matches, "exclude")
                .map(text)
                .collect::<Result<_, _>>()?,
            handler: one("handler").map(text).transpose()?,
            force: matches.get_flag("force"),
            ..Details::default()
        },
    })
}

fn text(word: &OsString) -> Result<String, String> {
    let text = word.to_str().map(str::to_owned);
    text.ok_or_else(|| format!("'{}' is not valid UTF-8", word.to_string_lossy()))
}

/// A path as seen from where it was typed.
fn absolute(path: &OsString) -> Result<String, String> {
    let plain = |path: PathBuf| path.components().collect::<PathBuf>();
    let absolute = std::path::absolute(Path::new(path)).map(plain);
    absolute
        .map_err(|error| format!("'{}' is no path: {error}", path.to_string_lossy()))
        .and_then(|path| text(&path.into_os_string()))
}
