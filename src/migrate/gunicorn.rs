//! The plain values of a gunicorn.conf.py in rcorn's settings. The file is a program; here only
//! literals are read, and whatever would have to be run is listed. rcorn runs such a file as it is
//! (but for what it refuses), so nothing is lost.

use std::path::Path;

use super::python::{Statement, statements};
use super::sheet::{Sheet, Source};
use super::yaml::{Text, is_map, verbatim};
use rcorn_settings::{HOOKS, Literal, Setting, TABLE, Treatment, UNSUPPORTED, Unsupported};

/// Threads and the kind of workers decide about the number of workers.
#[derive(Default)]
struct Concurrency {
    workers: Option<(Literal, Source)>,
    threads: Option<(Literal, Source)>,
}

/// The file as a rcorn.yaml.
pub(super) fn translate(file: &Path, text: &str) -> String {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name = verbatim(&name);
    let (mut sheet, mut concurrency, mut runs) =
        (Sheet::default(), Concurrency::default(), 0_usize);
    for statement in statements(text) {
        let code = statement.code.trim();
        if code.starts_with(['\'', '"']) || code == "pass" {
            continue;
        }
        let source = &statement.source;
        if let Some((name, value)) = assignment(code) {
            assign(name, value, source, &mut sheet, &mut concurrency, &mut runs);
        } else {
            runs = runs.saturating_add(1);
            sheet.leave(source, why_not(&statement));
        }
    }
    workers(&concurrency, &mut sheet);
    sheet.remark(format!("Made by `rcorn migrate` from {name}."));
    sheet.remark(as_it_is(&name, &sheet));
    sheet.remark("To check this file: rcorn --check-config -c rcorn.yaml.");
    if runs > 0 {
        sheet.remark("It has code that only Python can run, listed below. Unless that can go, keep that file instead of this one.");
    }
    sheet.render()
}

/// Whether the file may stay what it is.
fn as_it_is(name: &str, sheet: &Sheet) -> String {
    let refused: Vec<String> = sheet.refused().map(|number| number.to_string()).collect();
    let lines = match refused.as_slice() {
        [] => return format!("rcorn can also read that as it is, with its code: rcorn -c {name}."),
        [one] => format!("line {one}"),
        several => format!("lines {}", several.join(", ")),
    };
    format!(
        "Without {lines}, which it refuses, rcorn can also read that, with its code: rcorn -c {name}."
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
        return "an import, for what is computed below".to_owned();
    }
    if let Some(function) = code.strip_prefix("def ") {
        let name = function.split('(').next().unwrap_or_default().trim();
        return if HOOKS.iter().any(|hook| hook.name == name) {
            "a hook: only a gunicorn.conf.py can have such, and rcorn calls it from there"
                .to_owned()
        } else {
            "a function, for the hooks or for what is computed".to_owned()
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
        "code is not run here".to_owned()
    } else {
        format!(
            "code is not run here; it may set {}: decide, and add what holds",
            set.join(", ")
        )
    }
}

fn assign(
    name: &str,
    value: &str,
    source: &Source,
    sheet: &mut Sheet,
    concurrency: &mut Concurrency,
    runs: &mut usize,
) {
    let row = TABLE.iter().find(|row| row.name == name);
    let unsupported = UNSUPPORTED.iter().find(|one| one.name == name);
    let literal = Literal::parse_prefix(value);
    let several = literal
        .as_ref()
        .is_some_and(|(_, rest)| rest.trim().starts_with(';'));
    let Some((literal, _)) = literal.filter(|(_, rest)| rest.trim().is_empty()) else {
        if several {
            sheet.leave(
                source,
                "several statements in one line: write each in its own",
            );
        } else if HOOKS.iter().any(|hook| hook.name == name) {
            sheet.leave(
                source,
                "a hook: only a gunicorn.conf.py can have such, and rcorn calls it from there",
            );
        } else if name == "workers" && value.contains("cpu_count") {
            sheet.leave(
                source,
                "it is computed: `workers: auto` starts as many as there are CPUs for rcorn",
            );
        } else if row.is_some() || unsupported.is_some() {
            let end = if value.contains("environ") || value.contains("getenv") {
                "it is computed: `!env \"${NAME}\"` puts a variable of the environment in"
            } else {
                "it is computed: write what comes out"
            };
            sheet.leave(source, end);
        } else {
            sheet.leave(source, "no setting, and computed: for what follows from it");
        }
        *runs = runs.saturating_add(1);
        return;
    };
    match (name, row, unsupported) {
        ("workers", ..) => concurrency.workers = Some((literal, source.clone())),
        ("threads", ..) => concurrency.threads = Some((literal, source.clone())),
        ("worker_class", ..) => class(&literal, source, sheet),
        (_, Some(row), _) => value_of(row, &literal, source, sheet),
        (_, None, Some(unsupported)) => treat(unsupported, &literal, source, sheet),
        (_, None, None) => sheet.needless(source, "no setting"),
    }
}

fn class(literal: &Literal, source: &Source, sheet: &mut Sheet) {
    let name = text(literal);
    let sync = [
        "sync",
        "gunicorn.workers.sync.SyncWorker",
        "egg:gunicorn#sync",
    ]
    .contains(&name.as_str());
    if !sync {
        sheet.refuse(source);
    }
    if sync || name == "gthread" {
        return sheet.needless(source, "rcorn has one kind of workers");
    }
    sheet.leave(
        source,
        "rcorn has one kind of workers, for WSGI, with one request at a time: raise workers, or stay with gunicorn for this app",
    );
}

/// A text without its quotes, and all else as Python writes it.
fn text(literal: &Literal) -> String {
    if let Literal::Str(text) = literal {
        text.clone()
    } else {
        literal.to_string()
    }
}

/// Lists a setting that rcorn does not have, with what it would say about it.
fn treat(unsupported: &Unsupported, literal: &Literal, source: &Source, sheet: &mut Sheet) {
    let text = text(literal);
    let asks_nothing = matches!(literal, Literal::None | Literal::Bool(false))
        || unsupported.neutral.contains(&text.as_str());
    match unsupported.treatment {
        _ if asks_nothing => sheet.needless(source, "rcorn does nothing else"),
        Treatment::Ignored(reason) => sheet.needless(source, format!("it has no effect: {reason}")),
        Treatment::Rejected(reason, instead) => {
            sheet.leave(source, format!("{reason}: {instead}"));
            sheet.refuse(source);
        }
    }
}

fn value_of(row: &Setting, literal: &Literal, source: &Source, sheet: &mut Sheet) {
    let taken = match literal {
        Literal::None => return sheet.needless(source, "None is what holds anyway"),
        Literal::Dict(_) if !is_map(row) => {
            return sheet.leave(source, "write it as a mapping of YAML");
        }
        Literal::Dict(items) => {
            for (key, value) in items {
                match (text_of(row, key), text_of(row, value)) {
                    (Some(key), Some(value)) => {
                        sheet.pair(row.name, &key, &Text::Plain(value), source);
                    }
                    (_, _) => {
                        sheet.leave(source, format!("{key}: {value} is no text for a text"));
                    }
                }
            }
            return;
        }
        Literal::List(items) | Literal::Tuple(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| text_of(row, item)).collect();
            let Some(texts) = texts else {
                return sheet.leave(source, "a list of texts is wanted");
            };
            if is_map(row) {
                for text in &texts {
                    if let Some((key, value)) = text.split_once('=') {
                        sheet.pair(row.name, key, &Text::Plain(value.to_owned()), source);
                    } else {
                        sheet.leave(source, format!("'{text}' is not of the form NAME=VALUE"));
                        sheet.refuse(source);
                    }
                }
                return;
            }
            sheet.set_all(
                row.name,
                texts.into_iter().map(Text::Plain).collect(),
                source,
            )
        }
        one @ (Literal::Bool(_)
        | Literal::Int(_)
        | Literal::Float(_)
        | Literal::Str(_)
        | Literal::Bytes(_)) => {
            let Some(text) = text_of(row, one) else {
                return sheet.leave(source, "it cannot be written as YAML");
            };
            let parts: Vec<&str> = match row.separator {
                Some(separator) => text
                    .split(separator)
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .collect(),
                None => vec![&text],
            };
            sheet.set_all(
                row.name,
                parts
                    .into_iter()
                    .map(|part| Text::Plain(part.to_owned()))
                    .collect(),
                source,
            )
        }
    };
    if taken && row.name == "keepalive" {
        sheet.note("keepalive", "gunicorn's sync workers close every connection; rcorn's 75 seconds are more than proxies keep theirs.");
    }
}

