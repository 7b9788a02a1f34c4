//! `rcorn ctl`: finds the instance, sends the request and shows the answer.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use rcorn_types::{CommandError, ExitStatus};

use super::{Answer, Request, Scale, place, table};

/// How a variable of the environment is looked up.
type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The parser of `rcorn ctl`.
pub fn command() -> Command {
    Command::new("rcorn ctl")
        .about("Shows or controls a running instance of rcorn.")
        .subcommand_required(true)
        .subcommand_value_name("COMMAND")
        .disable_help_subcommand(true)
        .args(instance_options())
        .subcommands(questions())
        .subcommands(orders())
}

/// Which instance, and how to show its answer.
fn instance_options() -> [Arg; 3] {
    let valued = |long: &'static str, short: char, value: &'static str| {
        Arg::new(long)
            .long(long)
            .short(short)
            .value_name(value)
            .global(true)
    };
    [
        valued("socket", 's', "PATH")
            .value_parser(value_parser!(PathBuf))
            .help("The control socket of the instance. Needed if several instances are running."),
        valued("pid", 'p', "PID")
            .value_parser(value_parser!(u32))
            .help("The pid of the instance, instead of its socket."),
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .global(true)
            .help("Print the answer as JSON."),
    ]
}

fn subcommand(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about)
}

fn switch(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long)
        .long(long)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn id(help: &'static str) -> Arg {
    Arg::new("id")
        .value_name("ID")
        .required(true)
        .value_parser(value_parser!(u64))
        .help(help)
}

/// Those that change nothing.
fn questions() -> [Command; 3] {
    let check = switch(
        "check",
        "Exit with 1 unless a worker is serving. For health checks.",
    );
    [
        subcommand(
            "status",
            "Show the workers, what they are doing, and the last reload.",
        )
        .arg(check.short('c')),
        subcommand("stack", "Show all Python stacks of a worker or template.")
            .arg(id("The worker's id or pid, or a template's pid.")),
        subcommand(
            "slow",
            "Show the last requests that took longer than slow_request, with their Python stacks.",
        ),
    ]
}

/// Those that change something.
fn orders() -> [Command; 7] {
    let wait = switch(
        "wait",
        "Wait until the reload is over. Exit with 0 if the new code serves, with 1 if the old code still does.",
    );
    let count = Arg::new("count")
        .value_name("N")
        .required(true)
        .allow_hyphen_values(true)
        .value_parser(scale);
    [
        subcommand("reload", "Reload settings and code, as HUP does.").arg(wait.short('w')),
        subcommand(
            "upgrade",
            "Upgrade to the build that is installed now, as USR2 does.",
        ),
        subcommand("scale", "Change the number of workers: N, +N or -N.").arg(count),
        subcommand("retire", "Replace a worker.").arg(id("The worker's id or pid.")),
        subcommand(
            "refork",
            "Make the worker that has served most the template, and replace the others by forks of it.",
        ),
        subcommand("reopen", "Reopen the log files, as USR1 does."),
        subcommand("stop", "Stop, as TERM does.")
            .arg(switch("quick", "Stop immediately, as INT does.")),
    ]
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
        "refork" => Request::Refork,
        "stack" => Request::Stack(id()?),
        "slow" => Request::Slow,
        "reopen" => Request::Reopen,
        "stop" => Request::Stop {
            quick: of.get_flag("quick"),
        },
        _ => return None,
    })
}

/// Connects to the one instance that is meant.
fn find(matches: &ArgMatches, environment: &Lookup<'_>) -> Result<UnixStream, CommandError> {
    if let Some(path) = matches.get_one::<PathBuf>("socket") {
        return UnixStream::connect(path).map_err(|error| {
            CommandError::failure(format!("cannot reach {}: {error}", path.display()))
                .with_hint("check that rcorn is running with this --control-socket")
        });
    }
    let pids: Vec<u32> = matches.get_one("pid").copied().into_iter().collect();
    let mut living: Vec<(PathBuf, UnixStream)> = place::of(environment, &pids)
        .into_iter()
        .filter_map(|path| {
            let stream = UnixStream::connect(&path).ok()?;
            Some((path, stream))
        })
        .collect();
    if living.len() > 1 {
        let paths: Vec<&PathBuf> = living.iter().map(|(path, _)| path).collect();
        let names = listed(&paths);
        return Err(
            CommandError::failure(format!("several instances are running: {names}"))
                .with_hint("choose one with --pid or --socket"),
        );
    }
    living.pop().map(|(_, stream)| stream).ok_or_else(|| {
        let folders = listed(&place::folders(environment));
        CommandError::failure(format!("no running instance found in {folders}")).with_hint(
            "use --socket PATH for an instance of another user or with its own --control-socket",
        )
    })
}

fn listed(paths: &[impl AsRef<Path>]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.as_ref().display().to_string())
        .collect();
    paths.join(", ")
}

