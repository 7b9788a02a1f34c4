//! The command lines of the one-shot commands. Flags that the server has, too, are passed on to
//! `settings`; the others are parsed here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use serde::Serialize;

use rcorn_settings::{Setting, TABLE, help_or_error};
use rcorn_types::CommandError;

use super::one_shot::OneShot;

/// A command line.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Run with these details. The words are the flags and the app, for `settings`.
    Run(Details, Vec<OsString>),
    /// Print the help text.
    Print(String),
}

/// What a command needs besides settings. Paths are absolute, because the directory changes.
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

/// The server's flags that apply here. Their short forms, values and help texts are those of the
/// settings table.
const SHARED: [&str; 5] = ["chdir", "pythonpath", "python", "env", "config"];

const APP: &str = "APP_MODULE";

const CGI: &str = "Answers one CGI request (RFC 3875), given in the environment and on standard input, and exits. A \
    web server starts it for each request, from a script such as\n\n  \
    #!/bin/sh\n  exec rcorn cgi --chdir /srv/shop shop.wsgi:app\n\n\
    Options must precede APP_MODULE. Words after it are ignored, because web servers append words of the query \
    there (RFC 3875, section 4.4). What the app prints goes to standard error.\n\n\
    The exit status is 0 if a complete response was written (even one with status 500, because the app raised an \
    exception), 1 if the response was cut off, and 3 or 4 if the app cannot be loaded; the client then gets a 500.";

const INVOKE: &str = "Passes the request in an API-gateway event to the app and prints the response object: \
    statusCode, headers, multiValueHeaders or cookies as the gateway expects them, body, isBase64Encoded. The kinds \
    of event are recognised by their contents: AWS REST APIs, HTTP APIs, function URLs and load balancers, and JD \
    Cloud's API gateway.\n\n\
    The app finds the event in environ['function.event'] and the context in environ['function.context']. What it \
    prints goes to standard error, as does the traceback of an exception; the response then has status 500.\n\n\
    The exit status is 0 if a response was printed, 1 if the event cannot be used, and 3 or 4 if the app cannot be \
    loaded.";

const PACK: &str = "Writes a zip with everything that a function service needs to serve the app with a plain Python \
    3.9 or later: the app's directory, its requirements, and an entry point, index.handler. The same files always \
    give the same zip.\n\n\
    The app's directory is --chdir, or the current directory. Hidden files, caches, node_modules and virtual \
    environments are left out.";

fn shared(name: &'static str, about: &'static str, usage: &'static str) -> Command {
    let app = Arg::new(APP)
        .required(true)
        .action(ArgAction::Append)
        .value_parser(value_parser!(OsString))
        .help(
            "The app: MODULE:CALLABLE, or MODULE:FACTORY('literal', name=1). MODULE alone means \
             MODULE:application.",
        );
    let flags = SHARED.iter().filter_map(|long| {
        let with_flag =
            |row: &'static Setting| Some((row, row.flags.iter().find(|flag| flag.long == *long)?));
        let (row, flag) = TABLE.iter().find_map(with_flag)?;
        let arg = valued(flag.long, row.value_name, row.summary()).action(ArgAction::Append);
        Some(flag.short.into_iter().fold(arg, Arg::short))
    });
    Command::new(name)
        .about(about)
        .override_usage(usage)
        .arg(app)
        .args(flags)
}

fn valued(long: &'static str, value: &'static str, help: impl Into<String>) -> Arg {
    Arg::new(long)
        .long(long)
        .value_name(value)
        .value_parser(value_parser!(OsString))
        .value_hint(match value {
            "FILE" | "PATH" => ValueHint::FilePath,
            "DIR" | "DIRS" => ValueHint::DirPath,
            _ => ValueHint::Other,
        })
        .help(help.into())
}

