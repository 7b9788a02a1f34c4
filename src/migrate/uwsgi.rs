//! A uwsgi.ini in rcorn's settings. What depends on several lines is in `places` and `limits`, one
//! function for each matter; what depends on one line alone is in `rules`.

use std::path::Path;

use super::ini::{self, IniLine, Placeholders};
use super::options::{IniOption, Remaining};
use super::sheet::Sheet;
use super::yaml::Text;
use super::{MigrateError, limits, places, rules};

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
    let mut sheet = Sheet::default();
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    sheet.remark(format!(
        "Made by `rcorn migrate` from {}.",
        super::yaml::verbatim(&name)
    ));
    sheet.remark("To check it: rcorn --check-config -c rcorn.yaml.");
    if !others.is_empty() {
        let others: Vec<String> = others
            .iter()
            .map(|other| super::yaml::verbatim(other))
            .collect();
        sheet.remark(format!(
            "Of its sections only [uwsgi] was read, not [{}].",
            others.join("], [")
        ));
    }
    let mut rest = Remaining(expanded(file, &lines, &mut sheet));
    places::app(&mut rest, &mut sheet);
    places::sockets(&mut rest, &mut sheet);
    limits::workers(&mut rest, &mut sheet);
    limits::limits(&mut rest, &mut sheet);
    limits::user(&mut rest, &mut sheet);
    limits::logs(&mut rest, &mut sheet);
    for option in rest.0 {
        rules::apply(&option, &mut sheet);
    }
    if !sheet.has("wsgi_app") {
        sheet.remark("No app was found in it: add wsgi_app, or name it on the command line.");
    }
    if !sheet.has("bind") {
        sheet.remark("No address was found in it: rcorn listens on 127.0.0.1:8000 unless bind says otherwise.");
    }
    Ok(sheet.render())
}

/// Completes the texts. Lines under a condition, and names of the file's own, are dealt with here.
fn expanded(file: &Path, lines: &[IniLine], sheet: &mut Sheet) -> Vec<IniOption> {
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
            sheet.needless(&line.source, "the end of the condition above");
        } else if key.starts_with("if") || key == "for" || key.starts_with("for-") {
            inside.push(line.source.text.clone());
            sheet.leave(
                &line.source,
                "conditions are not translated: decide, and add what holds for this machine",
            );
        } else if let Some(condition) = inside.last() {
            sheet.leave(&line.source, format!("it depends on: {condition}"));
        } else if ["set-placeholder", "set-ph"].contains(&key)
            || (used.contains(&key) && !rules::is_known(key))
        {
            sheet.needless(
                &line.source,
                "a name of the file's own; its text stands where it is used",
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
                Err(why) => sheet.leave(&line.source, why),
            }
        }
    }
    out
}
