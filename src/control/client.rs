//! `rcorn ctl`: finds the instance, asks, shows the answer.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Answer, Request, Scale, place, table};

/// What `rcorn ctl` leaves with: it was done; it was not; it was not understood.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// The parser of `rcorn ctl`.
pub fn command() -> Command {
    let id = |help: &'static str| {
        Arg::new("id")
            .value_name("ID")
            .required(true)
            .value_parser(value_parser!(u64))
            .help(help)
    };
    Command::new("rcorn ctl")
        .about("Shows or controls a running instance of rcorn.")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .arg(
            Arg::new("socket")
                .long("socket")
                .short('s')
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .global(true)
                .help("The control socket of the instance. Needed if several instances are running."),
        )
        .arg(
            Arg::new("pid")
                .long("pid")
                .short('p')
                .value_name("PID")
                .value_parser(value_parser!(u32))
                .global(true)
                .help("The pid of the instance, instead of its socket."),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .global(true)
                .help("Print the answer as JSON."),
        )
        .subcommand(
            Command::new("status").about("Show the workers, what they are doing, and the last reload.").arg(
                Arg::new("check")
                    .long("check")
                    .short('c')
                    .action(ArgAction::SetTrue)
                    .help("Exit with 1 unless a worker is serving. For health checks."),
            ),
        )
        .subcommand(
            Command::new("reload").about("Reload settings and code, as HUP does.").arg(
                Arg::new("wait")
                    .long("wait")
                    .short('w')
                    .action(ArgAction::SetTrue)
                    .help("Wait until the reload is over. Exit with 0 if the new code serves, with 1 if the old code still does."),
            ),
        )
        .subcommand(Command::new("upgrade").about("Upgrade to the build that is installed now, as USR2 does."))
        .subcommand(
            Command::new("scale").about("Change the number of workers: N, +N or -N.").arg(
                Arg::new("count")
                    .value_name("N")
                    .required(true)
                    .allow_hyphen_values(true)
                    .value_parser(scale),
            ),
        )
        .subcommand(Command::new("retire").about("Replace a worker.").arg(id("The worker's id or pid.")))
        .subcommand(
            Command::new("stack")
                .about("Show all Python stacks of a worker or template.")
                .arg(id("The worker's id or pid, or a template's pid.")),
        )
        .subcommand(Command::new("reopen").about("Reopen the log files, as USR1 does."))
        .subcommand(
            Command::new("stop").about("Stop, as TERM does.").arg(
                Arg::new("quick")
                    .long("quick")
                    .action(ArgAction::SetTrue)
                    .help("Stop immediately, as INT does."),
            ),
        )
}

fn scale(text: &str) -> Result<Scale, String> {
    let wrong = |_error| format!("'{text}' is not a number of workers such as 4, +1 or -1");
    match text.as_bytes().first() {
        Some(b'+' | b'-') => text.parse().map(Scale::By).map_err(wrong),
        _ => text.parse().map(Scale::To).map_err(wrong),
    }
}

fn request(matches: &ArgMatches) -> Option<Request> {
    let (name, of) = matches.subcommand()?;
    let id = || of.get_one::<u64>("id").copied();
    Some(match name {
        "status" => Request::Status,
        "reload" => Request::Reload {
            wait: of.get_flag("wait"),
        },
        "upgrade" => Request::Upgrade,
        "scale" => Request::Scale(*of.get_one("count")?),
        "retire" => Request::Retire(id()?),
        "stack" => Request::Stack(id()?),
        "reopen" => Request::Reopen,
        "stop" => Request::Stop {
            quick: of.get_flag("quick"),
        },
        _ => return None,
    })
}

/// The one instance that is meant.
fn find(
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<UnixStream, (String, String)> {
    let connect = |path: &PathBuf| UnixStream::connect(path);
    if let Some(path) = matches.get_one::<PathBuf>("socket") {
        return connect(path).map_err(|error| {
            (
                format!("cannot reach {}: {error}", path.display()),
                "check that rcorn is running with this --control-socket".to_owned(),
            )
        });
    }
    let wanted = matches.get_one::<u32>("pid").map(ToString::to_string);
    let mut living: Vec<(PathBuf, UnixStream)> = place::all(environment)
        .into_iter()
        .filter(|path| {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy());
            wanted.is_none() || stem.as_deref() == wanted.as_deref()
        })
        .filter_map(|path| {
            let stream = connect(&path).ok()?;
            Some((path, stream))
        })
        .collect();
    if living.len() > 1 {
        let names: Vec<String> = living
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        return Err((
            format!("several instances run: {}", names.join(", ")),
            "choose one with --pid or --socket".to_owned(),
        ));
    }
    living.pop().map(|(_, stream)| stream).ok_or_else(|| {
        let folders: Vec<String> = place::folders(environment)
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        (
            format!("no running instance found in {}", folders.join(", ")),
            "use --socket PATH for an instance of another user or with its own --control-socket"
                .to_owned(),
        )
    })
}

fn ask(mut stream: UnixStream, request: &Request) -> io::Result<Answer> {
    let mut line = serde_json::to_string(request).map_err(io::Error::other)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::other("the connection was closed"));
    }
    serde_json::from_str(&answer).map_err(io::Error::other)
}

/// Runs `rcorn ctl` with the words after `ctl`; gives the exit code.
pub fn run(
    words: impl Iterator<Item = OsString>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> u8 {
    let complain = |text: &str, hint: &str, code: u8| {
        let mut stderr = io::stderr();
        drop(writeln!(stderr, "rcorn: error: {text}; hint: {hint}"));
        code
    };
    let words = std::iter::once(OsString::from("rcorn ctl")).chain(words);
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            return complain(first, "rcorn ctl --help lists the commands", USAGE);
        }
        Err(help) => {
            drop(write!(io::stdout(), "{help}"));
            return DONE;
        }
    };
    let Some(request) = request(&matches) else {
        return complain("no command", "rcorn ctl --help lists the commands", USAGE);
    };
    let stream = match find(&matches, environment) {
        Ok(stream) => stream,
        Err((text, hint)) => return complain(&text, &hint, FAILED),
    };
    let answer = match ask(stream, &request) {
        Ok(answer) => answer,
        Err(error) => {
            return complain(&format!("no answer: {error}"), "see its log", FAILED);
        }
    };
    if matches.get_flag("json") {
        let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
        drop(writeln!(io::stdout(), "{text}"));
    } else if let Some(status) = &answer.status {
        drop(write!(io::stdout(), "{}", table::show(status)));
    } else if answer.ok {
        drop(writeln!(io::stdout(), "{}", answer.text));
    } else {
        drop(writeln!(io::stderr(), "rcorn: error: {}", answer.text));
    }
    let well = answer.ok
        && (!checks(&matches) || answer.status.is_some_and(|status| status.serving() > 0));
    if well { DONE } else { FAILED }
}

/// Whether this is a health check.
fn checks(matches: &ArgMatches) -> bool {
    matches
        .subcommand_matches("status")
        .is_some_and(|status| status.get_flag("check"))
}