/// The parser of a command's line, with its help texts.
#[must_use]
pub fn command(which: OneShot) -> Command {
    match which {
        OneShot::Cgi => shared("rcorn cgi", CGI, "rcorn cgi [OPTIONS] APP_MODULE")
            .mut_arg(APP, |app| app.trailing_var_arg(true).num_args(1..).allow_hyphen_values(true)),
        OneShot::Invoke => shared("rcorn invoke", INVOKE, "rcorn invoke [OPTIONS] APP_MODULE --event FILE")
            .arg(valued("event", "FILE", "The event, a JSON file; - is standard input.").required(true))
            .arg(valued("context", "FILE", "The context, a JSON file; its values become items and attributes.")),
        OneShot::Pack => shared("rcorn pack", PACK, "rcorn pack [OPTIONS] APP_MODULE --output FILE")
            .arg(valued("output", "FILE", "The zip to write.").short('o').required(true))
            .arg(valued("requirements", "FILE", "Install the packages that this file lists into the bundle, with pip.").short('r'))
            .arg(
                valued("include", "PATH", "Include this file or directory, even if it would be left out. May be repeated.")
                    .action(ArgAction::Append),
            )
            .arg(
                valued("exclude", "PATTERN", "Leave out names or paths in the app's directory that match, such as tests or '*.md'. May be repeated.")
                    .action(ArgAction::Append),
            )
            .arg(
                valued("handler", "MODULE.NAME", "The name of the entry point.")
                    .default_value("index.handler")
                    .value_parser(handler),
            )
            .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).help("Overwrite an existing zip.")),
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
        Some(_) | None => Err("write MODULE.NAME, such as index.handler".to_owned()),
    }
}

/// Reads all words of a command line: the program, the command, and the rest.
pub(super) fn read(which: OneShot, words: &[OsString]) -> Result<Parsed, CommandError> {
    let hint = format!("rcorn {} --help", which.word());
    let usage = |what: String| CommandError::usage(what, hint.as_str());
    // clap takes the first word for the program's name.
    match command(which).try_get_matches_from(words.iter().skip(1)) {
        Ok(matches) => {
            let flags = flags(which, &matches).map_err(usage)?;
            let details = details(which, &matches).map_err(usage)?;
            Ok(Parsed::Run(details, flags))
        }
        Err(error) => help_or_error(&error, &hint).map(Parsed::Print),
    }
}

fn all<'a>(matches: &'a ArgMatches, id: &str) -> impl Iterator<Item = &'a OsString> {
    matches.get_many::<OsString>(id).into_iter().flatten()
}

