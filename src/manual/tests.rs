//! Every setting is on every page, and pages say nothing that is not so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_yaml::Value;

use super::block::Block;
use super::{PAGES, mdoc, prose, text};
use rcorn_driver::HANDLED;
use rcorn_oneshot::{self as oneshot, OneShot};
use rcorn_scoreboard::Metric;
use rcorn_settings::{HOOKS, TABLE, described};

fn page(name: &str) -> String {
    PAGES
        .iter()
        .find(|page| page.name == name)
        .map(text)
        .unwrap()
}

#[test]
fn every_setting_is_on_every_page() {
    let pages = ["settings-man", "reference", "template"].map(page);
    for row in TABLE {
        assert!(
            pages[0].contains(&format!(".It \"\\&\\fB{}\\fR\"\n", row.name)),
            "{}",
            row.name
        );
        assert!(
            pages[1].contains(&format!("- **`{}`**\n", row.name)),
            "{}",
            row.name
        );
        assert!(
            pages[2].contains(&format!("\n#{}:", row.name)),
            "{}",
            row.name
        );
    }
}

#[test]
fn every_flag_and_variable_is_on_the_pages_of_the_command() {
    let man = page("man");
    let completions = ["bash", "zsh", "fish"].map(page);
    for row in TABLE {
        for flag in row.flags {
            let dashed = format!("--{}", flag.long);
            assert!(man.contains(&dashed.replace('-', "\\-")), "{dashed}");
            for text in &completions[..2] {
                assert!(text.contains(&dashed), "{dashed}");
            }
            assert!(
                completions[2].contains(&format!("-l {}", flag.long)),
                "{dashed}"
            );
        }
        assert!(
            row.variable
                .is_none_or(|variable| man.contains(variable.name)),
            "{}",
            row.name
        );
    }
}

#[test]
fn the_pages_in_the_source_tree_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bless = std::env::var_os("RCORN_BLESS").is_some();
    let mut stale = Vec::new();
    for page in PAGES {
        let (path, fresh) = (root.join(page.file), text(&page));
        if bless {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &fresh).unwrap();
        }
        if fs::read_to_string(&path).ok() != Some(fresh) {
            stale.push(page.file);
        }
    }
    assert!(
        stale.is_empty(),
        "{stale:?} are not what their sources say; this writes them:\n  \
         RCORN_BLESS=1 cargo test -p rcorn-manual"
    );
}

/// The commands beside the server.
const COMMANDS: [&str; 7] = [
    "rcorn ctl",
    "rcorn top",
    "rcorn explain",
    "rcorn migrate",
    "rcorn cgi",
    "rcorn invoke",
    "rcorn pack",
];

#[test]
fn every_command_is_on_the_page_and_in_the_completions() {
    let (man, reference) = (page("man"), page("reference"));
    for command in COMMANDS {
        assert!(man.contains(&format!("\n{command} ")), "{command}");
        assert!(reference.contains(&format!("{command} ")), "{command}");
    }
    for one in OneShot::ALL {
        let command = oneshot::command(one);
        for long in command.get_arguments().filter_map(clap::Arg::get_long) {
            if long != "help" {
                assert!(man.contains(&long.replace('-', "\\-")), "--{long}");
            }
        }
        for shell in ["bash", "zsh", "fish"] {
            let text = page(shell);
            assert!(text.contains(one.word()), "{} in {shell}", one.word());
        }
        assert!(page("bash").contains("--requirements"));
    }
}

