//! The table of settings as blocks: flags for the command's page, full entries for the file's.

use clap::Command;
use serde_json::Value as Json;

use super::block::Block;
use super::pages::PAGES;
use rcorn_control as control;
use rcorn_oneshot::{self as oneshot, OneShot};
use rcorn_scoreboard::{Kind, Metric};
use rcorn_settings::{HOOKS, Hook, Section, Setting, Settings, Shape, TABLE};

/// What the names in the prose stand for.
pub(super) fn named(name: &str) -> Vec<Block> {
    match name {
        "ctl" => orders(),
        "oneshot" => OneShot::ALL.into_iter().flat_map(one_shot).collect(),
        "pages" => {
            let names: Vec<String> = PAGES
                .iter()
                .map(|page| format!("`{}`", page.name))
                .collect();
            vec![Block::Text(names.join(", "))]
        }
        "flags" => by_section(&flags),
        "variables" => TABLE.iter().filter_map(variable).collect(),
        "metrics" => Metric::ALL.iter().copied().map(metric).collect(),
        "hooks" => HOOKS.iter().map(hook).collect(),
        "settings" => by_section(&|row| Some(entry(row))),
        _ => Vec::new(),
    }
}

fn by_section(made: &dyn Fn(&Setting) -> Option<Block>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut section: Option<Section> = None;
    for row in TABLE {
        let Some(block) = made(row) else { continue };
        if section != Some(row.section) {
            section = Some(row.section);
            blocks.push(Block::Subheading(row.section.title().to_owned()));
        }
        blocks.push(block);
    }
    blocks
}

/// A hook, and when it is called.
fn hook(hook: &Hook) -> Block {
    let term = format!("`{}({})`", hook.name, hook.parameters.join(", "));
    let about = format!("In the {}: {}.", hook.process.name(), hook.when);
    Block::Item(term, vec![about])
}

/// A metric and its help; a gauge is marked as one.
fn metric(metric: Metric) -> Block {
    let kind = match metric.kind() {
        Kind::Counter => "",
        Kind::Gauge => " A gauge.",
    };
    let about = format!("{}{kind}", metric.help());
    Block::Item(format!("`{}`", metric.name()), vec![about])
}

/// All flags of a setting, as they are typed.
fn spelled(row: &Setting) -> String {
    let spelled = row.flags.iter().map(|flag| {
        let short = flag
            .short
            .map_or_else(String::new, |short| format!("`-{short}`, "));
        let value = flag
            .sets
            .map_or_else(|| format!(" {}", row.value_name), |_fixed| String::new());
        format!("{short}`--{}`{value}", flag.long)
    });
    spelled.collect::<Vec<_>>().join(", ")
}

/// What OPTIONS says of a setting: the first paragraph, and the default.
fn flags(row: &Setting) -> Option<Block> {
    let mut text = row.paragraphs().into_iter().next().unwrap_or_default();
    if let Some(default) = default_text(row).filter(|_| row.takes_value()) {
        text.extend([" The default is `", &default, "`."]);
    }
    (!row.flags.is_empty()).then(|| Block::Item(spelled(row), vec![text]))
}

fn variable(row: &'static Setting) -> Option<Block> {
    let variable = row.variable?;
    let about = match variable.doc {
        Some(doc) => doc.to_owned(),
        None => format!("The default of `{}`.", row.name),
    };
    Some(Block::Item(format!("`{}`", variable.name), vec![about]))
}

/// Everything about one setting.
fn entry(row: &Setting) -> Block {
    let mut paragraphs = row.paragraphs();
    let mut facts = vec![format!("Type: {}.", kind(row))];
    if !row.choices.is_empty() && row.shape != Shape::Switch {
        let words: Vec<String> = row.choices.iter().map(|word| format!("`{word}`")).collect();
        facts.push(format!("One of {}.", words.join(", ")));
    }
    facts.push(match default_text(row) {
        Some(default) => format!("Default: `{default}`."),
        None => "Default: none.".to_owned(),
    });
    facts.push(format!("A change takes effect {}.", row.effect.when()));
    if let Some(word) = row.positional {
        facts.push(format!("On the command line: {word}."));
    }
    if !row.flags.is_empty() {
        facts.push(format!("Flags: {}.", spelled(row)));
    }
    if let Some(variable) = row.variable {
        facts.push(format!("Variable: `{}`.", variable.name));
    }
    paragraphs.push(facts.join(" "));
    Block::Item(format!("`{}`", row.name), paragraphs)
}

