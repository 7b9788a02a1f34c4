//! The corpus as values: what is sent on one connection, and what must come of it. Shared by the
//! tests of the parser and those over a socket; README.md beside it tells the format. Knows nothing
//! of the parser.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Its path below the corpus, without the extension.
    pub(crate) name: String,
    /// Settings that are not as usual.
    pub(crate) settings: Vec<(String, String)>,
    /// What the client sends.
    pub(crate) sent: Vec<u8>,
    /// What comes of it.
    pub(crate) outcome: Outcome,
}

/// What must come of the bytes of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whom the PROXY header names.
    pub(crate) client: Option<String>,
    /// The requests in order.
    pub(crate) requests: Vec<Request>,
    /// What is said of the rest.
    pub(crate) end: End,
}

/// One request as it must be understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Method, target and version.
    pub(crate) line: Vec<u8>,
    /// `Name: value`.
    pub(crate) fields: Vec<Vec<u8>>,
    /// The authority of its target, which counts more than Host.
    pub(crate) authority: Option<Vec<u8>>,
    /// The client waits for `100 Continue`.
    pub(crate) expects: bool,
    /// Its body.
    pub(crate) body: Body,
}

/// How a body was delimited, and what was in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none.
    #[default]
    None,
    /// By Content-Length.
    Length(Vec<u8>),
    /// By the chunked coding.
    Chunked(Vec<u8>),
}

/// How the bytes end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// With the last request; the connection waits for the next.
    #[default]
    Open,
    /// After its last request; whatever follows is not looked at.
    Closed,
    /// In the middle of a request.
    More,
    /// With a refusal; whatever follows is not looked at.
    Refused(u16, String),
}

impl Case {
    /// All files of the corpus, by name.
    pub(crate) fn all() -> Vec<Self> {
        // The tests of a member of the workspace have its own folder here.
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let mut corpora = folders.map(|folder| folder.join("tests/corpus"));
        Self::all_in(&corpora.find(|corpus| corpus.is_dir()).unwrap())
    }

    /// All files below this folder.
    pub(crate) fn all_in(root: &Path) -> Vec<Self> {
        let mut paths = Vec::new();
        find(root, &mut paths);
        paths.sort();
        let read = |path: &PathBuf| {
            let name = path.strip_prefix(root).unwrap().with_extension("");
            let name = name.to_str().unwrap();
            Self::parse(name, &fs::read_to_string(path).unwrap())
        };
        paths.iter().map(read).collect()
    }

    fn parse(name: &str, text: &str) -> Self {
        let (mut settings, mut sent, mut variables) = (Vec::new(), Vec::new(), Vec::new());
        let mut outcome = Outcome::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let bytes = unescape(rest).unwrap_or_else(|| panic!("{name}: escape in {line:?}"));
            let last = outcome.requests.last_mut();
            match (word, last) {
                ("", _) if rest.is_empty() => {}
                ("set", _) => {
                    let (name, value) = rest.split_once(' ').unwrap();
                    settings.push((name.to_owned(), value.to_owned()));
                }
                ("line", _) => sent.extend([&bytes[..], b"\r\n"].concat()),
                ("send", _) => sent.extend(bytes),
                ("variable", _) => {
                    let middle = bytes.iter().position(|byte| *byte == b'=').unwrap();
                    for part in [&bytes[..middle], &bytes[middle + 1..]] {
                        variables.extend(u16::try_from(part.len()).unwrap().to_le_bytes());
                        variables.extend(part);
                    }
                }
                ("client", None) => outcome.client = Some(rest.to_owned()),
                ("request", _) => outcome.requests.push(Request {
                    line: bytes,
                    ..Request::default()
                }),
                ("field", Some(request)) => request.fields.push(bytes),
                ("authority", Some(request)) => request.authority = Some(bytes),
                ("expects", Some(request)) => request.expects = true,
                ("body", Some(request)) => request.body = Body::Length(bytes),
                ("chunked", Some(request)) => request.body = Body::Chunked(bytes),
                ("close", _) => outcome.end = End::Closed,
                ("more", _) => outcome.end = End::More,
                ("refused", _) => {
                    let (status, refusal) = rest.split_once(' ').unwrap();
                    outcome.end = End::Refused(status.parse().unwrap(), refusal.to_owned());
                }
                _ => panic!("{name}: what is {line:?}?"),
            }
        }
        if !variables.is_empty() {
            let size = u16::try_from(variables.len()).unwrap().to_le_bytes();
            sent = [&[0][..], &size, &[0], &variables, &sent].concat();
        }
        assert!(!sent.is_empty(), "{name} sends nothing");
        Self {
            name: name.to_owned(),
            settings,
            sent,
            outcome,
        }
    }
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, paths);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "http")
        {
            paths.push(path);
        }
    }
}

/// Bytes of a text with escapes; `None` when one is wrong.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('\\') {
        bytes.extend(rest[..at].bytes());
        rest = &rest[at + 1..];
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        match kind {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            's' => bytes.push(b' '),
            '0' => bytes.push(0),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = &rest[2..];
            }
            '(' => {
                let (inner, after) = rest.split_once(')')?;
                let (what, times) = inner.rsplit_once('*')?;
                bytes.extend(unescape(what)?.repeat(times.parse().ok()?));
                rest = after;
            }
            _ => return None,
        }
    }
    bytes.extend(rest.bytes());
    Some(bytes)
}

/// Bytes as the corpus writes them.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").unwrap(),
        }
    }
    text
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(client) = &self.client {
            writeln!(f, "client {client}")?;
        }
        for request in &self.requests {
            writeln!(f, "request {}", escape(&request.line))?;
            for field in &request.fields {
                writeln!(f, "field {}", escape(field))?;
            }
            if let Some(authority) = &request.authority {
                writeln!(f, "authority {}", escape(authority))?;
            }
            if request.expects {
                writeln!(f, "expects")?;
            }
            match &request.body {
                Body::None => {}
                Body::Length(body) => writeln!(f, "body {}", escape(body))?,
                Body::Chunked(body) => writeln!(f, "chunked {}", escape(body))?,
            }
        }
        match &self.end {
            End::Open => Ok(()),
            End::Closed => writeln!(f, "close"),
            End::More => writeln!(f, "more"),
            End::Refused(status, refusal) => writeln!(f, "refused {status} {refusal}"),
        }
    }
}
