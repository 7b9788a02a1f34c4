//! The plain values of a gunicorn.conf.py as settings of rcorn. The file is a program: only
//! literals are translated, and code that would have to be run is listed. rcorn also uses such a
//! file unchanged.

use std::path::Path;

use super::output::{Output, SourceLine};
use super::python::{Statement, statements};
use super::yaml::{Text, is_map, verbatim};
use rcorn_settings::{
    HOOKS, Literal, ServedClass, Setting, TABLE, Treatment, UNSUPPORTED, Unsupported,
    literal_prefix,
};

/// What says how many requests are served at a time.
#[derive(Default)]
struct Concurrency {
    workers: Option<(Literal, SourceLine)>,
    threads: Option<(Literal, SourceLine)>,
    class: Option<(Literal, SourceLine)>,
}

/// The file as a rcorn.yaml.
pub(super) fn translate(file: &Path, text: &str) -> String {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name = verbatim(&name);
    let (mut output, mut concurrency, mut runs) =
        (Output::default(), Concurrency::default(), 0_usize);
    for statement in statements(text) {
        let code = statement.code.trim();
        if code.starts_with(['\'', '"']) || code == "pass" {
            continue;
        }
        let source = &statement.source;
        if let Some((name, value)) = assignment(code) {
            assign(
                name,
                value,
                source,
                &mut output,
                &mut concurrency,
                &mut runs,
            );
        } else {
            runs = runs.saturating_add(1);
            output.omit(source, why_not(&statement));
        }
    }
    workers(&concurrency, &mut output);
    output.remark(format!("Made by `rcorn migrate` from {name}."));
    output.remark(as_it_is(&name, &output));
    output.remark("To check this file: rcorn --check-config -c rcorn.yaml.");
    if runs > 0 {
        output.remark("It has code that only Python can run, listed below. If that code is needed, use that file instead of this one.");
    }
    output.render()
}

/// The remark that rcorn can use the file unchanged, or without the lines that it refuses.
fn as_it_is(name: &str, output: &Output) -> String {
    let refused: Vec<String> = output
        .refused_lines()
        .map(|number| number.to_string())
        .collect();
    let lines = match refused.as_slice() {
        [] => {
            return format!(
                "rcorn can also use that file unchanged, with its code: rcorn -c {name}."
            );
        }
        [one] => format!("line {one}"),
        several => format!("lines {}", several.join(", ")),
    };
    format!(
        "Without {lines}, which it refuses, rcorn can also use that file, with its code: rcorn -c {name}."
    )
}

/// `name = value` or `name: type = value`.
fn assignment(code: &str) -> Option<(&str, &str)> {
    let (left, value) = code.split_once('=')?;
    let name = left
        .split_once(':')
        .map_or(left, |(name, _type)| name)
        .trim();
    let is_name = name
        .chars()
        .all(|sign| sign.is_alphanumeric() || sign == '_');
    let begins = name.starts_with(|sign: char| sign.is_alphabetic() || sign == '_');
    (is_name && begins && !value.starts_with('=')).then(|| (name, value.trim()))
}

/// Why a statement cannot be translated, and what to do.
fn why_not(statement: &Statement) -> String {
    let code = statement.code.trim();
    let code = code.strip_prefix("async ").unwrap_or(code);
    if code.starts_with("import ") || code.starts_with("from ") {
        return "an import, used by the code below".to_owned();
    }
    if let Some(function) = code.strip_prefix("def ") {
        let name = function.split('(').next().unwrap_or_default().trim();
        return if HOOKS.iter().any(|hook| hook.name == name) {
            "a hook: only a gunicorn.conf.py can have hooks; rcorn calls them from there".to_owned()
        } else {
            "a function, used by hooks or by other code".to_owned()
        };
    }
    let lines = std::iter::once(code).chain(statement.block.iter().map(String::as_str));
    let names = lines.filter_map(assignment).map(|(name, _)| name);
    let mut set: Vec<&str> = names
        .filter(|name| TABLE.iter().any(|row| row.name == *name))
        .collect();
    set.sort_unstable();
    set.dedup();
    if set.is_empty() {
        "code, which is not run here".to_owned()
    } else {
        format!(
            "code, which is not run here; it may set {}: add the value that is right for this machine",
            set.join(", ")
        )
    }
}

