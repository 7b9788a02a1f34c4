//! `rcorn top`: a live view of one or several running instances, over their control sockets.
//!
//! Threads wait for what happens (keys, signals, answers of instances) and send it as an [`Event`].
//! [`Top`] takes events in and gives the effects that a key has out; it does no I/O and reads no
//! clock. [`draw`] draws it.
#![forbid(unsafe_code)]

mod draw;
mod events;
mod instance;
mod rows;
mod screen;
mod text;
mod top;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use rcorn_types::{CommandError, ExitStatus};

use events::{Event, Wanted};
use screen::Screen;
use top::{Effect, Top};

/// How a variable of the environment is looked up.
type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The screen is drawn at least this often, so that times go on while nothing answers.
const REDRAW: Duration = Duration::from_secs(1);

/// The parser of `rcorn top`.
#[must_use]
pub fn command() -> Command {
    let several = |long: &'static str, short: char, value: &'static str| {
        Arg::new(long)
            .long(long)
            .short(short)
            .value_name(value)
            .action(ArgAction::Append)
    };
    Command::new("rcorn top")
        .about("Shows what running instances of rcorn do, and keeps showing it.")
        .args([
            several("socket", 's', "PATH")
                .value_parser(value_parser!(PathBuf))
                .help("The control socket of an instance. May be given several times. Without it and --pid: all instances of this user."),
            several("pid", 'p', "PID")
                .value_parser(value_parser!(u32))
                .help("The pid of an instance. May be given several times."),
            Arg::new("delay")
                .long("delay")
                .short('d')
                .value_name("SECONDS")
                .default_value("1")
                .value_parser(delay)
                .help("The time between two looks, in seconds, from 0.1 to 3600."),
        ])
}

fn delay(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    seconds
        .filter(|seconds| (0.1..=3600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("'{text}' is not a number of seconds from 0.1 to 3600"))
}

/// Runs `rcorn top` with the words after `top`, until the user or a signal ends it.
///
/// # Errors
///
/// The command line is wrong, there is no terminal, or no instance is running.
pub fn run(
    words: impl Iterator<Item = OsString>,
    environment: &Lookup<'_>,
) -> Result<ExitStatus, CommandError> {
    let words = std::iter::once(OsString::from("rcorn top")).chain(words);
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            let help = rcorn_settings::help_or_error(&error, "rcorn top --help lists the options")?;
            drop(io::Write::write_all(&mut io::stdout(), help.as_bytes()));
            return Ok(ExitStatus::Success);
        }
    };
    check_terminal(environment)?;
    let wanted = wanted(&matches);
    let interval = matches.get_one("delay").copied().unwrap_or(REDRAW);
    if wanted.paths(environment).is_empty() {
        return Err(CommandError::failure("no running instance found")
            .with_hint("start rcorn, or name an instance of another user with --socket PATH"));
    }
    let without_colour = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut top = Top::new(!without_colour, interval);
    show(&mut top, &wanted, interval, environment)
        .map_err(|error| CommandError::failure(format!("cannot use the terminal: {error}")))?;
    Ok(ExitStatus::Success)
}

fn wanted(matches: &ArgMatches) -> Wanted {
    let paths = matches.get_many::<PathBuf>("socket");
    let pids = matches.get_many::<u32>("pid");
    Wanted {
        sockets: paths.into_iter().flatten().cloned().collect(),
        pids: pids.into_iter().flatten().copied().collect(),
    }
}

fn check_terminal(environment: &Lookup<'_>) -> Result<(), CommandError> {
    const HINT: &str = "rcorn ctl status prints the same once";
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CommandError::failure("rcorn top needs a terminal").with_hint(HINT));
    }
    let kind = environment("TERM").unwrap_or_default();
    if kind.is_empty() || kind == "dumb" {
        let what = format!("the terminal (TERM={kind}) cannot move its cursor");
        return Err(CommandError::failure(what).with_hint(HINT));
    }
    Ok(())
}

/// Shows it until it ends. The terminal is as it was, however this returns.
fn show(
    top: &mut Top,
    wanted: &Wanted,
    interval: Duration,
    environment: &Lookup<'_>,
) -> io::Result<()> {
    let (sender, events) = mpsc::channel();
    events::signals(&sender)?;
    let mut screen = Screen::enter()?;
    events::keys(sender.clone());
    let mut next_look = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_look {
            next_look = now.checked_add(interval).unwrap_or(now);
            for path in top.look(wanted.paths(environment), now) {
                events::look(path, sender.clone());
            }
        }
        screen.draw(|frame| draw::draw(frame, top, now))?;
        let patience = next_look.saturating_duration_since(now).min(REDRAW);
        let first = events.recv_timeout(patience).ok();
        for event in first.into_iter().chain(events.try_iter()) {
            match event {
                Event::End => return Ok(()),
                Event::Broken(error) => return Err(error),
                Event::Resize => {}
                Event::Key(key) => match top.key(key, Instant::now()) {
                    None => {}
                    Some(Effect::Quit) => return Ok(()),
                    Some(Effect::Suspend) => screen.suspend()?,
                    Some(Effect::Redraw) => screen.clear()?,
                    Some(Effect::Ask(order)) => events::ask(order, sender.clone()),
                },
                Event::Seen { path, at, outcome } => top.seen(&path, at, *outcome),
                Event::Answered { order, outcome } => {
                    top.answered(&order, outcome, Instant::now());
                    // What it has changed is shown at once.
                    next_look = Instant::now();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_delay_has_bounds() {
        assert_eq!(delay("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "0.01", "-1", "1e9", "NaN", "inf", "x", ""] {
            assert!(delay(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_instances_can_be_named() {
        let words = ["rcorn top", "-s", "/a", "-s", "/b", "-p", "1", "-p", "2"];
        let matches = command().try_get_matches_from(words).unwrap();
        let wanted = wanted(&matches);
        assert_eq!(wanted.sockets, ["/a", "/b"].map(PathBuf::from));
        assert_eq!(wanted.pids, [1, 2]);
    }
}
