//! Turns a command line, that of the process or of a variable, into a layer. clap splits the words,
//! the table has the flags, and the types of the settings parse the values.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::clap_error;
use super::error::Error;
use super::gunicorn_compat::{Takes, UNSUPPORTED, Unsupported, UnsupportedValue};
use super::rows::{Layer, Setting, TABLE};

/// A command line, read.
#[derive(Debug)]
pub(super) enum CommandLine {
    /// Serve with these settings.
    Serve(Box<Given>),
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
    /// Print this page of the manual.
    Page(String),
}

/// The settings on a command line.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) layer: Layer,
    /// The last value of each setting of gunicorn that rcorn does not have.
    pub(super) unsupported: Vec<UnsupportedValue>,
    pub(super) warnings: Vec<String>,
}

/// clap's id for all words without a flag.
const WORDS: &str = "words";
const GENERATE: &str = "generate";

/// The parser, without help texts.
pub(super) fn command() -> Command {
    let words = Arg::new(WORDS)
        .num_args(0..)
        .action(ArgAction::Append)
        .hide(true);
    Command::new("rcorn")
        .version(env!("CARGO_PKG_VERSION"))
        .no_binary_name(true)
        .infer_long_args(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(words.value_parser(value_parser!(OsString)))
        .args(TABLE.iter().flat_map(flags_of))
        .args(UNSUPPORTED.iter().filter_map(unsupported_flag))
        .arg(
            Arg::new("help")
                .long("help")
                .short('h')
                .action(ArgAction::Help)
                .help("Print this text and exit."),
        )
        .arg(
            Arg::new("version")
                .long("version")
                .short('v')
                .action(ArgAction::Version)
                .help("Print the version and exit; with --verbose also the build, and the Python that would run the app."),
        )
        .arg(
            with_value(Arg::new(GENERATE).long(GENERATE).value_name("PAGE")).help(
                "Print a page generated from the settings table and exit: man, settings-man, \
                     signals-man, reference, template, bash, zsh or fish.",
            ),
        )
}

/// The flags of a setting for clap: those that take a value are one flag with aliases, each that
/// sets a fixed text is a separate one.
fn flags_of(row: &'static Setting) -> Vec<Arg> {
    let mut args: Vec<Arg> = Vec::new();
    let mut valued: Option<Arg> = None;
    for flag in row.flags {
        match (flag.sets, valued.take()) {
            (None, Some(arg)) => valued = Some(arg.visible_alias(flag.long)),
            (None, None) => {
                let arg = Arg::new(row.name)
                    .long(flag.long)
                    .value_name(row.value_name);
                let mut arg = with_value(arg);
                if let Some(text) = flag.bare {
                    arg = arg.num_args(0..=1).default_missing_value(text);
                }
                valued = Some(flag.short.into_iter().fold(arg, Arg::short));
            }
            (Some(_), before) => {
                valued = before;
                let arg = switch(Arg::new(flag.long).long(flag.long), flag.long);
                args.push(flag.short.into_iter().fold(arg, Arg::short));
            }
        }
    }
    args.extend(valued);
    args
}

fn unsupported_flag(unsupported: &'static Unsupported) -> Option<Arg> {
    let id = unsupported.flags.first().copied()?;
    let arg = Arg::new(id)
        .long(id)
        .aliases(unsupported.flags.iter().skip(1).copied())
        .hide(true);
    let arg = unsupported.short.into_iter().fold(arg, Arg::short);
    Some(match unsupported.takes {
        Takes::Nothing => switch(arg, id),
        Takes::Value => with_value(arg),
    })
}

/// A flag without a value. May be repeated, as with argparse.
fn switch(arg: Arg, id: &'static str) -> Arg {
    arg.action(ArgAction::SetTrue).overrides_with(id)
}

/// A flag with a value. `-3` is a value, so that the type reports what is wrong with it.
fn with_value(arg: Arg) -> Arg {
    arg.action(ArgAction::Append)
        .num_args(1)
        .value_parser(value_parser!(OsString))
        .allow_negative_numbers(true)
}

/// Reads the words of a command line, without the name of the program.
pub(super) fn read(words: impl Iterator<Item = OsString>) -> Result<CommandLine, Error> {
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(CommandLine::Help),
        Err(error) if error.kind() == ErrorKind::DisplayVersion => return Ok(CommandLine::Version),
        Err(error) => return Err(translated(&error)),
    };
    if let Some((_, page)) = values(&matches, GENERATE, GENERATE)?.last() {
        return Ok(CommandLine::Page((*page).to_owned()));
    }
    let mut given = Given::default();
    for row in TABLE {
        read_row(row, &matches, &mut given.layer, &mut given.warnings)?;
    }
    for setting in UNSUPPORTED {
        given
            .unsupported
            .extend(read_unsupported(setting, &matches)?);
    }
    read_positional(&matches, &mut given.layer)?;
    Ok(CommandLine::Serve(Box::new(given)))
}

