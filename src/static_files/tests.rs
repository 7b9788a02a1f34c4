use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

/// A directory with some files.
struct Site {
    folder: TempDir,
    files: StaticFiles,
}

const CSS: &str = "body { color: red; background: white }";

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("static/css")).unwrap();
        std::fs::create_dir_all(path("media")).unwrap();
        for (name, text) in [
            ("static/css/a.css", CSS),
            ("static/css/a.css.gz", "gzip"),
            ("static/css/a.css.br", "br"),
            ("static/css/base.55e7cbb9ba48.css", "hashed"),
            ("static/index.html", "<p>"),
            ("static/empty.txt", ""),
            ("media/photo.jpg", "jpeg"),
            ("media/photo.jpg.gz", "gzip"),
            ("robots.txt", "User-agent: *"),
            ("secret", "secret"),
        ] {
            std::fs::write(path(name), text).unwrap();
        }
        let maps = [
            ("/static".to_owned(), path("static")),
            ("/static/media/".to_owned(), path("media")),
            ("/robots.txt".to_owned(), path("robots.txt")),
        ];
        Self {
            files: StaticFiles::new(maps, Vec::new(), None),
            folder,
        }
    }

    fn answer(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let fields: Vec<(&[u8], &[u8])> = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        self.files.answer(&Request {
            method: method.as_bytes(),
            path: path.as_bytes(),
            fields: &fields,
        })
    }

    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        match self.answer("GET", path, fields) {
            Answer::Response(response) | Answer::Missing(response) => response,
            Answer::NotOurs => panic!("{path} is not ours"),
        }
    }
}

fn field<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut lines = response
        .fields
        .split_terminator("\r\n")
        .map(|line| line.split_once(": ").unwrap());
    lines
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn text(response: &Response) -> String {
    let bytes = match &response.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.clone(),
        Body::File {
            file,
            offset,
            length,
        } => {
            let mut bytes = vec![0; usize::try_from(*length).unwrap()];
            file.read_exact_at(&mut bytes, *offset).unwrap();
            bytes
        }
    };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_file_is_described_and_sent() {
    let site = Site::new();
    let response = site.get("/static/css/a.css", &[]);
    assert_eq!(response.status, 200);
    assert_eq!(
        field(&response, "Content-Type"),
        Some("text/css; charset=utf-8")
    );
    assert_eq!(field(&response, "Content-Length"), Some("38"));
    assert_eq!(field(&response, "Accept-Ranges"), Some("bytes"));
    assert_eq!(field(&response, "Vary"), Some("Accept-Encoding"));
    assert_eq!(field(&response, "Cache-Control"), None);
    assert!(field(&response, "ETag").unwrap().ends_with("-26\""));
    assert!(field(&response, "Last-Modified").unwrap().ends_with(" GMT"));
    assert_eq!(text(&response), CSS);
    let Answer::Response(head) = site.answer("HEAD", "/static/css/a.css", &[]) else {
        panic!("HEAD is answered");
    };
    assert_eq!(field(&head, "Content-Length"), Some("38"));
    assert!(matches!(head.body, Body::Empty));
    let empty = site.get("/static/empty.txt", &[]);
    assert_eq!(
        (empty.status, field(&empty, "Content-Length")),
        (200, Some("0"))
    );
    assert_eq!(text(&site.get("/robots.txt", &[])), "User-agent: *");
}

#[test]
fn the_longest_prefix_decides() {
    let site = Site::new();
    assert_eq!(text(&site.get("/static/media/photo.jpg", &[])), "jpeg");
    assert_eq!(site.get("/static/media/css/a.css", &[]).status, 404);
    for path in [
        "/",
        "/app",
        "/staticx/a",
        "/robots.txt.bak",
        "/%2e%2e/static",
    ] {
        assert!(
            matches!(site.answer("GET", path, &[]), Answer::NotOurs),
            "{path}"
        );
    }
}

#[test]
fn nothing_else_can_be_had() {
    let site = Site::new();
    std::os::unix::fs::symlink(
        site.folder.path().join("secret"),
        site.folder.path().join("static/link"),
    )
    .unwrap();
    for path in [
        "/static/../secret",
        "/static/%2e%2e/secret",
        "/static/..%2fsecret",
        "/static/css/../../secret",
        "/static/link",
        "/static/css",
        "/static/",
        "/static",
        "/static/none",
        "/static/css/a.css/",
        "/static/css/a.css/b",
        "/static/.git",
        "/robots.txt/a",
        "/static/a%00b",
    ] {
        let answer = site.answer("GET", path, &[]);
        let Answer::Missing(response) = answer else {
            panic!("{path}: {answer:?}");
        };
        assert_eq!(
            (response.status, text(&response)),
            (404, "404 Not Found\n".to_owned()),
            "{path}"
        );
    }
    let long = format!("/static/{}", "a".repeat(300));
    assert!(matches!(site.answer("GET", &long, &[]), Answer::Missing(_)));
    let Answer::Missing(response) = site.answer("POST", "/static/css/a.css", &[]) else {
        panic!("POST is refused");
    };
    assert_eq!(
        (response.status, field(&response, "Allow")),
        (405, Some("GET, HEAD"))
    );
}

