//! Static files: which file answers a request, and with which fields (RFC 9110). Reads only below
//! the directories that it is given; knows no connection and no Python.
#![forbid(unsafe_code)]

mod conditions;
mod encoding;
mod path;
mod range;
mod root;

use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use glob::Pattern;

use conditions::{Conditions, Validators, Verdict};
use encoding::{Encoding, accepted};
use path::{Segments, joined};
use range::{Range, Wanted};
use root::Root;

/// The parts of a file that are asked for together are read into memory up to this size. For more
/// the whole file is sent, as RFC 9110 section 14.2 allows.
const MAX_JOINED_BYTES: u64 = 1 << 20;

/// The value of Cache-Control for a file whose name has a hash of its contents.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Which files are served, and how.
#[derive(Debug, Default)]
pub struct StaticFiles {
    /// The longest prefix first.
    maps: Vec<Map>,
    /// Values of Cache-Control for paths.
    cache: Vec<(Pattern, String)>,
    /// The file that stands for its directory.
    index: Option<String>,
}

#[derive(Debug)]
struct Map {
    prefix: Vec<Vec<u8>>,
    root: Root,
}

/// A request, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The path of the target, not decoded.
    pub path: &'a [u8],
    /// The fields: names as they were sent, and values.
    pub fields: &'a [(&'a [u8], &'a [u8])],
}

/// What a request for a path below a prefix gets.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Field lines, each with its line end. Those about the connection, and Date, are up to the
    /// caller.
    pub fields: String,
    /// What follows the head; nothing for HEAD.
    pub body: Body,
}

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// None.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes of a file.
    File {
        /// The file.
        file: File,
        /// Where they begin.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// Who answers a request.
#[derive(Debug)]
pub enum Answer {
    /// The path is below no prefix.
    NotOurs,
    /// It is below one, and there is no such file, or the method is neither GET nor HEAD. The
    /// response says so, unless somebody else answers.
    Missing(Response),
    /// This.
    Response(Response),
}

impl StaticFiles {
    /// Files for paths that begin with these prefixes, from these directories (or single files).
    /// `cache`: patterns of paths, and the value of Cache-Control for each. What is not well-formed
    /// has no effect: the settings were checked before.
    #[must_use]
    pub fn new(
        maps: impl IntoIterator<Item = (String, PathBuf)>,
        cache: impl IntoIterator<Item = (String, String)>,
        index: Option<String>,
    ) -> Self {
        let cache = cache.into_iter().filter_map(|(pattern, value)| {
            let pattern = Pattern::new(&pattern).ok()?;
            Some((pattern, value))
        });
        let maps = maps.into_iter().filter_map(|(prefix, path)| {
            let prefix = Segments::of(prefix.as_bytes())?.names().to_vec();
            let root = Root::at(path);
            Some(Map { prefix, root })
        });
        let mut maps: Vec<Map> = maps.collect();
        maps.sort_by_key(|map| std::cmp::Reverse(map.prefix.len()));
        Self {
            maps,
            cache: cache.collect(),
            index,
        }
    }

    /// Answers a request.
    #[must_use]
    pub fn answer(&self, request: &Request<'_>) -> Answer {
        let Some(segments) = Segments::of(request.path) else {
            return self.outlawed(request);
        };
        let below = |map: &'_ Map| {
            segments
                .below(&map.prefix)
                .map(|names| (map.prefix.len(), joined(names)))
        };
        let found = self.maps.iter().find_map(|map| Some((map, below(map)?)));
        let Some((map, (_, mut relative))) = found else {
            return Answer::NotOurs;
        };
        let is_head = request.method == b"HEAD";
        if !is_head && request.method != b"GET" {
            return Answer::Missing(Response::page(405, "Allow: GET, HEAD\r\n", false));
        }
        if segments.is_directory {
            match &self.index {
                Some(index) => relative.push(index),
                None => return Answer::Missing(Response::page(404, "", is_head)),
            }
        }
        match self.serve(map, &relative, request, is_head) {
            Ok(response) => Answer::Response(response),
            Err(error) if is_missing(&error) => Answer::Missing(Response::page(404, "", is_head)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Answer::Response(Response::page(403, "", is_head))
            }
            Err(_refused) => Answer::Response(Response::page(500, "", is_head)),
        }
    }

    /// A path that names no file anywhere, but may be meant for us: the beginning decides.
    fn outlawed(&self, request: &Request<'_>) -> Answer {
        let names = request.path.split(|byte| *byte == b'/').skip(1);
        let names: Vec<Vec<u8>> = names
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        let is_ours = self.maps.iter().any(|map| names.starts_with(&map.prefix));
        if is_ours {
            Answer::Missing(Response::page(404, "", request.method == b"HEAD"))
        } else {
            Answer::NotOurs
        }
    }

    fn serve(
        &self,
        map: &Map,
        relative: &Path,
        request: &Request<'_>,
        is_head: bool,
    ) -> io::Result<Response> {
        let file = map.root.open(relative)?;
        let about = regular(&file)?;
        let name = if relative.as_os_str().is_empty() {
            map.root.path()
        } else {
            relative
        };
        let kind = Kind::of(name);
        let mut fields = String::new();
        let mut found = Found {
            file,
            about,
            encoding: None,
        };
        if kind.is_compressible {
            fields.push_str("Vary: Accept-Encoding\r\n");
            found = found.compressed(map, name, relative, request.field("accept-encoding"));
        }
        if let Some(cache) = self.cache_control(request.path, name) {
            line(&mut fields, "Cache-Control", cache);
        }
        found.respond(&kind, fields, request, is_head)
    }

    fn cache_control(&self, path: &[u8], name: &Path) -> Option<&str> {
        let path = String::from_utf8_lossy(path);
        let mut rules = self.cache.iter();
        rules
            .find(|(pattern, _)| pattern.matches(&path))
            .map(|(_, value)| value.as_str())
            .or_else(|| has_hash(name).then_some(IMMUTABLE))
    }
}

