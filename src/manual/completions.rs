//! Completions for shells, made by clap from the same parser that reads the command line.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, ValueHint};
use clap_complete::Generator;
use clap_complete::aot::{Bash, Fish, Zsh, generate};

use super::pages::PAGES;
use rcorn_control as control;
use rcorn_migrate as migrate;
use rcorn_oneshot::{self as oneshot, OneShot};
use rcorn_settings::{Completes, Setting, TABLE, described};
use rcorn_top as top;

/// For bash.
pub(super) fn bash() -> String {
    made(Bash)
}

/// For zsh.
pub(super) fn zsh() -> String {
    made(Zsh)
}

/// For fish.
pub(super) fn fish() -> String {
    made(Fish)
}

fn made(shell: impl Generator) -> String {
    let mut text = Vec::new();
    generate(shell, &mut command(), "rcorn", &mut text);
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    format!("{}\n", lines.join("\n").trim_end())
}

/// The parser without what is accepted only for gunicorn's sake, and with hints where a path is
/// wanted.
fn command() -> Command {
    let described = described();
    let shown = described.get_arguments().filter(|arg| !arg.is_hide_set());
    Command::new("rcorn")
        // Asked for by the flag, and not shown.
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args(shown.map(hinted))
        .subcommand(named(control::command(), "ctl"))
        .subcommand(named(top::command(), "top"))
        .subcommand(named(migrate::command(), "migrate"))
        .subcommands(OneShot::ALL.map(|one| named(oneshot::command(one), one.word())))
}

fn named(command: Command, name: &'static str) -> Command {
    command.name(name).bin_name(format!("rcorn {name}"))
}

fn hinted(arg: &Arg) -> Arg {
    let arg = arg.clone().help_heading(None::<&str>);
    if arg.get_id() == "generate" {
        return arg.value_parser(PossibleValuesParser::new(PAGES.map(|page| page.name)));
    }
    let row = TABLE.iter().find(|row| arg.get_id() == row.name);
    match row {
        Some(row) if !row.choices.is_empty() => {
            arg.value_parser(PossibleValuesParser::new(row.choices))
        }
        Some(row) => arg.value_hint(hint(row)),
        None => arg,
    }
}

fn hint(row: &Setting) -> ValueHint {
    match row.completes {
        Completes::Nothing => ValueHint::Other,
        Completes::Path => ValueHint::FilePath,
        Completes::Directory => ValueHint::DirPath,
        Completes::User => ValueHint::Username,
    }
}
