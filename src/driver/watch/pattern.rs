//! Paths with wildcards, as in shells and Python's `glob`: `*`, `?`, `[a-z]`, `[!a-z]`, and `**`
//! for any number of directories. A wildcard does not stand for the dot of a hidden file. It works
//! on text alone.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

use glob::{MatchOptions, Pattern};

/// How names are matched: hidden files only by a pattern that begins with a dot.
const SHELL_LIKE: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What one part of a path may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// This name.
    Literal(OsString),
    /// All names that match.
    Wild(Pattern),
    /// Any number of directories that are not hidden.
    Deep,
}

impl Segment {
    /// Everything that is not hidden.
    pub(super) fn everything() -> Self {
        Self::read(OsStr::new("*"))
    }

    fn read(name: &OsStr) -> Self {
        let Some(text) = name.to_str() else {
            return Self::Literal(name.to_owned());
        };
        if text == "**" {
            return Self::Deep;
        }
        if !text.contains(['*', '?', '[']) {
            return Self::Literal(name.to_owned());
        }
        // Within a name `**` is `*`. A bracket without its counterpart is literal.
        let mut single = text.to_owned();
        while single.contains("**") {
            single = single.replace("**", "*");
        }
        Pattern::new(&single).map_or_else(|_invalid| Self::Literal(name.to_owned()), Self::Wild)
    }

    /// Whether a name matches.
    pub(super) fn matches(&self, name: &OsStr, is_directory: bool) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Deep => is_directory && !is_hidden(name),
            Self::Wild(pattern) => pattern.matches_with(&name.to_string_lossy(), SHELL_LIKE),
        }
    }
}

/// Whether a name begins with a dot.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().first() == Some(&b'.')
}

/// The parts of an absolute path.
pub(super) fn read(path: &Path) -> Vec<Segment> {
    let part = |component| match component {
        Component::Normal(name) => Some(Segment::read(name)),
        Component::ParentDir => Some(Segment::Literal("..".into())),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Segment::read(OsStr::new(pattern)).matches(OsStr::new(name), false)
    }

    #[test]
    fn names_fit_as_in_a_shell() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.html", "a.html"),
            ("*.html", "a.b.html"),
            ("a*b*c", "abxbc"),
            ("?.py", "ü.py"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]a]", "]"),
            ("[!]]", "a"),
            ("[a-]", "-"),
            (".e*", ".env"),
            ("a[b", "a[b"),
            ("**.py", "x.py"),
        ] {
            assert!(matches(pattern, name), "{pattern} matches {name}");
        }
        for (pattern, name) in [
            ("*", ".a"),
            ("?env", ".env"),
            ("[.]env", ".env"),
            ("*.html", "a.htm"),
            ("a*b*c", "acb"),
            ("[a-c]", "d"),
            ("[!a-c]", "a"),
            ("?", ""),
            ("?", "ab"),
            ("**.py", "x.pyc"),
        ] {
            assert!(!matches(pattern, name), "{pattern} does not match {name}");
        }
    }

    /// The pattern that took 2^n steps of our own matcher.
    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!matches(&format!("{}b", "*a".repeat(30)), &"a".repeat(250)));
    }

    #[test]
    fn a_path_has_its_parts() {
        let literal = |text: &str| Segment::Literal(text.into());
        assert_eq!(
            read(Path::new("/a/../b/**/*")),
            [
                literal("a"),
                literal(".."),
                literal("b"),
                Segment::Deep,
                Segment::everything()
            ]
        );
        assert!(Segment::Deep.matches(OsStr::new("x"), true));
        assert!(!Segment::Deep.matches(OsStr::new("x"), false));
        assert!(!Segment::Deep.matches(OsStr::new(".x"), true));
    }
}