/// Sends the request and waits for the answer; one line of JSON each way.
///
/// # Errors
///
/// The instance has gone, answers something else, or nothing within the stream's time limit.
pub fn ask(mut stream: UnixStream, request: &Request) -> io::Result<Answer> {
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

/// Runs `rcorn ctl` with the words after `ctl`, and prints the answer.
///
/// # Errors
///
/// The command line is wrong, no instance can be reached, or it did not carry the command out.
pub fn run(
    words: impl Iterator<Item = OsString>,
    environment: &Lookup<'_>,
) -> Result<ExitStatus, CommandError> {
    const HINT: &str = "rcorn ctl --help lists the commands";
    let words = std::iter::once(OsString::from("rcorn ctl")).chain(words);
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            print(&rcorn_settings::help_or_error(&error, HINT)?);
            return Ok(ExitStatus::Success);
        }
    };
    let request = request(&matches).ok_or_else(|| CommandError::usage("no command", HINT))?;
    let stream = find(&matches, environment)?;
    let answer = ask(stream, &request).map_err(|error| {
        CommandError::failure(format!("no answer: {error}")).with_hint("see its log")
    })?;
    show(answer, matches.get_flag("json"), is_health_check(&matches))
}

/// Prints an answer and tells how to exit with it.
fn show(answer: Answer, as_json: bool, health_check: bool) -> Result<ExitStatus, CommandError> {
    let serves = answer
        .status
        .as_ref()
        .is_some_and(|status| status.serving() > 0);
    if as_json {
        let text = serde_json::to_string_pretty(&answer)
            .map_err(|error| CommandError::failure(format!("cannot write the answer: {error}")))?;
        print(&format!("{text}\n"));
    } else if let Some(status) = &answer.status {
        print(&table::show(status));
    } else if answer.ok {
        print(&format!("{}\n", answer.text));
    } else {
        return Err(CommandError::failure(answer.text));
    }
    Ok(if answer.ok && (serves || !health_check) {
        ExitStatus::Success
    } else {
        ExitStatus::Failure
    })
}

/// A reader that has left (`head`) is no error.
fn print(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}

fn is_health_check(matches: &ArgMatches) -> bool {
    matches
        .subcommand_matches("status")
        .is_some_and(|status| status.get_flag("check"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Option<Request> {
        let words = ["rcorn ctl"].iter().chain(words);
        request(&command().try_get_matches_from(words).ok()?)
    }

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn each_command_becomes_its_request() {
        let cases: [(&[&str], Request); 14] = [
            (&["status"], Request::Status),
            (&["status", "--check"], Request::Status),
            (&["reload"], Request::Reload { wait: false }),
            (&["reload", "-w"], Request::Reload { wait: true }),
            (&["upgrade"], Request::Upgrade),
            (&["scale", "4"], Request::Scale(Scale::To(4))),
            (&["scale", "+1"], Request::Scale(Scale::By(1))),
            (&["scale", "-2"], Request::Scale(Scale::By(-2))),
            (&["retire", "7"], Request::Retire(7)),
            (&["refork"], Request::Refork),
            (&["stack", "123", "--json"], Request::Stack(123)),
            (&["slow"], Request::Slow),
            (&["reopen", "-s", "/run/x"], Request::Reopen),
            (&["stop", "--quick"], Request::Stop { quick: true }),
        ];
        for (words, request) in cases {
            assert_eq!(parsed(words), Some(request), "{words:?}");
        }
        for words in [
            &["scale", "many"][..],
            &["retire"],
            &["retire", "-1"],
            &["x"],
            &[],
        ] {
            assert_eq!(parsed(words), None, "{words:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_command_line_is_one_line() {
        let error = run(["scale", "x"].map(OsString::from).into_iter(), &|_| None).unwrap_err();
        assert_eq!(error.status, ExitStatus::Usage);
        assert!(error.what.contains("is not a number of workers"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }

    #[test]
    fn a_request_and_its_answer_are_one_line_each() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let instance = std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(&theirs).read_line(&mut line).unwrap();
            let answer = serde_json::to_string(&Answer::done("done")).unwrap();
            (&theirs)
                .write_all(format!("{answer}\n").as_bytes())
                .unwrap();
            line
        });
        let answer = ask(ours, &Request::Reopen).unwrap();
        assert_eq!((answer.ok, answer.text.as_str()), (true, "done"));
        assert_eq!(instance.join().unwrap(), "\"reopen\"\n");
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(ask(ours, &Request::Reopen).is_err());
    }

    #[test]
    fn a_socket_that_is_not_there_is_named() {
        let words = ["status", "--socket", "/nonexistent/x.sock"].map(OsString::from);
        let error = run(words.into_iter(), &|_| None).unwrap_err();
        assert_eq!(error.status, ExitStatus::Failure);
        assert!(
            error.what.starts_with("cannot reach /nonexistent/x.sock: "),
            "{error}"
        );
    }

    #[test]
    fn an_answer_decides_about_the_exit_status() {
        let failed = show(Answer::failed("rcorn is stopping"), false, false).unwrap_err();
        assert_eq!(failed, CommandError::failure("rcorn is stopping"));
        let done = show(Answer::done("ok"), false, false).unwrap();
        assert_eq!(done, ExitStatus::Success);
        let status = Answer {
            status: Some(table::tests::status()),
            ..Answer::done("")
        };
        assert_eq!(
            show(status.clone(), true, true).unwrap(),
            ExitStatus::Success
        );
        let mut idle = status;
        idle.status.as_mut().unwrap().workers.clear();
        assert_eq!(show(idle.clone(), true, true).unwrap(), ExitStatus::Failure);
        assert_eq!(show(idle, true, false).unwrap(), ExitStatus::Success);
    }
}
