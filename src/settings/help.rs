//! `--help` and `--version`, from the table.

use clap::{Arg, Command};

use super::argv;
use super::rows::{Setting, TABLE};

const ABOUT: &str = "Serves a Python WSGI app with several processes.\n\n\
    APP_MODULE names the app: MODULE:CALLABLE, or MODULE:FACTORY('literal', name=1).\n\
    Flags are also read from GUNICORN_CMD_ARGS and RCORN_CMD_ARGS; the command line overrides them.\n\n\
    Other commands (each has --help):\n  \
    rcorn ctl COMMAND      show or control a running instance\n  \
    rcorn top              show what running instances do, live\n  \
    rcorn explain SETTING  show a value, its origin and what it overrides\n  \
    rcorn migrate FILE     translate a uwsgi.ini or gunicorn.conf.py into a rcorn.yaml\n  \
    rcorn cgi APP_MODULE   answer one CGI request (RFC 3875)\n  \
    rcorn invoke APP_MODULE --event FILE\n                         \
    answer one API-gateway event\n  \
    rcorn pack APP_MODULE --output FILE\n                         \
    write a zip for a function service";

/// The version, as gunicorn prints its own.
pub(super) fn version() -> String {
    format!("rcorn (version {})\n", env!("CARGO_PKG_VERSION"))
}

/// The help text, in the width of the terminal.
pub(super) fn help() -> String {
    described().render_help().to_string()
}

/// The parser with the text of every flag.
pub fn described() -> Command {
    let mut command = argv::command()
        .about(ABOUT)
        .help_template("usage: rcorn [OPTIONS] [APP_MODULE]\n\n{about}\n\n{all-args}\n");
    for row in TABLE {
        for (number, flag) in row.flags.iter().enumerate() {
            let id = if flag.sets.is_some() {
                flag.long
            } else {
                row.name
            };
            let text = if number == 0 || flag.sets.is_none() {
                entry(row)
            } else {
                opposite(row)
            };
            command = command.mut_arg(id, |arg: Arg| {
                arg.help_heading(row.section.title()).help(text)
            });
        }
    }
    command
}

/// The first paragraph of a setting's documentation, its choices, its variable and its default.
fn entry(row: &Setting) -> String {
    let mut text = row.summary();
    let takes_value = row.takes_value();
    if takes_value && !row.choices.is_empty() {
        text.extend([" [one of: ", &row.choices.join(", "), "]"]);
    }
    if let Some(variable) = row.variable {
        text.extend([" [env: ", variable.name, "]"]);
    }
    let default = (row.default)();
    if takes_value && !default.is_empty() {
        text.extend([" [default: ", &default, "]"]);
    }
    text
}

/// For `--no-preload` beside `--preload`.
fn opposite(row: &Setting) -> String {
    let first = row.flags.first().map_or("", |flag| flag.long);
    format!("The opposite of --{first}.")
}
