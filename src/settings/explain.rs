//! The values in force and their origins: `--print-config` and `rcorn explain`.

use super::error::Error;
use super::file::nearest;
use super::gunicorn_compat::{Treatment, UNSUPPORTED, Unsupported};
use super::hooks::{HOOKS, Hook, hook_named};
use super::literal::Literal;
use super::origin::Origin;
use super::rows::{Setting, Settings, TABLE};
use super::sources::Resolved;
use super::table::InPython;

/// Every setting of rcorn and of gunicorn, except hooks, with its value as Python writes it, sorted
/// by name.
pub fn values(settings: &Settings) -> Vec<(&'static str, String)> {
    let ours = TABLE
        .iter()
        .map(|row| (row.name, literal(row, settings).to_string()));
    let theirs = UNSUPPORTED
        .iter()
        .map(|one| (one.name, one.default.to_owned()));
    let mut all: Vec<(&str, String)> = ours.chain(theirs).collect();
    all.sort_unstable_by_key(|(name, _)| *name);
    all
}

/// The value that hooks get.
fn literal(row: &Setting, settings: &Settings) -> Literal {
    let literal = (row.literal)(settings);
    match (row.in_python, literal) {
        (InPython::Dict, Literal::List(items)) => {
            Literal::Dict(items.into_iter().filter_map(pair).collect())
        }
        (InPython::Dict | InPython::Typed | InPython::CommonName, literal) => literal,
    }
}

/// `'NAME=VALUE'` as a key and a value.
fn pair(literal: Literal) -> Option<(Literal, Literal)> {
    let Literal::Str(text) = literal else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    Some((
        Literal::Str(name.to_owned()),
        Literal::Str(value.to_owned()),
    ))
}

/// The settings in the form of gunicorn's `--print-config`: `name = value`, the names padded,
/// sorted.
pub fn print_config(settings: &Settings) -> String {
    let mut all = values(settings);
    let config = settings
        .config
        .as_ref()
        .is_some_and(super::ConfigFile::is_python);
    let hooks = if config {
        "<as in the config file>"
    } else {
        "None"
    };
    all.extend(HOOKS.iter().map(|hook| (hook.name, hooks.to_owned())));
    all.sort_unstable_by_key(|(name, _)| *name);
    let width = all
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (name, value) in all {
        // gunicorn prints texts without quotes.
        let value = match value
            .strip_prefix('\'')
            .and_then(|value| value.strip_suffix('\''))
        {
            Some(inside) if !inside.contains(['\\', '\'']) => inside,
            Some(_) | None => &value,
        };
        text.extend([&format!("{name:width$} = {value}"), "\n"]);
    }
    text
}

/// The setting with this name, flag or positional name, in any spelling.
fn row_called(name: &str) -> Option<&'static Setting> {
    let flag = name.replace('_', "-");
    TABLE.iter().find(|row| {
        let is_flag = row
            .flags
            .iter()
            .any(|known| known.long == flag || known.long == name);
        let is_positional = row
            .positional
            .is_some_and(|word| word.eq_ignore_ascii_case(name));
        row.name == name || is_flag || is_positional
    })
}

/// As the tables have it: `--worker-class` is `worker_class`.
fn plain_name(name: &str) -> String {
    name.trim_start_matches('-')
        .replace('-', "_")
        .to_lowercase()
}

/// Whether the name is that of the app, which has no default: its value cannot be shown without
/// one.
pub fn is_app(name: &str) -> bool {
    let name = plain_name(name);
    name == "app" || row_called(&name).is_some_and(|row| row.positional.is_some())
}

