//! The table of settings as blocks: flags for the command's page, full entries for the file's.

use clap::Command;
use serde_json::Value as Json;

use super::PAGES;
use super::block::Block;
use rcorn_control as control;
use rcorn_migrate::yaml::is_map;
use rcorn_settings::{Effect, HOOKS, Hook, Section, Setting, Settings, TABLE};

/// What the names in the prose stand for.
pub(super) fn named(name: &str) -> Vec<Block> {
    match name {
        "ctl" => orders(),
        "pages" => {
            let names: Vec<String> = PAGES
                .iter()
                .map(|page| format!("`{}`", page.name))
                .collect();
            vec![Block::Text(names.join(", "))]
        }
        "flags" => by_section(&flags),
        "variables" => TABLE.iter().filter_map(variable).collect(),
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
    let (place, when) = hook.when.split_once(": ").unwrap_or(("", hook.when));
    Block::Item(term, vec![format!("In the {place}: {when}.")])
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

fn flags(row: &Setting) -> Option<Block> {
    let summary = row.doc.split("\n \n").next().unwrap_or_default();
    let mut text = flat(summary);
    if default_text(row).is_some() && row.flags.iter().any(|flag| flag.sets.is_none()) {
        text.extend([" The default is `", &(row.default)(), "`."]);
    }
    (!row.flags.is_empty()).then(|| Block::Item(spelled(row), vec![text]))
}

fn variable(row: &'static Setting) -> Option<Block> {
    let about = match row.variable? {
        "PORT" => {
            "The port to listen on, at all addresses: the default of `bind` becomes `0.0.0.0:PORT`."
                .to_owned()
        }
        _ => format!("The default of `{}`.", row.name),
    };
    Some(Block::Item(format!("`{}`", row.variable?), vec![about]))
}

/// Everything about one setting.
fn entry(row: &Setting) -> Block {
    let mut paragraphs: Vec<String> = row.doc.split("\n \n").map(flat).collect();
    let mut facts = vec![format!("Type: {}.", kind(row))];
    if !row.choices.is_empty() && row.choices != ["true", "false"] {
        let words: Vec<String> = row.choices.iter().map(|word| format!("`{word}`")).collect();
        facts.push(format!("One of {}.", words.join(", ")));
    }
    facts.push(match default_text(row) {
        Some(default) => format!("Default: `{default}`."),
        None => "Default: none.".to_owned(),
    });
    facts.push(format!("Takes effect {}.", effect(row.effect)));
    if row.name == "wsgi_app" {
        facts.push("On the command line: APP_MODULE.".to_owned());
    }
    if !row.flags.is_empty() {
        facts.push(format!("Flags: {}.", spelled(row)));
    }
    if let Some(variable) = row.variable {
        facts.push(format!("Variable: `{variable}`."));
    }
    paragraphs.push(facts.join(" "));
    Block::Item(format!("`{}`", row.name), paragraphs)
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Boot => "when rcorn is started anew",
        Effect::Reload => "at a reload (HUP)",
        Effect::Upgrade => "with the next executable (USR2)",
    }
}

/// What its value must be.
fn kind(row: &Setting) -> String {
    let lowered = if row.bounds.lowers {
        " (more is lowered)"
    } else {
        ""
    };
    let one = format!("{}{}{lowered}", row.noun, row.bounds.words());
    match default_json(row) {
        Json::Array(_) if is_map(row) => "a map of names and values".to_owned(),
        Json::Array(_) => format!("a list, each {one}"),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => one,
    }
}

/// The default of a setting in the shape it has.
pub(super) fn default_json(row: &Setting) -> Json {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    defaults.get(row.name).cloned().unwrap_or_default()
}

/// The lines of a paragraph as one.
fn flat(paragraph: &str) -> String {
    let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
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
    let socket = "It finds the instance by itself when there is one; `--socket` PATH or `--pid` PID says which otherwise. \
                  `--json` is for programs.";
    let mut blocks: Vec<Block> = orders.collect();
    if let Some(Block::Item(_, paragraphs)) = blocks.first_mut() {
        paragraphs.push(socket.to_owned());
    }
    blocks
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
