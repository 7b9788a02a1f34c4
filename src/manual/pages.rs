//! The pages that there are.

/// A page.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The argument of `--generate`.
    pub name: &'static str,
    /// Its path in the source tree.
    pub file: &'static str,
    pub(super) contents: Contents,
}

/// What is on a page.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contents {
    /// rcorn(1).
    Command,
    /// rcorn.yaml(5).
    Settings,
    /// rcorn-signals(7).
    Signals,
    /// All manual pages.
    Reference,
    /// A configuration file with all settings.
    Template,
    /// Completions for a shell.
    Bash,
    Zsh,
    Fish,
}

const fn page(name: &'static str, file: &'static str, contents: Contents) -> Page {
    Page {
        name,
        file,
        contents,
    }
}

/// All pages.
pub const PAGES: [Page; 8] = [
    page("man", "man/rcorn.1", Contents::Command),
    page("settings-man", "man/rcorn.yaml.5", Contents::Settings),
    page("signals-man", "man/rcorn-signals.7", Contents::Signals),
    page("reference", "man/reference.md", Contents::Reference),
    page("template", "examples/rcorn.yaml", Contents::Template),
    page("bash", "packaging/completions/rcorn.bash", Contents::Bash),
    page("zsh", "packaging/completions/_rcorn", Contents::Zsh),
    page("fish", "packaging/completions/rcorn.fish", Contents::Fish),
];