/// A file, or a compressed form of it.
#[derive(Debug)]
struct Found {
    file: File,
    about: Metadata,
    encoding: Option<Encoding>,
}

impl Found {
    /// The form that the client likes best and that lies beside the file. One that is older than
    /// the file is not a form of it any more.
    fn compressed(self, map: &Map, name: &Path, relative: &Path, accepts: Option<&[u8]>) -> Self {
        for encoding in accepts.map(accepted).unwrap_or_default() {
            let mut path = name.as_os_str().to_owned();
            path.push(encoding.suffix);
            let file = if relative.as_os_str().is_empty() {
                File::open(path)
            } else {
                map.root.open(Path::new(&path))
            };
            let found = file.and_then(|file| Ok((regular(&file)?, file)));
            if let Ok((about, file)) = found
                && about.mtime() >= self.about.mtime()
            {
                return Self {
                    file,
                    about,
                    encoding: Some(encoding),
                };
            }
        }
        self
    }

    fn respond(
        self,
        kind: &Kind,
        mut fields: String,
        request: &Request<'_>,
        is_head: bool,
    ) -> io::Result<Response> {
        let size = self.about.len();
        let validators = Validators::new(size, self.about.mtime(), self.about.mtime_nsec());
        line(&mut fields, "ETag", &validators.etag);
        let conditions = request.conditions();
        match validators.judge(&conditions) {
            Verdict::Send => {}
            Verdict::NotModified => {
                return Ok(Response {
                    status: 304,
                    fields,
                    body: Body::Empty,
                });
            }
            Verdict::Failed => return Ok(Response::page(412, "", is_head)),
        }
        let modified = httpdate::fmt_http_date(validators.modified);
        line(&mut fields, "Last-Modified", &modified);
        fields.push_str("Accept-Ranges: bytes\r\n");
        if let Some(encoding) = self.encoding {
            line(&mut fields, "Content-Encoding", encoding.name);
        }
        let wanted = request
            .field("range")
            .filter(|_| !is_head && validators.allow_range(&conditions))
            .map_or(Wanted::All, |field| Wanted::of(field, size));
        match wanted {
            Wanted::Nothing => {
                let extra = format!("Content-Range: bytes */{size}\r\n");
                Ok(Response::page(416, &extra, is_head))
            }
            Wanted::Parts(ranges) => match *ranges {
                [range] => Ok(self.part(kind, fields, range)),
                _ if joined_length(&ranges) <= MAX_JOINED_BYTES => {
                    self.parts(kind, fields, &ranges)
                }
                _ => Ok(self.whole(kind, fields, is_head)),
            },
            Wanted::All => Ok(self.whole(kind, fields, is_head)),
        }
    }

    fn whole(self, kind: &Kind, mut fields: String, is_head: bool) -> Response {
        let size = self.about.len();
        kind.describe(&mut fields, size);
        let body = if is_head || size == 0 {
            Body::Empty
        } else {
            Body::File {
                file: self.file,
                offset: 0,
                length: size,
            }
        };
        Response {
            status: 200,
            fields,
            body,
        }
    }

    fn part(self, kind: &Kind, mut fields: String, range: Range) -> Response {
        let size = self.about.len();
        line(&mut fields, "Content-Range", &range.content_range(size));
        kind.describe(&mut fields, range.length());
        Response {
            status: 206,
            fields,
            body: Body::File {
                file: self.file,
                offset: range.first,
                length: range.length(),
            },
        }
    }