#[test]
fn a_client_that_has_the_file_does_not_get_it_again() {
    let site = Site::new();
    let first = site.get("/static/css/a.css", &[]);
    let tag = field(&first, "ETag").unwrap();
    let again = site.get("/static/css/a.css", &[("If-None-Match", tag)]);
    assert_eq!((again.status, field(&again, "ETag")), (304, Some(tag)));
    assert_eq!(field(&again, "Content-Length"), None);
    let modified = field(&first, "Last-Modified").unwrap();
    let again = site.get("/static/css/a.css", &[("If-Modified-Since", modified)]);
    assert_eq!(again.status, 304);
    let failed = site.get("/static/css/a.css", &[("If-Match", "\"other\"")]);
    assert_eq!(failed.status, 412);
}

#[test]
fn parts_of_a_file_can_be_had() {
    let site = Site::new();
    let part = |range: &str| site.get("/static/css/a.css", &[("Range", range)]);
    let one = part("bytes=5-9");
    assert_eq!(
        (one.status, field(&one, "Content-Range")),
        (206, Some("bytes 5-9/38"))
    );
    assert_eq!(
        (field(&one, "Content-Length"), text(&one)),
        (Some("5"), "{ col".to_owned())
    );
    let several = part("bytes=0-3,-7");
    assert_eq!(several.status, 206);
    let kind = field(&several, "Content-Type").unwrap().to_owned();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let length: usize = field(&several, "Content-Length").unwrap().parse().unwrap();
    let body = text(&several);
    let expected = format!(
        "--{boundary}\r\nContent-Type: text/css; charset=utf-8\r\nContent-Range: bytes 0-3/38\r\n\r\nbody\r\n\
         --{boundary}\r\nContent-Type: text/css; charset=utf-8\r\nContent-Range: bytes 31-37/38\r\n\r\nwhite }}\r\n\
         --{boundary}--\r\n"
    );
    assert_eq!((body.len(), body), (length, expected));
    let none = part("bytes=38-");
    assert_eq!(
        (none.status, field(&none, "Content-Range")),
        (416, Some("bytes */38"))
    );
    let other = [("Range", "bytes=5-9"), ("If-Range", "\"other\"")];
    assert_eq!(site.get("/static/css/a.css", &other).status, 200);
}

#[test]
fn the_compressed_form_that_lies_beside_it_is_sent_instead() {
    let site = Site::new();
    let get = |accepts: &str| site.get("/static/css/a.css", &[("Accept-Encoding", accepts)]);
    let best = get("gzip, br, zstd");
    assert_eq!(field(&best, "Content-Encoding"), Some("br"));
    assert_eq!(
        field(&best, "Content-Type"),
        Some("text/css; charset=utf-8")
    );
    assert_eq!(text(&best), "br");
    assert_eq!(text(&get("gzip")), "gzip");
    let plain = get("zstd");
    assert_eq!(
        (field(&plain, "Content-Encoding"), text(&plain)),
        (None, CSS.to_owned())
    );
    // A photograph is compressed already: what lies beside it is something else.
    let photo = site.get("/static/media/photo.jpg", &[("Accept-Encoding", "gzip")]);
    assert_eq!(
        (field(&photo, "Vary"), text(&photo)),
        (None, "jpeg".to_owned())
    );
    // One that is older than the file is a form of what it was.
    let path = site.folder.path().join("static/css/a.css.br");
    let old = SystemTime::now()
        .checked_sub(Duration::from_secs(100))
        .unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(old).unwrap();
    assert_eq!(text(&get("br")), CSS);
}

#[test]
fn caches_keep_what_never_changes() {
    let mut site = Site::new();
    let cache = |site: &Site, path: &str| {
        let response = site.get(path, &[]);
        assert_eq!(response.status, 200, "{path}");
        field(&response, "Cache-Control").map(str::to_owned)
    };
    let hashed = "/static/css/base.55e7cbb9ba48.css";
    assert_eq!(cache(&site, hashed).as_deref(), Some(IMMUTABLE));
    site.files.cache = vec![
        (
            Pattern::new("/static/css/*").unwrap(),
            "max-age=60".to_owned(),
        ),
        (Pattern::new("*").unwrap(), "no-cache".to_owned()),
    ];
    assert_eq!(cache(&site, hashed).as_deref(), Some("max-age=60"));
    assert_eq!(cache(&site, "/robots.txt").as_deref(), Some("no-cache"));
    for (name, hashed) in [
        ("main.8f3a2b1c.js", true),
        ("main-8f3a2b1c9d.chunk.js", true),
        ("report-20261128.pdf", false),
        ("deadbeef.css", false),
        ("a.deadbeef.css", false),
        ("8f3a2b1c.js", false),
        ("a.css", false),
    ] {
        assert_eq!(has_hash(Path::new(name)), hashed, "{name}");
    }
}

#[test]
fn an_index_stands_for_its_directory_if_asked_for() {
    let mut site = Site::new();
    site.files.index = Some("index.html".to_owned());
    assert_eq!(text(&site.get("/static/", &[])), "<p>");
    assert_eq!(site.get("/static/css/", &[]).status, 404);
}