fn assign(
    name: &str,
    value: &str,
    source: &SourceLine,
    output: &mut Output,
    concurrency: &mut Concurrency,
    runs: &mut usize,
) {
    let row = TABLE.iter().find(|row| row.name == name);
    let unsupported = UNSUPPORTED.iter().find(|one| one.name == name);
    let literal = literal_prefix(value);
    let several = literal
        .as_ref()
        .is_some_and(|(_, rest)| rest.trim().starts_with(';'));
    let Some((literal, _)) = literal.filter(|(_, rest)| rest.trim().is_empty()) else {
        if several {
            output.omit(
                source,
                "several statements on one line: write each on its own line",
            );
        } else if HOOKS.iter().any(|hook| hook.name == name) {
            output.omit(
                source,
                "a hook: only a gunicorn.conf.py can have hooks; rcorn calls them from there",
            );
        } else if name == "workers" && value.contains("cpu_count") {
            output.omit(
                source,
                "computed: `workers: auto` starts one for each CPU that rcorn may use",
            );
        } else if row.is_some() || unsupported.is_some() {
            let end = if value.contains("environ") || value.contains("getenv") {
                "computed: `!env \"${NAME}\"` stands for a variable of the environment"
            } else {
                "computed: write the result"
            };
            output.omit(source, end);
        } else {
            output.omit(source, "not a setting, and computed");
        }
        *runs = runs.saturating_add(1);
        return;
    };
    match (name, row, unsupported) {
        ("workers", ..) => concurrency.workers = Some((literal, source.clone())),
        ("threads", ..) => concurrency.threads = Some((literal, source.clone())),
        ("worker_class", ..) => concurrency.class = Some((literal, source.clone())),
        (_, Some(row), _) => value_of(row, &literal, source, output),
        (_, None, Some(unsupported)) => treat(unsupported, &literal, source, output),
        (_, None, None) => output.not_needed(source, "not a setting"),
    }
}

/// A text without its quotes; any other literal as Python writes it.
fn text(literal: &Literal) -> String {
    if let Literal::Str(text) = literal {
        text.clone()
    } else {
        literal.to_string()
    }
}

/// Lists a setting that rcorn does not have, with its warning or error.
fn treat(unsupported: &Unsupported, literal: &Literal, source: &SourceLine, output: &mut Output) {
    let text = text(literal);
    let is_empty = matches!(literal, Literal::None)
        || matches!(literal, Literal::List(items) | Literal::Tuple(items) if items.is_empty());
    let asks_nothing = is_empty || !unsupported.matters(&text);
    match unsupported.treatment {
        _ if asks_nothing => output.not_needed(source, "rcorn does this in any case"),
        Treatment::Ignored(reason) => {
            output.not_needed(source, format!("it has no effect: {reason}"));
        }
        Treatment::Rejected(reason, instead) => {
            output.omit(source, format!("{reason}: {instead}"));
            output.mark_refused(source);
        }
    }
}

/// Sets a setting that rcorn has to the value of a line.
fn value_of(row: &Setting, literal: &Literal, source: &SourceLine, output: &mut Output) {
    match literal {
        Literal::None => output.not_needed(source, "None is the default"),
        Literal::Dict(items) if is_map(row) => add_items(row, items, source, output),
        Literal::Dict(_) => output.omit(source, "write it as a mapping of YAML"),
        Literal::List(items) | Literal::Tuple(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| text_of(row, item)).collect();
            match texts {
                None => output.omit(source, "write a list of texts"),
                Some(texts) if is_map(row) => add_assignments(row, &texts, source, output),
                Some(texts) => set_texts(row, texts, source, output),
            }
        }
        one @ (Literal::Bool(_)
        | Literal::Int(_)
        | Literal::Float(_)
        | Literal::Str(_)
        | Literal::Bytes(_)) => match text_of(row, one) {
            None => output.omit(source, "it cannot be written as YAML"),
            Some(text) => set_texts(row, parts_of(row, &text), source, output),
        },
    }
}

/// Adds the items of a dict to a mapping.
fn add_items(
    row: &Setting,
    items: &[(Literal, Literal)],
    source: &SourceLine,
    output: &mut Output,
) {
    for (key, value) in items {
        if let (Some(key), Some(value)) = (text_of(row, key), text_of(row, value)) {
            output.add_pair(row.name, &key, &Text::Plain(value), source);
        } else {
            output.omit(source, format!("{key}: {value} is no text for a text"));
        }
    }
}

