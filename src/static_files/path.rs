//! From the path of a request target to names below a directory.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The path of a request, decoded and divided at its slashes. Empty segments are left out, so that
/// `//a` names the same file as `/a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    names: Vec<Vec<u8>>,
    /// The path ends with a slash: it names a directory.
    pub(crate) is_directory: bool,
}

impl Segments {
    /// `None` for a path that names no file here, and never may: one with `.` or `..` or a hidden
    /// name as a segment, with an encoded slash or a NUL, or with an incomplete escape (RFC 3986
    /// section 2.1).
    pub(crate) fn of(path: &[u8]) -> Option<Self> {
        let path = path.strip_prefix(b"/")?;
        let is_directory = path.is_empty() || path.ends_with(b"/");
        let names = path
            .split(|byte| *byte == b'/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| decode(segment).filter(|name| is_servable(name)))
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            names,
            is_directory,
        })
    }

    /// The names after those of `prefix`; `None` if it begins with others.
    pub(crate) fn below(&self, prefix: &[Vec<u8>]) -> Option<&[Vec<u8>]> {
        self.names.strip_prefix(prefix)
    }

    /// All names.
    pub(crate) fn names(&self) -> &[Vec<u8>] {
        &self.names
    }
}

/// A relative path of these names.
pub(crate) fn joined(names: &[Vec<u8>]) -> PathBuf {
    names
        .iter()
        .map(|name| OsString::from_vec(name.clone()))
        .collect()
}

fn decode(segment: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(segment.len());
    let mut bytes = segment.iter().copied();
    while let Some(byte) = bytes.next() {
        name.push(if byte == b'%' {
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            high << 4 | low
        } else {
            byte
        });
    }
    Some(name)
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Hidden names are for tools (`.git`, `.env`), and never for clients.
fn is_servable(name: &[u8]) -> bool {
    !name.starts_with(b".") && !name.iter().any(|byte| matches!(byte, 0 | b'/' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Option<String> {
        let segments = Segments::of(target.as_bytes())?;
        let path = joined(segments.names()).to_str().unwrap().to_owned();
        Some(path + if segments.is_directory { "/" } else { "" })
    }

    #[test]
    fn a_path_is_decoded_segment_by_segment() {
        for (target, expected) in [
            ("/a/b.css", "a/b.css"),
            ("//a///b.css", "a/b.css"),
            ("/a/", "a/"),
            ("/", "/"),
            ("/%61/b%20c", "a/b c"),
            ("/caf%C3%A9", "café"),
            ("/a.b..c", "a.b..c"),
            ("/a+b", "a+b"),
        ] {
            assert_eq!(path(target).as_deref(), Some(expected), "{target}");
        }
    }

    #[test]
    fn no_way_leads_out_or_to_a_hidden_file() {
        for target in [
            "/..",
            "/a/../b",
            "/a/..",
            "/./a",
            "/%2e%2e/a",
            "/.%2E/a",
            "/%2E/a",
            "/.git/config",
            "/a/.env",
            "/%2egit",
            "/a%2fb",
            "/a%2F..%2Fb",
            "/a%00.css",
            "/a%5cb",
            "/a\\b",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "",
            "a",
            "*",
            "..",
        ] {
            assert_eq!(path(target), None, "{target}");
        }
    }

    #[test]
    fn a_prefix_is_whole_names() {
        let segments = Segments::of(b"/static/css/a.css").unwrap();
        let prefix = |text: &str| Segments::of(text.as_bytes()).unwrap().names;
        let below = |text: &str| segments.below(&prefix(text)).map(<[_]>::len);
        assert_eq!(below("/static"), Some(2));
        assert_eq!(below("/static/"), Some(2));
        assert_eq!(below("/"), Some(3));
        assert_eq!(below("/stat"), None);
        assert_eq!(below("/static/css/a.css"), Some(0));
    }
}