/// One value as one would type it.
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

/// Workers times threads.
fn workers(concurrency: &Concurrency, sheet: &mut Sheet) {
    let number = |literal: &Literal| text(literal).parse::<u32>().ok();
    let count = concurrency
        .workers
        .as_ref()
        .and_then(|(literal, _)| number(literal));
    let threads = concurrency
        .threads
        .as_ref()
        .map(|(literal, source)| (number(literal), source));
    match (concurrency.workers.as_ref(), threads) {
        (Some((literal, source)), None) => plain_workers(literal, source, sheet),
        (workers, Some((Some(threads), source))) if threads <= 1 => {
            sheet.needless(source, "a worker runs one request at a time");
            if let Some((literal, source)) = workers {
                plain_workers(literal, source, sheet);
            }
        }
        (Some((_, source)), Some((Some(threads), of_threads))) if count.is_some() => {
            let count = count.unwrap_or(1);
            let product = Text::Plain(count.saturating_mul(threads).to_string());
            if sheet.set("workers", &product, source) {
                let note = format!(
                    "{count} workers with {threads} threads each: as many requests at a time. A worker of rcorn runs one request at a \
                     time; workers share the memory of the app."
                );
                sheet.note("workers", note);
                sheet.needless(of_threads, "it went into the number of workers");
            }
            sheet.refuse(of_threads);
        }
        (workers, Some((_, source))) => {
            sheet.leave(
                source,
                "a worker runs one request at a time: multiply the number of workers by it",
            );
            sheet.refuse(source);
            if let Some((literal, source)) = workers {
                plain_workers(literal, source, sheet);
            }
        }
        (None, None) => {}
    }
}

fn plain_workers(literal: &Literal, source: &Source, sheet: &mut Sheet) {
    if let Some(row) = TABLE.iter().find(|row| row.name == "workers") {
        value_of(row, literal, source, sheet);
    }
}
