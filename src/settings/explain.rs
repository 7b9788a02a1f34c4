//! What holds and why, for people: `--print-config` and `rcorn explain`.

use std::fmt::Write as _;

use super::Resolved;
use super::error::Error;
use super::file::nearest;
use super::hooks::{HOOKS, hook_named};
use super::known::{Answer, KNOWN};
use super::literal::Literal;
use super::origin::Origin;
use super::rows::{Settings, TABLE};
use super::table::{Effect, Setting};

/// Every setting of ours and of gunicorn with its value as Python writes it, sorted by name. Hooks are not among them.
pub fn values(settings: &Settings) -> Vec<(&'static str, String)> {
    let ours = TABLE
        .iter()
        .map(|row| (row.name, literal(row, settings).to_string()));
    let theirs = KNOWN
        .iter()
        .map(|known| (known.name, known.default.to_owned()));
    let mut all: Vec<(&str, String)> = ours.chain(theirs).collect();
    all.sort_unstable_by_key(|(name, _)| *name);
    all
}

/// gunicorn's hooks get a mapping of these, and a list of the other pairs.
fn literal(row: &Setting, settings: &Settings) -> Literal {
    if row.name == "secure_scheme_headers" {
        let pairs = settings.secure_scheme_headers.iter();
        return Literal::Dict(
            pairs
                .map(|(name, value)| (Literal::Str(name.clone()), Literal::Str(value.clone())))
                .collect(),
        );
    }
    (row.literal)(settings)
}

/// The settings in the form of gunicorn's `--print-config`: `name = value`, the names padded, sorted.
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

/// What a setting is set to, by whom, what that overrode, and when a change takes effect. `resolved`: of the same command
/// line and environment, or why there is none.
pub fn explain(name: &str, resolved: Result<Resolved, Error>) -> Result<String, Error> {
    let name = name
        .trim_start_matches('-')
        .replace('-', "_")
        .to_lowercase();
    let flag = name.replace('_', "-");
    let row = TABLE.iter().find(|row| {
        let is_flag = |long: &str| long == flag || long == name;
        row.name == name || row.flags.iter().any(|known| is_flag(known.long))
    });
    if let Some(row) = row {
        // Without an app there still is something to say.
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
        return Ok(format!(
            "{}({})\n  a hook: a function in a gunicorn.conf.py\n  runs: {}\n",
            hook.name,
            hook.parameters.join(", "),
            hook.when
        ));
    }
    let known = KNOWN
        .iter()
        .find(|known| known.name == name || known.flags.contains(&flag.as_str()));
    if let Some(known) = known {
        let (verb, reason, instead) = match known.answer {
            Answer::Ignored(reason) => ("has no effect", reason, None),
            Answer::Never(reason, instead) => ("is refused", reason, Some(instead)),
        };
        let instead = instead
            .map(|instead| format!("  instead: {instead}\n"))
            .unwrap_or_default();
        return Ok(format!(
            "{}\n  a setting of gunicorn; in rcorn it {verb}: {reason}\n{instead}",
            known.name
        ));
    }
    Err(Error::UnknownSetting {
        nearest: nearest(&name),
        name,
    })
}

fn setting(row: &Setting, resolved: Option<&Resolved>) -> String {
    let mut text = String::new();
    let mut line = |what: std::fmt::Arguments<'_>| {
        // Writing to a text does not fail.
        text.write_fmt(what).ok();
        text.push('\n');
    };
    let shown = |value: &str| {
        if value.is_empty() {
            "(nothing)".to_owned()
        } else {
            value.to_owned()
        }
    };
    let default = shown(&(row.default)());
    let said = resolved.map_or(&[][..], |resolved| resolved.origins.said(row.name));
    match (said.last(), resolved) {
        (Some((origin, value)), _) => line(format_args!(
            "{} = {}",
            row.name,
            with_origin(&shown(value), origin)
        )),
        // What was completed: the directory, say.
        (None, Some(resolved)) => {
            let value = shown(&(row.value)(&resolved.settings));
            line(format_args!(
                "{} = {}",
                row.name,
                with_origin(&value, &Origin::Default)
            ));
        }
        (None, None) => line(format_args!(
            "{} = {}",
            row.name,
            with_origin(&default, &Origin::Default)
        )),
    }
    if let Some((_, overridden)) = said.split_last() {
        for (origin, value) in overridden.iter().rev() {
            line(format_args!(
                "  overrides {}",
                with_origin(&shown(value), origin)
            ));
        }
        line(format_args!(
            "  overrides {}",
            with_origin(&default, &Origin::Default)
        ));
    }
    let effect = match row.effect {
        Effect::Boot => "when rcorn is started anew",
        Effect::Reload => "with a reload (HUP, or rcorn ctl reload)",
        Effect::Upgrade => "with an upgrade (USR2, or rcorn ctl upgrade)",
    };
    line(format_args!("  a change takes effect {effect}"));
    let flags: Vec<String> = row
        .flags
        .iter()
        .flat_map(|flag| {
            let short = flag.short.map(|short| format!("-{short}"));
            short.into_iter().chain([format!("--{}", flag.long)])
        })
        .collect();
    if !flags.is_empty() {
        line(format_args!("  flags: {}", flags.join(", ")));
    }
    if let Some(variable) = row.variable {
        line(format_args!("  variable: {variable}"));
    }
    if !row.choices.is_empty() {
        line(format_args!("  one of: {}", row.choices.join(", ")));
    }
    for paragraph in row.doc.lines().map(str::trim) {
        line(format_args!(
            "{}{paragraph}",
            if paragraph.is_empty() { "" } else { "  " }
        ));
    }
    text
}

fn with_origin(value: &str, origin: &Origin) -> String {
    format!("{value}  # {origin}")
}