fn read_row(
    row: &Setting,
    matches: &ArgMatches,
    layer: &mut Layer,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    // In the order in which they were given, for all flags together: the last one counts.
    let mut given: Vec<(usize, &str, &str)> = Vec::new();
    for flag in row.flags {
        match flag.sets {
            Some(text) if matches.get_flag(flag.long) => {
                let last = matches
                    .indices_of(flag.long)
                    .and_then(Iterator::last)
                    .unwrap_or_default();
                given.push((last, flag.long, text));
            }
            None if !given.iter().any(|(_, long, _)| *long == row.name) => {
                for (index, text) in values(matches, row.name, flag.long)? {
                    given.push((index, row.name, text));
                }
            }
            Some(_) | None => {}
        }
    }
    if given.is_empty() {
        return Ok(());
    }
    given.sort_unstable_by_key(|(index, _, _)| *index);
    let texts: Vec<&str> = given.iter().map(|(_, _, text)| *text).collect();
    let at = row
        .flags
        .first()
        .map_or_else(String::new, |flag| format!("--{}", flag.long));
    match row.read(layer, &texts) {
        Ok(remark) => {
            warnings.extend(remark.map(|remark| format!("{at}: {remark}")));
            Ok(())
        }
        Err(refused) => Err(Error::Value { at, refused }),
    }
}

/// The values of a flag, each with its place on the command line.
fn values<'a>(
    matches: &'a ArgMatches,
    id: &str,
    long: &str,
) -> Result<Vec<(usize, &'a str)>, Error> {
    let indices = matches.indices_of(id).into_iter().flatten();
    let words = matches.get_many::<OsString>(id).into_iter().flatten();
    indices
        .zip(words)
        .map(|(index, word)| Ok((index, text(word, &format!("--{long}"))?)))
        .collect()
}

fn text<'a>(word: &'a OsString, at: &str) -> Result<&'a str, Error> {
    word.to_str().ok_or_else(|| Error::NotText {
        at: at.to_owned(),
        text: word.to_string_lossy().into_owned(),
    })
}

fn read_unsupported(
    setting: &'static Unsupported,
    matches: &ArgMatches,
) -> Result<Option<UnsupportedValue>, Error> {
    let Some(id) = setting.flags.first().copied() else {
        return Ok(None);
    };
    let value = match setting.takes {
        Takes::Nothing => matches.get_flag(id).then(|| setting.flag_value()),
        Takes::Value => values(matches, id, id)?.last().map(|(_, text)| *text),
    };
    Ok(value.map(|value| UnsupportedValue {
        setting,
        name: format!("--{id}"),
        value: value.to_owned(),
    }))
}

/// Reads the words without a flag into the one setting that takes them. It takes one word.
fn read_positional(matches: &ArgMatches, layer: &mut Layer) -> Result<(), Error> {
    let mut words = matches.get_many::<OsString>(WORDS).into_iter().flatten();
    let Some(first) = words.next() else {
        return Ok(());
    };
    let row = TABLE
        .iter()
        .find_map(|row| Some((row, row.positional?.to_owned())));
    let Some((row, at)) = row else {
        return Ok(());
    };
    let first = text(first, &at)?;
    if let Some(second) = words.next() {
        return Err(Error::SecondApp {
            first: first.to_owned(),
            second: second.to_string_lossy().into_owned(),
        });
    }
    match row.read(layer, &[first]) {
        Ok(_no_remark) => Ok(()),
        Err(refused) => Err(Error::Value { at, refused }),
    }
}

/// An error of clap as an [`Error`].
fn translated(error: &clap::Error) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        Some(_) | None => None,
    };
    // clap names a flag with its value: `--workers <COUNT>`.
    let flag = context(ContextKind::InvalidArg)
        .map(|flag| flag.split([' ', '=']).next().unwrap_or_default().to_owned())
        .unwrap_or_default();
    let kind = error.kind();
    if kind == ErrorKind::UnknownArgument {
        let candidates = meant_by(&flag);
        if candidates.len() > 1 {
            return Error::AmbiguousFlag { flag, candidates };
        }
        return Error::UnknownFlag {
            flag,
            nearest: context(ContextKind::SuggestedArg),
        };
    }
    let lacks_value = [
        ErrorKind::TooFewValues,
        ErrorKind::WrongNumberOfValues,
        ErrorKind::InvalidValue,
    ];
    if lacks_value.contains(&kind) {
        return Error::MissingValue { flag };
    }
    if kind == ErrorKind::TooManyValues {
        return Error::SurplusValue { flag };
    }
    Error::Usage(clap_error::message(error))
}

/// All flags that an abbreviation may stand for.
fn meant_by(flag: &str) -> Vec<String> {
    let Some(begin) = flag.strip_prefix("--").filter(|begin| !begin.is_empty()) else {
        return Vec::new();
    };
    let ours = TABLE
        .iter()
        .flat_map(|row| row.flags.iter().map(|flag| flag.long));
    let theirs = UNSUPPORTED.iter().flat_map(|one| one.flags.iter().copied());
    ours.chain(theirs)
        .chain(["help", "version", GENERATE])
        .filter(|long| long.starts_with(begin))
        .map(|long| format!("--{long}"))
        .collect()
}