    /// Several parts in one body (RFC 9110 section 14.6).
    fn parts(self, kind: &Kind, mut fields: String, ranges: &[Range]) -> io::Result<Response> {
        let size = self.about.len();
        let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut body = Vec::new();
        for range in ranges {
            let head = format!(
                "--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                kind.content_type,
                range.content_range(size)
            );
            body.extend_from_slice(head.as_bytes());
            let mut part = vec![0; usize::try_from(range.length()).unwrap_or(0)];
            self.file.read_exact_at(&mut part, range.first)?;
            body.extend_from_slice(&part);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        line(&mut fields, "Content-Type", &content_type);
        line(&mut fields, "Content-Length", &body.len().to_string());
        Ok(Response {
            status: 206,
            fields,
            body: Body::Bytes(body),
        })
    }
}

fn joined_length(ranges: &[Range]) -> u64 {
    ranges.iter().map(|range| range.length()).sum()
}

impl<'a> Request<'a> {
    /// The value of a field; the name in lower case. That of several fields of the name is not
    /// joined: the first is taken.
    fn field(&self, name: &str) -> Option<&'a [u8]> {
        let mut fields = self.fields.iter();
        fields
            .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    fn conditions(&self) -> Conditions<'a> {
        Conditions {
            matches: self.field("if-match"),
            none_match: self.field("if-none-match"),
            modified_since: self.field("if-modified-since"),
            unmodified_since: self.field("if-unmodified-since"),
            range: self.field("if-range"),
        }
    }
}

impl Response {
    /// A line of text instead of a file.
    fn page(status: u16, extra: &str, is_head: bool) -> Self {
        let text = format!("{status} {}\n", reason(status));
        let mut fields = extra.to_owned();
        line(&mut fields, "Content-Type", "text/plain; charset=utf-8");
        line(&mut fields, "Content-Length", &text.len().to_string());
        Self {
            status,
            fields,
            body: if is_head {
                Body::Empty
            } else {
                Body::Bytes(text.into_bytes())
            },
        }
    }
}

/// The reason phrase of a status that is used here (RFC 9110 section 15).
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        _ => "Internal Server Error",
    }
}

/// What a file is, by its name.
#[derive(Debug)]
struct Kind {
    content_type: String,
    /// Compressed forms of it may lie beside it.
    is_compressible: bool,
}

impl Kind {
    fn of(name: &Path) -> Self {
        let kind = mime_guess::from_path(name).first_raw();
        let kind = kind.unwrap_or("application/octet-stream");
        let is_text = kind.starts_with("text/") || kind == "application/javascript";
        let packed = [
            "image/",
            "video/",
            "audio/",
            "font/woff",
            "application/zip",
            "application/gzip",
        ];
        let is_packed = packed.iter().any(|packed| kind.starts_with(packed));
        Self {
            content_type: if is_text {
                format!("{kind}; charset=utf-8")
            } else {
                kind.to_owned()
            },
            is_compressible: kind == "image/svg+xml"
                || !is_packed && kind != "application/octet-stream",
        }
    }

    fn describe(&self, fields: &mut String, length: u64) {
        line(fields, "Content-Type", &self.content_type);
        line(fields, "Content-Length", &length.to_string());
    }
}

fn line(fields: &mut String, name: &str, value: &str) {
    // Writing to a String does not fail.
    write!(fields, "{name}: {value}\r\n").ok();
}

/// A directory, a device or a FIFO is no file to serve.
fn regular(file: &File) -> io::Result<Metadata> {
    let about = file.metadata()?;
    if about.is_file() {
        Ok(about)
    } else {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}

/// Whether there is no such file, or none that may be served: a link that leads out, a name that is
/// too long, a file below a file.
fn is_missing(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(
        number,
        Some(
            Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::EXDEV
                | Errno::ELOOP
                | Errno::ENAMETOOLONG
                | Errno::ENXIO
        )
    ) || error.kind() == io::ErrorKind::NotFound
}

/// Whether a name has a hash of its contents, as bundlers and Django's `ManifestStaticFilesStorage`
/// make it: at least eight hexadecimal digits, letters and numbers, before the extension.
fn has_hash(name: &Path) -> bool {
    let Some(name) = name.file_name() else {
        return false;
    };
    let mut parts = name
        .as_bytes()
        .split(|byte| matches!(byte, b'.' | b'-' | b'_'));
    // The first part is a name of its own.
    let _name = parts.next();
    parts.any(|part| {
        let is_hexadecimal = part
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let has = |kind: fn(&u8) -> bool| part.iter().any(kind);
        part.len() >= 8 && is_hexadecimal && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    })
}

#[cfg(test)]
mod tests;