/// The value of a setting, its origin, what it overrides, and when a change takes effect.
/// `resolved`: what the command line and the environment come to, or why they come to nothing.
///
/// # Errors
///
/// There is no such setting, or what `resolved` says.
pub fn explain(name: &str, resolved: Result<Resolved, Error>) -> Result<String, Error> {
    let name = plain_name(name);
    if let Some(row) = row_called(&name) {
        return match resolved {
            Ok(resolved) => Ok(setting(row, Some(&resolved))),
            Err(Error::NoApp) => Ok(setting(row, None)),
            Err(error) => Err(error),
        };
    }
    match resolved {
        Ok(_) | Err(Error::NoApp) => {}
        Err(error) => return Err(error),
    }
    if let Some(hook) = hook_named(&name) {
        return Ok(about_hook(hook));
    }
    let flag = name.replace('_', "-");
    let unsupported = UNSUPPORTED
        .iter()
        .find(|one| one.name == name || one.flags.contains(&flag.as_str()));
    unsupported
        .map(about_unsupported)
        .ok_or_else(|| Error::UnknownSetting {
            nearest: nearest(&name),
            name,
        })
}

fn about_hook(hook: &Hook) -> String {
    format!(
        "{}({})\n  a hook: a function in a gunicorn.conf.py\n  runs in the {}: {}\n",
        hook.name,
        hook.parameters.join(", "),
        hook.process.name(),
        hook.when
    )
}

fn about_unsupported(unsupported: &Unsupported) -> String {
    let (verb, reason, instead) = match unsupported.treatment {
        Treatment::Ignored(reason) => ("has no effect", reason, None),
        Treatment::Rejected(reason, instead) => ("is refused", reason, Some(instead)),
    };
    let instead = instead.map_or_else(String::new, |text| format!("  instead: {text}\n"));
    format!(
        "{}\n  a setting of gunicorn; in rcorn it {verb}: {reason}\n{instead}",
        unsupported.name
    )
}

fn setting(row: &Setting, resolved: Option<&Resolved>) -> String {
    let mut lines = values_of(row, resolved);
    let effect = row.effect.when().replace('`', "");
    lines.push(format!("  a change takes effect {effect}"));
    let flags: Vec<String> = row
        .flags
        .iter()
        .flat_map(|flag| {
            let short = flag.short.map(|short| format!("-{short}"));
            short.into_iter().chain([format!("--{}", flag.long)])
        })
        .collect();
    if !flags.is_empty() {
        lines.push(format!("  flags: {}", flags.join(", ")));
    }
    if let Some(word) = row.positional {
        lines.push(format!("  on the command line: {word}"));
    }
    if let Some(variable) = row.variable {
        lines.push(format!("  variable: {}", variable.name));
    }
    if !row.choices.is_empty() {
        lines.push(format!("  one of: {}", row.choices.join(", ")));
    }
    for paragraph in row.doc.lines().map(str::trim) {
        lines.push(if paragraph.is_empty() {
            String::new()
        } else {
            format!("  {paragraph}")
        });
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// The value, and below it those that it overrides.
fn values_of(row: &Setting, resolved: Option<&Resolved>) -> Vec<String> {
    let shown = |value: &str| match value {
        "" => "(nothing)".to_owned(),
        value => value.to_owned(),
    };
    let default = with_origin(&shown(&(row.default)()), &Origin::Default);
    let history = resolved.map_or(&[][..], |resolved| resolved.origins.history(row.name));
    let Some(((origin, value), overridden)) = history.split_last() else {
        // A default may have been completed: the directory, say.
        let value = resolved.map_or(default, |resolved| {
            with_origin(&shown(&(row.value)(&resolved.settings)), &Origin::Default)
        });
        return vec![format!("{} = {value}", row.name)];
    };
    let mut lines = vec![format!(
        "{} = {}",
        row.name,
        with_origin(&shown(value), origin)
    )];
    for (origin, value) in overridden.iter().rev() {
        lines.push(format!(
            "  overrides {}",
            with_origin(&shown(value), origin)
        ));
    }
    lines.push(format!("  overrides {default}"));
    lines
}

fn with_origin(value: &str, origin: &Origin) -> String {
    format!("{value}  # {origin}")
}