/// The entry of a setting in rcorn.yaml(5), paragraph by paragraph, each on one line.
fn paragraphs_of(text: &str, name: &str) -> Vec<String> {
    let begin = format!(".It \"\\&\\fB{name}\\fR\"\n");
    let (_, rest) = text.split_once(&begin).unwrap();
    let end = rest.find("\n.It ").unwrap_or(rest.len());
    let end = rest.find("\n.El").unwrap_or(end).min(end);
    rest[..end]
        .split("\n.Pp\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect()
}

#[test]
fn paragraphs_of_a_setting_stay_paragraphs() {
    let (settings, command) = (page("settings-man"), page("man"));
    let template = page("template");
    for row in TABLE {
        // Those of its documentation, and one of facts.
        let shown = paragraphs_of(&settings, row.name);
        assert_eq!(
            shown.len(),
            row.paragraphs().len() + 1,
            "{}: {shown:?}",
            row.name
        );
        assert!(shown.last().unwrap().starts_with("Type: "), "{shown:?}");
    }
    // OPTIONS has the first paragraph and no other.
    assert!(command.contains("The number of workers, at least one."));
    assert!(
        !command.contains("cpu.max"),
        "the second paragraph is in OPTIONS"
    );
    assert!(settings.contains("cpu.max"));
    assert!(
        template.contains("\n##\n## `auto` starts one"),
        "{template}"
    );
}

#[test]
fn every_signal_is_on_its_page() {
    let text = page("signals-man");
    for number in HANDLED {
        let name = Signal::try_from(number).unwrap().as_str();
        let name = name.strip_prefix("SIG").unwrap();
        assert!(text.contains(&format!("\\fB{name}\\fR")), "{name}");
    }
}

#[test]
fn every_metric_is_on_the_page_of_the_command() {
    let (man, reference) = (page("man"), page("reference"));
    for metric in Metric::ALL {
        // Without the marks of words in bold.
        let flat = man
            .replace('\n', " ")
            .replace("\\fB", "")
            .replace("\\fR", "");
        let help = metric.help().replace('`', "");
        assert!(reference.contains(&format!("- **`{}`**\n", metric.name())));
        assert!(flat.contains(&help), "{}", metric.name());
    }
}

#[test]
fn pages_and_commands_are_in_the_help() {
    let help = described().render_help().to_string();
    let flat: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in PAGES
        .iter()
        .map(|page| page.name)
        .chain(COMMANDS)
        .chain(["--generate"])
    {
        assert!(flat.contains(name), "{name}");
    }
    let names: BTreeSet<&str> = PAGES.iter().map(|page| page.name).collect();
    assert_eq!(names.len(), PAGES.len());
}

#[test]
fn the_template_uncommented_has_the_defaults() {
    let template = page("template");
    let uncommented: String = template
        .lines()
        .flat_map(|line| [line.strip_prefix('#').unwrap_or(line), "\n"])
        .collect();
    let read: serde_yaml::Mapping = serde_yaml::from_str(&uncommented).unwrap();
    assert_eq!(read.len(), TABLE.len());
    for row in TABLE {
        assert_eq!(
            shown(read.get(row.name).unwrap()),
            (row.default)(),
            "{}",
            row.name
        );
    }
    // As it stands, it says nothing.
    assert_eq!(
        serde_yaml::from_str::<Value>(&template).unwrap(),
        Value::Null
    );
}

/// A value in the form of the command line.
fn shown(value: &Value) -> String {
    let all = |items: Vec<String>| items.join(",");
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(items) => all(items.iter().map(shown).collect()),
        Value::Mapping(map) => all(map
            .iter()
            .map(|(key, value)| format!("{}={}", shown(key), shown(value)))
            .collect()),
        Value::Tagged(tagged) => panic!("{tagged:?}"),
    }
}

#[test]
fn documentation_refers_to_settings_that_there_are() {
    let names: BTreeSet<&str> = TABLE.iter().map(|row| row.name).collect();
    let prose = [super::COMMAND, super::SETTINGS, super::SIGNALS].map(|manual| manual.prose);
    let texts = TABLE.iter().map(|row| row.doc).chain(prose);
    for text in texts {
        for word in text.split('`').skip(1).step_by(2) {
            let is_name = word.contains('_')
                && word
                    .chars()
                    .all(|sign| sign.is_ascii_lowercase() || sign == '_');
            // A param of nginx.
            let is_foreign = word.starts_with("uwsgi_pa");
            let is_hook = HOOKS.iter().any(|hook| hook.name == word);
            assert!(
                !is_name || is_foreign || is_hook || names.contains(word),
                "`{word}` in {text}"
            );
        }
    }
}

#[test]
fn every_page_is_complete_and_has_no_date() {
    for page in PAGES {
        let text = text(&page);
        assert!(
            text.ends_with('\n') && !text.contains("{{"),
            "{}",
            page.name
        );
        assert!(
            !text.contains(" 202") && !text.contains(env!("CARGO_MANIFEST_DIR")),
            "{}",
            page.name
        );
        let blank = text.lines().find(|line| line.ends_with(' '));
        assert_eq!(blank, None, "{}", page.name);
    }
}

#[test]
fn prose_becomes_blocks() {
    let named = |name: &str| vec![Block::Text(name.to_uppercase())];
    let blocks = prose::parse(
        "# A\n\nOne {{x}} two.\n\n    code\n    more\n\n`t`\n: About.\n\n{{y}}\n",
        &named,
    );
    let text = |text: &str| text.to_owned();
    let expected = [
        Block::Heading(text("A")),
        Block::Text(text("One X two.")),
        Block::Code(vec![text("code"), text("more")]),
        Block::Item(text("`t`"), vec![text("About.")]),
        Block::Text(text("Y")),
    ];
    assert_eq!(blocks, expected);
}

#[test]
fn nothing_in_a_text_is_taken_for_a_request() {
    let blocks = [
        Block::Text(".Sh no request. Nor 'this. `a-b \\n`".to_owned()),
        Block::Code(vec![".x".to_owned()]),
    ];
    let page = mdoc::page("x", 1, "y", &blocks);
    let begin = page.find(".Nd y\n").unwrap();
    assert_eq!(
        &page[begin..],
        ".Nd y\n\\&.Sh no request.\nNor \\(aqthis.\n\\fBa\\-b \\en\\fR\n.Bd -literal -offset indent\n\\&.x\n.Ed\n"
    );
}