/// What its value must be.
fn kind(row: &Setting) -> String {
    let lowered = if row.bounds.lowers {
        " (a larger one is lowered)"
    } else {
        ""
    };
    let one = format!("{}{}{lowered}", row.noun, row.bounds.words());
    match row.shape {
        Shape::Pairs => "a map of names and values".to_owned(),
        Shape::List => format!("a list, each {one}"),
        Shape::Text
        | Shape::Switch
        | Shape::Count
        | Shape::Joined
        | Shape::Pair
        | Shape::Mapping => one,
    }
}

/// The default of a setting in the shape it has.
pub(super) fn default_json(row: &Setting) -> Json {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    defaults.get(row.name).cloned().unwrap_or_default()
}

fn default_text(row: &Setting) -> Option<String> {
    Some((row.default)()).filter(|text| !text.is_empty())
}

/// The orders of `rcorn ctl`.
fn orders() -> Vec<Block> {
    let command = control::command();
    let orders = command.get_subcommands().map(|order| {
        let words = order.get_arguments().filter(|arg| !arg.is_global_set());
        let words: String = words.map(word_of).collect();
        let term = format!("`rcorn ctl {}`{words}", order.get_name());
        Block::Item(term, vec![about(order)])
    });
    let socket = "If one instance is running, it is found by itself; otherwise choose one with `--socket` PATH or \
                  `--pid` PID. `--json` prints the answer for programs.";
    let mut blocks: Vec<Block> = orders.collect();
    if let Some(Block::Item(_, paragraphs)) = blocks.first_mut() {
        paragraphs.push(socket.to_owned());
    }
    blocks
}

/// A one-shot command: its usage, what it does, and its options.
fn one_shot(one: OneShot) -> Vec<Block> {
    let mut command = oneshot::command(one);
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let about = command.get_about().map(ToString::to_string);
    let mut blocks = vec![
        Block::Subheading(format!("rcorn {}", one.word())),
        Block::Code(vec![usage]),
    ];
    for paragraph in about.unwrap_or_default().split("\n\n") {
        blocks.push(match paragraph.strip_prefix("  ") {
            Some(code) => Block::Code(code.split("\n  ").map(str::to_owned).collect()),
            None => Block::Text(paragraph.to_owned()),
        });
    }
    let options = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && arg.get_id() != "help");
    blocks.extend(options.map(option));
    blocks
}

/// A flag with its value and its help.
fn option(arg: &clap::Arg) -> Block {
    let short = arg.get_short().map(|short| format!("`-{short}`, "));
    let long = arg.get_long().unwrap_or_default();
    let takes_value = arg.get_action().takes_values();
    let names = arg.get_value_names().filter(|_| takes_value);
    let value: String = names
        .unwrap_or_default()
        .iter()
        .flat_map(|name| [" ", name.as_str()])
        .collect();
    let help = arg.get_help().map(ToString::to_string);
    let mut help = help.unwrap_or_default();
    if let Some(default) = arg.get_default_values().first() {
        help.extend([" The default is `", &default.to_string_lossy(), "`."]);
    }
    let term = format!("{}`--{long}`{value}", short.unwrap_or_default());
    Block::Item(term, vec![help])
}

fn word_of(arg: &clap::Arg) -> String {
    match (arg.get_long(), arg.get_value_names()) {
        (Some(long), _) => format!(" [`--{long}`]"),
        (None, Some(names)) => names.iter().flat_map(|name| [" ", name.as_str()]).collect(),
        (None, None) => String::new(),
    }
}

fn about(command: &Command) -> String {
    let helps = command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some() && !arg.is_global_set())
        .filter_map(|arg| {
            Some(format!(
                "`--{}`: {}",
                arg.get_long()?,
                lower(&arg.get_help()?.to_string())
            ))
        });
    let about = command.get_about().map(ToString::to_string);
    about.into_iter().chain(helps).collect::<Vec<_>>().join(" ")
}

/// Without a capital at the begin.
fn lower(text: &str) -> String {
    let mut signs = text.chars();
    let first = signs.next().map(|sign| sign.to_ascii_lowercase());
    first.into_iter().chain(signs).collect()
}