/// Adds texts of the form NAME=VALUE to a mapping.
fn add_assignments(row: &Setting, texts: &[String], source: &SourceLine, output: &mut Output) {
    for text in texts {
        if let Some((key, value)) = text.split_once('=') {
            output.add_pair(row.name, key, &Text::Plain(value.to_owned()), source);
        } else {
            output.omit(source, format!("'{text}' is not of the form NAME=VALUE"));
            output.mark_refused(source);
        }
    }
}

/// The parts of a text that stands for a list; of any other text itself.
fn parts_of(row: &Setting, text: &str) -> Vec<String> {
    match row.separator {
        Some(separator) => text
            .split(separator)
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        None => vec![text.to_owned()],
    }
}

/// Sets the value or the whole list.
fn set_texts(row: &Setting, texts: Vec<String>, source: &SourceLine, output: &mut Output) {
    let texts = texts.into_iter().map(Text::Plain).collect();
    let is_taken = output.set_all(row.name, texts, source);
    if is_taken && row.name == "keepalive" {
        output.comment("keepalive", "gunicorn's sync workers close every connection. rcorn's default, 75 seconds, is longer than proxies keep theirs.");
    }
}

/// One value in the form of the command line.
fn text_of(row: &Setting, literal: &Literal) -> Option<String> {
    match literal {
        Literal::Bool(yes) if row.choices.contains(&"on") => {
            Some(if *yes { "on" } else { "off" }.to_owned())
        }
        Literal::Bool(yes) => Some(yes.to_string()),
        Literal::Int(digits) if row.check(&[digits]).is_err() => {
            let (radix, rest) = match digits.get(..2) {
                Some("0x") => (16, digits.get(2..)),
                Some("0o") => (8, digits.get(2..)),
                Some("0b") => (2, digits.get(2..)),
                Some(_) | None => (10, Some(digits.as_str())),
            };
            Some(
                u64::from_str_radix(rest?, radix)
                    .map_or_else(|_| digits.clone(), |number| number.to_string()),
            )
        }
        Literal::Int(digits) => Some(digits.clone()),
        Literal::Float(number) => Some(number.to_string()),
        Literal::Str(text) => Some(text.clone()),
        Literal::None
        | Literal::Bytes(_)
        | Literal::List(_)
        | Literal::Tuple(_)
        | Literal::Dict(_) => None,
    }
}

/// The workers, their class and their threads.
fn workers(concurrency: &Concurrency, output: &mut Output) {
    if let Some((literal, source)) = &concurrency.workers {
        plain(output, "workers", literal, source);
    }
    let class = concurrency.class.as_ref();
    let name = class.map_or_else(|| "sync".to_owned(), |(literal, _)| text(literal));
    let number = |(literal, _): &(Literal, SourceLine)| text(literal).parse::<u32>().ok();
    let given = concurrency.threads.as_ref();
    let served = match ServedClass::of(&name, &[], given.and_then(number)) {
        Ok(served) => served,
        Err((reason, instead)) => {
            if let Some((_, source)) = class {
                output.omit(source, format!("{reason}: {instead}"));
                output.mark_refused(source);
            }
            if let Some((_, source)) = given {
                output.not_needed(source, format!("gunicorn ignores threads with {name}"));
            }
            return;
        }
    };
    match (given, served.threads) {
        (Some((literal, source)), 0 | 1) => plain(output, "threads", literal, source),
        (None, 0 | 1) => {}
        (_, threads) => {
            if let Some((_, source)) = given.or(class) {
                output.set("threads", &Text::Plain(threads.to_string()), source);
            }
        }
    }
    if let Some((_, source)) = class {
        class_line(served, source, output);
    }
}

/// What becomes of the line with the worker class.
fn class_line(served: ServedClass, source: &SourceLine, output: &mut Output) {
    match (served.warning, served.class, served.threads) {
        (Some(warning), ..) if output.has("threads") => {
            output.comment("threads", format!("{warning}."));
        }
        (Some(warning), ..) => output.not_needed(source, warning),
        (None, "gthread", 1) => {
            output.set("worker_class", &Text::Plain("gthread".to_owned()), source);
        }
        (None, _, 1) => output.not_needed(source, "it is the default"),
        (None, ..) => output.not_needed(source, "threads says it"),
    }
}

/// Copies a setting.
fn plain(output: &mut Output, name: &str, literal: &Literal, source: &SourceLine) {
    if let Some(row) = TABLE.iter().find(|row| row.name == name) {
        value_of(row, literal, source, output);
    }
}
