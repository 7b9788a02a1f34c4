//! A command line, ours or that of a variable, turned into a layer. clap splits the words; the table says what
//! flags there are, and the types of the values do the parsing.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::error::Error;
use super::known::{KNOWN, Known, Takes};
use super::rows::{Layer, TABLE};
use super::table::Setting;
use super::value::{Bounds, Refused, within};

/// What a command line asks for.
#[derive(Debug)]
pub(super) enum Asked {
    /// To serve with these settings; and what should be said about them.
    Serve(Box<Layer>, Vec<String>),
    /// The help text.
    Help,
    /// The version.
    Version,
    /// A page made from the table.
    Page(String),
}

const APP: &str = "APP_MODULE";
const GENERATE: &str = "generate";

/// The parser, without help texts.
pub(super) fn command() -> Command {
    let app = Arg::new(APP)
        .num_args(0..)
        .action(ArgAction::Append)
        .hide(true);
    Command::new("rcorn")
        .version(env!("CARGO_PKG_VERSION"))
        .no_binary_name(true)
        .infer_long_args(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(app.value_parser(value_parser!(OsString)))
        .args(TABLE.iter().flat_map(flags_of))
        .args(KNOWN.iter().filter_map(flag_of_known))
        .arg(
            Arg::new("help")
                .long("help")
                .short('h')
                .action(ArgAction::Help)
                .help("Show this text and leave."),
        )
        .arg(
            Arg::new("version")
                .long("version")
                .short('v')
                .action(ArgAction::Version)
                .help("Show the version and leave."),
        )
        .arg(
            with_value(Arg::new(GENERATE).long(GENERATE).value_name("PAGE"))
                .help("Print a page made from the table of settings and leave: man, settings-man, signals-man, reference, template, bash, zsh or fish."),
        )
}

/// All flags before a value are one flag with other names; a flag that sets a fixed text is one of its own.
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

fn flag_of_known(known: &'static Known) -> Option<Arg> {
    let id = known.flags.first().copied()?;
    let arg = Arg::new(id)
        .long(id)
        .aliases(known.flags.iter().skip(1).copied())
        .hide(true);
    let arg = known.short.into_iter().fold(arg, Arg::short);
    Some(match known.takes {
        Takes::Nothing => switch(arg, id),
        Takes::Value => with_value(arg),
    })
}

/// May be repeated, as with argparse.
fn switch(arg: Arg, id: &'static str) -> Arg {
    arg.action(ArgAction::SetTrue).overrides_with(id)
}

/// `-3` is a value, so that the type can say what is wrong with it.
fn with_value(arg: Arg) -> Arg {
    arg.action(ArgAction::Append)
        .num_args(1)
        .value_parser(value_parser!(OsString))
        .allow_negative_numbers(true)
}

/// Reads the words of a command line, without the name of the program.
pub(super) fn read(words: impl Iterator<Item = OsString>) -> Result<Asked, Error> {
    let matches = match command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Asked::Help),
        Err(error) if error.kind() == ErrorKind::DisplayVersion => return Ok(Asked::Version),
        Err(error) => return Err(named(&error)),
    };
    if let Some((_, page)) = values(&matches, GENERATE, GENERATE)?.last() {
        return Ok(Asked::Page((*page).to_owned()));
    }
    let mut layer = Layer::default();
    let mut warnings = Vec::new();
    for row in TABLE {
        read_row(row, &matches, &mut layer, &mut warnings)?;
    }
    for known in KNOWN {
        answer(known, &matches, &mut warnings)?;
    }
    read_app(&matches, &mut layer)?;
    Ok(Asked::Serve(Box::new(layer), warnings))
}

fn read_row(
    row: &Setting,
    matches: &ArgMatches,
    layer: &mut Layer,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    // In the order in which they were given, whatever the flag: the last one counts.
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
        Ok(note) => {
            warnings.extend(note.map(|note| format!("{at}: {note}")));
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

fn answer(known: &Known, matches: &ArgMatches, warnings: &mut Vec<String>) -> Result<(), Error> {
    let Some(id) = known.flags.first().copied() else {
        return Ok(());
    };
    let mut given: Vec<&str> = Vec::new();
    if known.takes == Takes::Nothing {
        if matches.get_flag(id) {
            given.push("");
        }
    } else {
        given.extend(values(matches, id, id)?.into_iter().map(|(_, text)| text));
    }
    let asks = |text: &&str| known.takes == Takes::Nothing || known.asks(text);
    if let Some(value) = given.into_iter().find(asks) {
        warnings.extend(known.answered(&format!("--{id}"), value)?);
    }
    Ok(())
}

fn read_app(matches: &ArgMatches, layer: &mut Layer) -> Result<(), Error> {
    let mut words = matches.get_many::<OsString>(APP).into_iter().flatten();
    let Some(first) = words.next() else {
        return Ok(());
    };
    let first = text(first, APP)?;
    if let Some(second) = words.next() {
        return Err(Error::SecondApp {
            first: first.to_owned(),
            second: second.to_string_lossy().into_owned(),
        });
    }
    let refused = |refused: Refused| Error::Value {
        at: APP.to_owned(),
        refused,
    };
    layer.wsgi_app = Some(within(first, Bounds::NONE).map_err(refused)?.0);
    Ok(())
}

/// clap's errors in our words.
fn named(error: &clap::Error) -> Error {
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
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    Error::Usage(line.strip_prefix("error: ").unwrap_or(line).to_owned())
}

/// All flags that begin like this one.
fn meant_by(flag: &str) -> Vec<String> {
    let Some(begin) = flag.strip_prefix("--").filter(|begin| !begin.is_empty()) else {
        return Vec::new();
    };
    let ours = TABLE
        .iter()
        .flat_map(|row| row.flags.iter().map(|flag| flag.long));
    let known = KNOWN.iter().flat_map(|known| known.flags.iter().copied());
    ours.chain(known)
        .chain(["help", "version", GENERATE])
        .filter(|long| long.starts_with(begin))
        .map(|long| format!("--{long}"))
        .collect()
}
