//! The pages that `rcorn --generate` prints: made from the table of settings and from the prose beside this file.
//! Nothing else goes into them, no date and no place, so they are committed and compared with fresh output.
//!
//! Prose is parsed into blocks (`prose`), the table becomes blocks (`entries`), and blocks become mdoc (`mdoc`) or
//! Markdown (`markdown`). Called by `main`.
#![forbid(unsafe_code)]

mod block;
mod completions;
mod entries;
mod markdown;
mod mdoc;
mod prose;
mod template;

#[cfg(test)]
mod tests;

use std::io::Write;

use block::Block;

/// A page: its name for `--generate`, its file in the source tree, and how it is made.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// What `--generate` is told.
    pub name: &'static str,
    /// Where it is kept in the source tree.
    pub file: &'static str,
    make: fn() -> String,
}

const fn page(name: &'static str, file: &'static str, make: fn() -> String) -> Page {
    Page { name, file, make }
}

/// All pages.
pub const PAGES: [Page; 8] = [
    page("man", "man/rcorn.1", || COMMAND.manual()),
    page("settings-man", "man/rcorn.yaml.5", || SETTINGS.manual()),
    page("signals-man", "man/rcorn-signals.7", || SIGNALS.manual()),
    page("reference", "man/reference.md", reference),
    page("template", "examples/rcorn.yaml", template::template),
    page(
        "bash",
        "packaging/completions/rcorn.bash",
        completions::bash,
    ),
    page("zsh", "packaging/completions/_rcorn", completions::zsh),
    page(
        "fish",
        "packaging/completions/rcorn.fish",
        completions::fish,
    ),
];

impl Page {
    /// Its text.
    pub fn text(&self) -> String {
        (self.make)()
    }
}

/// One manual page.
struct Manual {
    name: &'static str,
    section: u8,
    about: &'static str,
    prose: &'static str,
}

const COMMAND: Manual = Manual {
    name: "rcorn",
    section: 1,
    about: "pre-fork server and supervisor for Python WSGI applications",
    prose: include_str!("command.md"),
};

const SETTINGS: Manual = Manual {
    name: "rcorn.yaml",
    section: 5,
    about: "settings of rcorn",
    prose: include_str!("settings.md"),
};

const SIGNALS: Manual = Manual {
    name: "rcorn-signals",
    section: 7,
    about: "what rcorn does upon signals",
    prose: include_str!("signals.md"),
};

impl Manual {
    fn blocks(&self) -> Vec<Block> {
        prose::parse(self.prose, &entries::named)
    }

    fn manual(&self) -> String {
        mdoc::page(self.name, self.section, self.about, &self.blocks())
    }
}

/// All manual pages as one Markdown file.
fn reference() -> String {
    let mut text =
        "# rcorn\n\nMade by `rcorn --generate reference` from the table of settings.\n".to_owned();
    for manual in [COMMAND, SETTINGS, SIGNALS] {
        let title = format!("{}({}): {}", manual.name, manual.section, manual.about);
        text.push_str(&markdown::part(&title, &manual.blocks()));
    }
    text
}

/// Prints the page of this name; gives the exit code.
pub fn run(name: &str) -> u8 {
    let Some(page) = PAGES.iter().find(|page| page.name == name) else {
        let names: Vec<&str> = PAGES.iter().map(|page| page.name).collect();
        let mut stderr = std::io::stderr();
        drop(writeln!(
            stderr,
            "rcorn: error: --generate: '{name}' is no page; hint: choose one of: {}",
            names.join(", ")
        ));
        return 2;
    };
    // A reader that left early (head) is no failure of ours.
    drop(std::io::stdout().write_all(page.text().as_bytes()));
    0
}
