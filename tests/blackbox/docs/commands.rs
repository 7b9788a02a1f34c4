//! The commands of README and the guides are run as they are written there.
//!
//! A fenced block `sh` is run; the blocks of a page are one session of a shell, in a scratch copy
//! of `examples` and `packaging`, with this rcorn on the PATH. A block `text` right after one is
//! what that one prints; a line `...` stands for any lines. What cannot be run says why in its info
//! string: `sh root` (a machine of its own), `sh cloud`, `sh build` (cargo, which has just run
//! these tests). Nothing else is left out, so that a new command is a tested one.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Need, ROOT, Server, lacks_for, program};

/// Why a block is not run here.
const MARKS: [&str; 3] = ["root", "cloud", "build"];

/// A fenced block.
#[derive(Debug)]
struct Block {
    info: String,
    text: String,
    /// The number of its line, and whether only empty lines are between the block before and it.
    line: usize,
    follows: bool,
}

/// All fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut is_open = false;
    let mut follows = false;
    for (number, line) in page.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            is_open = !is_open;
            if is_open {
                found.push(Block {
                    info: info.trim().to_owned(),
                    text: String::new(),
                    line: number + 1,
                    follows,
                });
            }
            follows = !is_open;
        } else if is_open {
            writeln!(found.last_mut().unwrap().text, "{line}").unwrap();
        } else if !line.is_empty() {
            follows = false;
        }
    }
    assert!(!is_open, "a block has no end");
    found
}

/// Whether the text is what was shown.
fn is_as_shown(shown: &str, text: &str) -> bool {
    let mut rest = text;
    let parts: Vec<&str> = shown.split("...\n").collect();
    let last = parts.len() - 1;
    for (number, part) in parts.iter().enumerate() {
        let found = if number == 0 {
            rest.starts_with(part).then_some(0)
        } else if number == last {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        match found {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || last > 0
}

/// What the commands of a page need of the machine.
fn needs(blocks: &[Block]) -> Vec<Need> {
    let run = blocks.iter().filter(|block| block.info == "sh");
    let text: String = run.map(|block| block.text.as_str()).collect();
    let mut needs = Vec::new();
    if text.contains("curl ") {
        needs.push(program("curl"));
    }
    if text.contains("openssl ") {
        needs.push(program("openssl"));
    }
    if text.contains("examples/deploy/run") {
        needs.extend([program("nginx"), program("supervisord"), Need::Packages]);
    }
    needs
}

/// The commands of a page as one script: the output of block N goes to `out.N`. And which of them
/// is to print which block.
fn script_of<'a>(name: &str, blocks: &'a [Block]) -> (String, Vec<(usize, &'a Block)>) {
    // A page that fails half-way would leave a supervisord in the background.
    let mut script = "set -eu\ntrap 'set +e; cat scratch/supervisord.pid 2> /dev/null | xargs -r kill; kill $(jobs -p) 2> /dev/null' EXIT\n".to_owned();
    let mut expected = Vec::new();
    let mut last = None;
    for (number, block) in blocks.iter().enumerate() {
        let mut words = block.info.split(' ');
        let kind = words.next().unwrap();
        match (kind, words.next()) {
            ("sh", None) => {
                let text = &block.text;
                writeln!(
                    script,
                    "{{ echo line {} >&2\n{text}}} > out.{number}",
                    block.line
                )
                .unwrap();
                last = Some(number);
            }
            ("sh", Some(mark)) => {
                assert!(MARKS.contains(&mark), "{name}:{}: {mark}?", block.line);
                last = None;
            }
            ("text", None) if block.follows && last.is_some() => {
                expected.push((last.unwrap(), block));
            }
            _ => {}
        }
    }
    (script, expected)
}

/// Runs a page.
fn run(name: &str) {
    let page = fs::read_to_string(Path::new(ROOT).join(name)).unwrap();
    let blocks = blocks(&page);
    if lacks_for(&format!("the commands of {name}"), &needs(&blocks)) {
        return;
    }
    let folder = TempDir::with_prefix("rcorn-docs-").unwrap();
    let copied = Command::new("cp")
        .arg("-R")
        .args(["examples", "packaging"].map(|part| Path::new(ROOT).join(part)))
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let (script, expected) = script_of(name, &blocks);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let script = script.replace("127.0.0.1:8000", &address);
    fs::write(folder.path().join("script"), script).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_rcorn")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let server = Server::without_app()
        .unbound()
        .program(["sh", "-c", "cd \"$0\" && exec sh script"])
        .args([folder.path()])
        .env("PATH", format!("{}:{path}", program.display()))
        .env("HOME", folder.path())
        .patience(Duration::from_mins(3))
        .start();
    let ended = server.exit();
    assert_eq!(ended.code(), Some(0), "{name}: {}", ended.text());
    for (number, block) in expected {
        let text = fs::read_to_string(folder.path().join(format!("out.{number}"))).unwrap();
        assert!(
            is_as_shown(&block.text, &text),
            "{name}:{}: it printed\n{text}",
            block.line
        );
    }
}

#[test]
fn the_commands_of_every_page_do_what_is_said() {
    let mut pages = vec!["README.md".to_owned(), "README.zh-CN.md".to_owned()];
    for entry in fs::read_dir(Path::new(ROOT).join("man/guide")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        pages.push(format!("man/guide/{name}"));
    }
    assert!(pages.len() > 6);
    for page in pages {
        run(&page);
    }
}

#[test]
fn both_readmes_show_the_same_commands() {
    let commands = |name: &str| -> Vec<String> {
        let page = fs::read_to_string(Path::new(ROOT).join(name)).unwrap();
        blocks(&page)
            .into_iter()
            .map(|block| block.info + "\n" + &block.text)
            .collect()
    };
    assert_eq!(commands("README.md"), commands("README.zh-CN.md"));
}

#[test]
fn what_is_shown_is_compared() {
    assert!(is_as_shown("a\nb\n", "a\nb\n"));
    assert!(!is_as_shown("a\n", "a\nb\n"));
    assert!(is_as_shown("a\n...\nc\n", "a\nb\nc\n"));
    assert!(!is_as_shown("a\n...\nc\n", "a\nb\n"));
    assert!(is_as_shown("...\nb\n", "a\nb\n"));
}
