//! Paths with wildcards, as shells and Python's `glob` know them: `*`, `?`, `[a-z]`, `[!a-z]`, and `**` for any number
//! of directories. A wildcard does not stand for the dot of a hidden file. Looks at nothing but texts.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

/// What one part of a path may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Just this.
    Literal(OsString),
    /// All names of this form.
    Wild(Vec<Sign>),
    /// Any number of directories that are not hidden.
    Deep,
}

/// One sign of a wild name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// `*`
    Many,
    /// `?`
    Any,
    /// One of these ranges; or, when `false`, none of them.
    Of(bool, Vec<(char, char)>),
    /// Itself.
    One(char),
}

impl Segment {
    /// Everything that is not hidden.
    pub(super) fn everything() -> Self {
        Self::Wild(vec![Sign::Many])
    }

    fn read(name: &OsStr) -> Self {
        match name.to_str() {
            Some("**") => Self::Deep,
            Some(text) if text.contains(['*', '?', '[']) => Self::Wild(signs(text)),
            Some(_) | None => Self::Literal(name.to_owned()),
        }
    }

    /// Whether a name has this form.
    pub(super) fn takes(&self, name: &OsStr, is_directory: bool) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Deep => is_directory && !is_hidden(name),
            Self::Wild(signs) => {
                let name: Vec<char> = name.to_string_lossy().chars().collect();
                let dots = signs.first() == Some(&Sign::One('.'));
                (dots || name.first() != Some(&'.')) && fits(signs, &name)
            }
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

fn signs(text: &str) -> Vec<Sign> {
    let mut signs = Vec::new();
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        rest = rest.strip_prefix(sign).unwrap_or_default();
        let next = match sign {
            '*' if signs.last() == Some(&Sign::Many) => continue,
            '*' => Sign::Many,
            '?' => Sign::Any,
            '[' => match class(rest) {
                Some((class, after)) => {
                    rest = after;
                    class
                }
                // Without its other half it is just a bracket.
                None => Sign::One('['),
            },
            other => Sign::One(other),
        };
        signs.push(next);
    }
    signs
}

/// What stands between brackets, and what follows. The first sign is one of the class even if it is a bracket.
fn class(text: &str) -> Option<(Sign, &str)> {
    let (wanted, text) = match text.strip_prefix('!') {
        Some(rest) => (false, rest),
        None => (true, text),
    };
    let first = text.chars().next()?;
    let end = text.strip_prefix(first)?.find(']')?;
    let (inside, after) = text.split_at_checked(end.saturating_add(first.len_utf8()))?;
    let mut ranges = Vec::new();
    let mut inside = inside.chars();
    while let Some(low) = inside.next() {
        let mut ahead = inside.clone();
        let high = if ahead.next() == Some('-') {
            ahead.next()
        } else {
            None
        };
        if high.is_some() {
            inside = ahead;
        }
        ranges.push((low, high.unwrap_or(low)));
    }
    Some((Sign::Of(wanted, ranges), after.strip_prefix(']')?))
}

fn fits(signs: &[Sign], name: &[char]) -> bool {
    match (signs.split_first(), name.split_first()) {
        (None, first) => first.is_none(),
        (Some((Sign::Many, rest)), _) => {
            (0..=name.len()).any(|skip| fits(rest, name.get(skip..).unwrap_or_default()))
        }
        (Some(_), None) => false,
        (Some((sign, signs)), Some((first, name))) => {
            let is_it = match sign {
                Sign::Many | Sign::Any => true,
                Sign::One(one) => one == first,
                Sign::Of(wanted, ranges) => {
                    let inside = |(low, high): &(char, char)| (low..=high).contains(&first);
                    ranges.iter().any(inside) == *wanted
                }
            };
            is_it && fits(signs, name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, name: &str) -> bool {
        Segment::read(OsStr::new(pattern)).takes(OsStr::new(name), false)
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
            assert!(takes(pattern, name), "{pattern} takes {name}");
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
            assert!(!takes(pattern, name), "{pattern} does not take {name}");
        }
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
        assert!(Segment::Deep.takes(OsStr::new("x"), true));
        assert!(!Segment::Deep.takes(OsStr::new("x"), false));
        assert!(!Segment::Deep.takes(OsStr::new(".x"), true));
    }
}
