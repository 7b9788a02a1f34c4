//! A uwsgi.ini as settings of rcorn. Settings that depend on several lines are in `app`, `sockets`,
//! `processes` and `logs`; lines that are translated one by one are in `rules`.

use std::path::Path;

use super::error::MigrateError;
use super::ini::{self, IniLine, Placeholders};
use super::options::{IniOption, Remaining};
use super::output::Output;
use super::yaml::Text;
use super::{app, logs, processes, rules, sockets};

/// The file as a rcorn.yaml.
pub(super) fn translate(file: &Path, text: &str) -> Result<String, MigrateError> {
    let Some((lines, others)) = ini::read(text) else {
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
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    output.remark(format!(
        "Made by `rcorn migrate` from {}.",
        super::yaml::verbatim(&name)
    ));
    output.remark("To check it: rcorn --check-config -c rcorn.yaml.");
    if !others.is_empty() {
        let others: Vec<String> = others
            .iter()
            .map(|other| super::yaml::verbatim(other))
            .collect();
        output.remark(format!(
            "Of its sections only [uwsgi] was read, not [{}].",
            others.join("], [")
        ));
    }
    let mut rest = Remaining(expanded(file, &lines, &mut output));
    app::app(&mut rest, &mut output);
    sockets::sockets(&mut rest, &mut output);
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

/// Replaces the placeholders. Lists conditions with the lines under them, and lines that only
/// define placeholders.
fn expanded(file: &Path, lines: &[IniLine], output: &mut Output) -> Vec<IniOption> {
    let mut placeholders = Placeholders {
        file,
        values: Vec::new(),
    };
    for line in lines {
        let set = ["set-placeholder", "set-ph", "set"].contains(&line.key.as_str());
        match line.value.split_once('=').filter(|_| set) {
            Some((key, value)) => placeholders
                .values
                .push((key.trim().to_owned(), value.trim().to_owned())),
            None => placeholders
                .values
                .push((line.key.clone(), line.value.clone())),
        }
    }
    let used: Vec<&str> = lines
        .iter()
        .flat_map(|line| placeholders.uses(&line.value))
        .collect();
    let (mut out, mut inside) = (Vec::new(), Vec::new());
    for line in lines {
        let key = line.key.as_str();
        if ["endif", "end-if", "endfor", "end-for"].contains(&key) {
            inside.pop();
            output.not_needed(&line.source, "the end of the condition above");
        } else if key.starts_with("if") || key == "for" || key.starts_with("for-") {
            inside.push(line.source.text.clone());
            output.omit(
                &line.source,
                "conditions are not translated: add what applies to this machine",
            );
        } else if let Some(condition) = inside.last() {
            output.omit(&line.source, format!("it depends on: {condition}"));
        } else if ["set-placeholder", "set-ph"].contains(&key)
            || (used.contains(&key) && !rules::is_known(key))
        {
            output.not_needed(
                &line.source,
                "a placeholder; its value is written where it is used",
            );
        } else if line.value == "%k" && ["processes", "workers"].contains(&key) {
            out.push(IniOption {
                source: line.source.clone(),
                key: line.key.clone(),
                value: Text::Plain("auto".to_owned()),
            });
        } else {
            match placeholders.expand(&line.value) {
                Ok(value) => out.push(IniOption {
                    source: line.source.clone(),
                    key: line.key.clone(),
                    value,
                }),
                Err(why) => output.omit(&line.source, why),
            }
        }
    }
    out
}