/// The words for `settings`.
fn flags(which: OneShot, matches: &ArgMatches) -> Result<Vec<OsString>, String> {
    let mut words = Vec::new();
    for long in SHARED {
        for value in all(matches, long) {
            words.push(format!("--{long}").into());
            words.push(value.clone());
        }
    }
    let mut apps = all(matches, APP);
    let app = apps.next();
    // With cgi, the first word that is not an option ends the options.
    let begin = app.map(|app| app.to_string_lossy()).unwrap_or_default();
    if begin.starts_with('-') {
        return Err(format!("unexpected argument '{begin}' found"));
    }
    words.extend(app.cloned());
    match apps.next().map(|next| next.to_string_lossy()) {
        // The path of a script whose first line names rcorn, followed by what the web server adds.
        Some(next) if which == OneShot::Cgi && next.starts_with('-') => Err(format!(
            "{next} follows the app; options of rcorn cgi must precede it, because words after it may be a client's query"
        )),
        Some(next) if which != OneShot::Cgi => {
            Err(format!("two apps are named, the second is '{next}'"))
        }
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

/// A path, relative to the current directory, made absolute.
fn absolute(path: &OsString) -> Result<String, String> {
    let plain = |path: PathBuf| path.components().collect::<PathBuf>();
    let absolute = std::path::absolute(Path::new(path)).map(plain);
    absolute
        .map_err(|error| format!("'{}' is not a path: {error}", path.to_string_lossy()))
        .and_then(|path| text(&path.into_os_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(which: OneShot, words: &[&str]) -> Result<(Details, Vec<String>), String> {
        let words: Vec<OsString> = ["rcorn", which.word()]
            .iter()
            .chain(words)
            .map(OsString::from)
            .collect();
        match read(which, &words) {
            Ok(Parsed::Run(details, flags)) => {
                let flags = flags.iter().map(|word| word.to_string_lossy().into_owned());
                Ok((details, flags.collect()))
            }
            Ok(Parsed::Print(text)) => Err(text),
            Err(error) => {
                assert_eq!(error.status, rcorn_types::ExitStatus::Usage);
                assert_eq!(error.hint, Some(format!("rcorn {} --help", which.word())));
                Err(error.what)
            }
        }
    }

    #[test]
    fn every_parser_is_sound() {
        for which in OneShot::ALL {
            command(which).debug_assert();
            let shared = command(which)
                .get_arguments()
                .filter(|arg| arg.get_long().is_some_and(|long| SHARED.contains(&long)))
                .count();
            assert_eq!(shared, SHARED.len(), "{which:?}");
        }
    }

    #[test]
    fn flags_of_the_server_are_passed_on_in_their_long_form() {
        let words = ["-e", "A=1", "--chdir", "/srv", "-e", "B=2", "shop:app"];
        let (details, flags) = parsed(OneShot::Cgi, &words).unwrap();
        assert_eq!(details, Details::default());
        let expected = [
            "--chdir", "/srv", "--env", "A=1", "--env", "B=2", "shop:app",
        ];
        assert_eq!(flags, expected);
    }

    #[test]
    fn what_follows_the_app_of_a_cgi_is_not_read() {
        let (_, flags) = parsed(OneShot::Cgi, &["shop:app", "a+b", "-c"]).unwrap();
        assert_eq!(flags, ["shop:app"]);
        let error = parsed(OneShot::Cgi, &["shop:app", "--chdir=/etc"]).unwrap_err();
        assert!(error.contains("must precede it"), "{error}");
        let error = parsed(OneShot::Cgi, &["--nothing", "shop:app"]).unwrap_err();
        assert_eq!(error, "unexpected argument '--nothing' found");
    }

    #[test]
    fn paths_are_absolute_and_a_dash_is_standard_input() {
        let words = ["shop:app", "--event", "-", "--context", "/tmp/./c.json"];
        let (details, flags) = parsed(OneShot::Invoke, &words).unwrap();
        assert_eq!(details.event.as_deref(), Some("-"));
        assert_eq!(details.context.as_deref(), Some("/tmp/c.json"));
        assert_eq!(flags, ["shop:app"]);
        let words = ["a:b", "--event", "-", "--context", "-"];
        let error = parsed(OneShot::Invoke, &words).unwrap_err();
        assert!(error.contains("cannot be both"), "{error}");
    }

    #[test]
    fn a_bundle_has_an_entry_point_of_two_names() {
        let (details, _) = parsed(OneShot::Pack, &["a:b", "-o", "/tmp/x.zip"]).unwrap();
        assert_eq!(details.handler.as_deref(), Some("index.handler"));
        assert!(!details.force && details.include.is_empty());
        for wrong in ["index", "1.a", "a.b-c", "a."] {
            let words = ["a:b", "-o", "x.zip", "--handler", wrong];
            let error = parsed(OneShot::Pack, &words).unwrap_err();
            assert!(error.contains("MODULE.NAME"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_missing_or_there_twice_is_named() {
        let error = parsed(OneShot::Invoke, &["a:b"]).unwrap_err();
        assert_eq!(error, "--event <FILE> is missing");
        let error = parsed(OneShot::Pack, &["a:b", "c:d", "-o", "x"]).unwrap_err();
        assert!(error.contains("'c:d'"), "{error}");
        assert!(
            parsed(OneShot::Pack, &["--help"])
                .unwrap_err()
                .contains("Usage: rcorn pack")
        );
    }
}
