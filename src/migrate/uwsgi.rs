//! A uwsgi.ini as settings of rcorn. Settings that depend on several lines are in `app`, `sockets`,
//! `tls`, `processes` and `logs`; lines that are translated one by one are in `rules`.

use std::path::Path;

use rcorn_settings::Environment;

use super::conditions::Conditions;
use super::error::MigrateError;
use super::ini::{self, IniFile, IniLine, Placeholders};
use super::options::{IniOption, Remaining};
use super::output::Output;
use super::yaml::Text;
use super::{app, logs, processes, rules, sockets, tls};

/// The file as a rcorn.yaml. `environment`: for `if-env`.
pub(super) fn translate(
    file: &Path,
    text: &str,
    environment: &Environment<'_>,
) -> Result<String, MigrateError> {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some(IniFile { lines, unread }) = ini::read(text, &name) else {
        return Err(MigrateError::new(
            "has no section [uwsgi]",
            "a uwsgi.ini has a line [uwsgi], and lines of key = value after it",
        ));
    };
    if lines.is_empty() {
        return Err(MigrateError::new(
            "has nothing in its section [uwsgi]",
            "there is nothing to migrate",
        ));
    }
    let mut output = Output::default();
    output.remark(format!(
        "Made by `rcorn migrate` from {}.",
        super::yaml::verbatim(&name)
    ));
    output.remark("To check it: rcorn --check-config -c rcorn.yaml.");
    if !unread.is_empty() {
        let unread = unread.iter().map(|name| super::yaml::verbatim(name));
        let unread: Vec<String> = unread.collect();
        output.remark(format!("Not read: its sections [{}].", unread.join("], [")));
    }
    let mut conditions = Conditions::new(environment);
    let chosen = conditions.apply(lines, &mut output);
    if conditions.have_asked_environment() {
        output.remark(
            "The blocks of if-env and if-not-env are translated for the environment of this call of `rcorn migrate`.",
        );
    }
    let mut rest = Remaining(expanded(file, &name, &chosen, &mut output));
    app::app(&mut rest, &mut output);
    sockets::sockets(&mut rest, &mut output);
    tls::tls(&mut rest, &mut output);
    processes::workers(&mut rest, &mut output);
    processes::limits(&mut rest, &mut output);
    processes::user(&mut rest, &mut output);
    logs::logs(&mut rest, &mut output);
    for option in rest.0 {
        rules::apply(&option, &mut output);
    }
    if !output.has("wsgi_app") {
        output.remark("It names no app: add wsgi_app, or name the app on the command line.");
    }
    if !output.has("bind") {
        output.remark("It names no address: rcorn listens on 127.0.0.1:8000 unless bind is set.");
    }
    Ok(output.render())
}

/// Replaces the placeholders. Lists the lines that only define placeholders or include a section.
fn expanded(file: &Path, name: &str, lines: &[IniLine], output: &mut Output) -> Vec<IniOption> {
    let mut placeholders = Placeholders {
        file,
        values: Vec::new(),
    };
    for line in lines {
        let set = ["set-placeholder", "set-ph", "set"].contains(&line.key.as_str());
        placeholders
            .values
            .push(match line.value.split_once('=').filter(|_| set) {
                Some((key, value)) => (key.trim().to_owned(), value.trim().to_owned()),
                None => (line.key.clone(), line.value.clone()),
            });
    }
    let used: Vec<&str> = lines
        .iter()
        .flat_map(|line| placeholders.uses(&line.value))
        .collect();
    let mut options = Vec::new();
    for line in lines {
        let key = line.key.as_str();
        let is_included = |section: &str| lines.iter().any(|other| other.section == section);
        if ini::included_section(line, name).is_some_and(is_included) {
            output.not_needed(
                &line.source,
                "the lines of that section are translated, too",
            );
        } else if ["set-placeholder", "set-ph"].contains(&key)
            || (used.contains(&key) && !rules::is_known(key))
        {
            output.not_needed(
                &line.source,
                "a placeholder; its value is written where it is used",
            );
        } else if let Some(value) = value_of(line, &placeholders, output) {
            options.push(IniOption {
                source: line.source.clone(),
                key: line.key.clone(),
                value,
            });
        }
    }
    options
}

/// The value of a line, with its placeholders replaced; if that is not possible the line is listed.
fn value_of(line: &IniLine, placeholders: &Placeholders<'_>, output: &mut Output) -> Option<Text> {
    if line.value == "%k" && ["processes", "workers"].contains(&line.key.as_str()) {
        return Some(Text::Plain("auto".to_owned()));
    }
    let value = match placeholders.expand(&line.value) {
        Ok(value) => value,
        // What the rule of the key says is better than why the value is unknown.
        Err(_) if !rules::uses_value(&line.key) => return Some(Text::Plain(line.value.clone())),
        Err(why) => {
            output.omit(&line.source, why);
            return None;
        }
    };
    match ini::undefined(&value) {
        Some(name) if rules::uses_value(&line.key) => {
            let name = super::yaml::verbatim(name);
            let why = format!("%({name}) is not defined in this file: write what it stands for");
            output.omit(&line.source, why);
            None
        }
        Some(_) | None => Some(value),
    }
}
