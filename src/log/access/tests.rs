//! The access log: every atom, Python's conversions, forged values, broken formats, the file.

use std::fs;

use rcorn_settings::Settings;

use super::atom::Atom;
use super::format::FoundChar;
use super::*;
use crate::{AccessForm, WORKER_PATIENCE, open};

const DEFAULT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

struct Sample {
    peer: &'static str,
    uri: &'static [u8],
    body: Option<u64>,
    request: Vec<(&'static str, &'static [u8])>,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            peer: "192.0.2.7",
            uri: b"/a%20b?c=d",
            body: Some(12),
            request: vec![("User-Agent", b"curl/8"), ("Referer", b"http://x/")],
        }
    }
}

fn find(fields: &[(&str, &[u8])], name: &str, out: &mut Vec<u8>) -> bool {
    let field = fields
        .iter()
        .rev()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    field
        .inspect(|(_, value)| out.extend_from_slice(value))
        .is_some()
}

impl Record for Sample {
    fn remote_addr(&self) -> &str {
        self.peer
    }
    fn time(&self) -> i64 {
        1_795_224_306
    }
    fn method(&self) -> &[u8] {
        b"GET"
    }
    fn raw_uri(&self) -> &[u8] {
        self.uri
    }
    fn protocol(&self) -> &[u8] {
        b"HTTP/1.1"
    }
    fn path(&self) -> &[u8] {
        b"/a b"
    }
    fn query(&self) -> &[u8] {
        b"c=d"
    }
    fn status(&self) -> u16 {
        200
    }
    fn body_bytes(&self) -> Option<u64> {
        self.body
    }
    fn duration_ns(&self) -> u64 {
        2_034_567_899
    }
    fn pid(&self) -> u32 {
        77
    }
    fn request_header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        assert_eq!(name, name.to_ascii_lowercase());
        find(&self.request, name, out)
    }
    fn response_header(&self, name: &str, out: &mut Vec<u8>) -> bool {
        find(&[("Content-Type", b"text/plain")], name, out)
    }
    fn environ(&self, name: &str, out: &mut Vec<u8>) -> bool {
        find(&[("wsgi.url_scheme", b"https")], name, out)
    }
}

fn line(format: &str, record: &Sample) -> String {
    let mut out = b"kept ".to_vec();
    AccessFormat::compile(format)
        .unwrap()
        .render(record, &mut out);
    String::from_utf8(out)
        .unwrap()
        .strip_prefix("kept ")
        .unwrap()
        .to_owned()
}

fn shown(format: &str) -> String {
    line(format, &Sample::default())
}

fn user(authorization: &'static [u8]) -> String {
    let request = vec![("Authorization", authorization)];
    line(
        "%(u)s",
        &Sample {
            request,
            ..Sample::default()
        },
    )
}

#[test]
fn the_default_format_is_gunicorns() {
    let text = shown(DEFAULT);
    let (before, rest) = text.split_once('[').unwrap();
    let (time, after) = rest.split_once(']').unwrap();
    assert_eq!(before, "192.0.2.7 - - ");
    assert_eq!(
        after,
        r#" "GET /a%20b?c=d HTTP/1.1" 200 12 "http://x/" "curl/8""#
    );
    assert_eq!(time.len(), "21/Nov/2026:01:25:06 +0000".len());
    assert!(time.contains("/Nov/2026:"), "{time}");
}

#[test]
fn every_atom_has_its_value() {
    assert_eq!(shown("%(m)s %(U)s %(q)s %(H)s"), "GET /a b c=d HTTP/1.1");
    assert_eq!(shown("%(b)s %(B)s %(s)s %(p)s"), "12 12 200 <77>");
    assert_eq!(shown("%(T)s %(M)s %(D)s %(L)s"), "2 2034 2034567 2.034567");
    assert_eq!(
        shown("%({User-Agent}i)s %({USER-agent}i)s"),
        "curl/8 curl/8"
    );
    assert_eq!(
        shown("%({content-type}o)s %({WSGI.url_scheme}e)s"),
        "text/plain https"
    );
    assert_eq!(shown("100%% é"), "100% é");
    let unknown = Sample {
        body: None,
        request: Vec::new(),
        peer: "",
        ..Sample::default()
    };
    assert_eq!(
        line("%(b)s %(B)s [%(h)s] %(f)s %(a)s", &unknown),
        "- None [] - -"
    );
}

#[test]
fn what_nobody_knows_prints_a_dash() {
    assert_eq!(
        shown("%(nope)s %(l)s %({x}i)s %({x}o)s %({x}e)s %({x}z)s %({x)s %()s"),
        "- - - - - - - -"
    );
    assert_eq!(
        Atom::named("{a}b}i"),
        Atom::Foreign(atom::Foreign::RequestHeader("a}b".into()))
    );
}

#[test]
fn conversions_are_pythons() {
    assert_eq!(
        shown("[%(s)5s] [%(s)-5s] [%(D)d] [%(s)06d]"),
        "[  200] [200  ] [2034567] [000200]"
    );
    assert_eq!(
        shown("[%(T)+d] [%(T)+05d] [%(T) d] [%(T)x] [%(s)X] [%(s)o]"),
        "[+2] [+0002] [ 2] [2] [C8] [310]"
    );
    assert_eq!(
        shown("[%(s).5d] [%(h).3s] [%(h)6.3s] [%(s)ld]"),
        "[00200] [192] [   192] [200]"
    );
    assert_eq!(
        shown("[%(T)f] [%(L).3f] [%(L)9.2f] [%(L)d] [%(B).f]"),
        "[2.000000] [2.035] [     2.03] [2] [12]"
    );
    // Python would raise here; a log line is worth more.
    assert_eq!(shown("[%(h)d] [%(h)012.2d]"), "[192.0.2.7] [   192.0.2.7]");
    let unknown = Sample {
        body: None,
        ..Sample::default()
    };
    assert_eq!(line("[%(b)05d]", &unknown), "[    -]");
}

#[test]
fn nobody_can_forge_a_line_or_leave_the_quotes() {
    let forged = Sample {
        uri: b"/\" 200 \\",
        request: vec![("user-agent", b"x\"\r\n1.2.3.4 - -\x1b[2J\xff\\")],
        ..Sample::default()
    };
    assert_eq!(line("\"%(r)s\"", &forged), r#""GET /\" 200 \\ HTTP/1.1""#);
    assert_eq!(
        line("\"%(a)s\"", &forged),
        r#""x\"\x0d\x0a1.2.3.4 - -\x1b[2J\xff\\""#
    );
}

#[test]
fn a_cut_never_splits_an_escape() {
    let quoted = Sample {
        request: vec![("user-agent", b"ab\"cd")],
        ..Sample::default()
    };
    assert_eq!(line("\"%(a).3s\" \"%(a).2s\"", &quoted), r#""ab\"" "ab""#);
}

#[test]
fn the_user_is_read_from_basic_authentication_only() {
    assert_eq!(user(b"Basic YWxpY2U6c2VjcmV0"), "alice");
    assert_eq!(user(b"bAsIc  YWxpY2U="), "alice");
    assert_eq!(user(b"Basic YWxpY2U"), "alice");
    assert_eq!(user(b"Basic eCJ5Cjp6"), r#"x\"y\x0a"#);
    for not in [
        &b"Bearer abc"[..],
        b"Basic",
        b"Basic ",
        b"Basic a",
        b"Basic ?!",
        b"Basic OnB3",
        b"Basicx YTpi",
        b"\xff",
    ] {
        assert_eq!(user(not), "-", "{}", String::from_utf8_lossy(not));
    }
}

#[test]
fn broken_formats_name_the_place_and_the_way_out() {
    let error = |format| AccessFormat::compile(format).unwrap_err();
    let apache = error("é %h %l");
    assert_eq!(
        apache,
        FormatError::NoName {
            position: 3,
            found: FoundChar(Some('h'))
        }
    );
    assert_eq!(
        apache.to_string(),
        "access log format, character 3: '%' must be followed by '(' or '%', not 'h'"
    );
    assert_eq!(
        apache.hint().unwrap(),
        "write '%(h)s' for the value, or '%%' for a percent sign"
    );
    assert_eq!(
        error("100%"),
        FormatError::NoName {
            position: 4,
            found: FoundChar(None)
        }
    );
    assert_eq!(error("%(h"), FormatError::Unclosed { position: 1 });
    assert_eq!(error("%(a(b)s"), FormatError::Unclosed { position: 1 });
    let conversion = |position, character| FormatError::NoConversion {
        position,
        name: "h".to_owned(),
        found: FoundChar(character),
    };
    assert_eq!(error("%(h)"), conversion(5, None));
    assert_eq!(error("%(h) %(l)s"), conversion(6, Some('%')));
    assert_eq!(error("%(h)y"), conversion(5, Some('y')));
    assert_eq!(error("%(h)*s"), conversion(5, Some('*')));
    let wide = error("%(h)-99999999999999999999999s");
    assert_eq!(
        wide,
        FormatError::TooWide {
            position: 6,
            name: "h".to_owned()
        }
    );
    for format in ["%h", "%", "%(", "%(h)y", "%(h)9999s"] {
        assert!(error(format).hint().is_some(), "{format}");
    }
}

#[test]
fn lines_go_out_whole_and_rotation_follows_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = AccessLog::new(
        open(&path, None).unwrap(),
        Some(path.clone()),
        WORKER_PATIENCE,
    )
    .unwrap();
    let format = AccessFormat::compile("%(r)s").unwrap();
    let mut buffer = Vec::new();
    for _ in 0..2 {
        format.format(&Sample::default(), &mut buffer);
        log.write(&mut buffer, None);
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "GET /a%20b?c=d HTTP/1.1\n".repeat(2)
    );
    fs::rename(&path, directory.path().join("old")).unwrap();
    log.reopen();
    buffer.extend_from_slice(b"after\n");
    log.write(&mut buffer, None);
    assert_eq!(fs::read_to_string(&path).unwrap(), "after\n");
}

#[test]
fn a_full_disk_loses_lines_but_counts_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = AccessLog::new(
        open("/dev/full".as_ref(), None).unwrap(),
        None,
        WORKER_PATIENCE,
    )
    .unwrap();
    for _ in 0..3 {
        log.write(&mut b"line\n".to_vec(), None);
    }
    assert_eq!(log.destination.as_ref().unwrap().lost.pending(), 3);
    log.redirect(&open(&path, None).unwrap(), Some(path.clone()));
    log.write(&mut b"line\n".to_vec(), None);
    assert_eq!(log.destination.as_ref().unwrap().lost.pending(), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "line\n");
}

fn form(format: &str) -> AccessForm {
    AccessForm::of(&Settings {
        access_log_format: format.to_owned(),
        ..Settings::default()
    })
    .unwrap()
}

/// The line of a request, which must be one JSON object.
fn object(form: &AccessForm, record: &Sample) -> serde_json::Value {
    let mut line = Vec::new();
    form.format(record, &mut line);
    let text = std::str::from_utf8(&line).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let value: serde_json::Value =
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert!(value.is_object());
    value
}

#[test]
fn json_has_typed_members() {
    let value = object(&form(" json "), &Sample::default());
    let expected = serde_json::json!({
        "time": value["time"],
        "remote_addr": "192.0.2.7",
        "user": null,
        "method": "GET",
        "target": "/a%20b?c=d",
        "path": "/a b",
        "query": "c=d",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 12,
        "duration": 2.034_567,
        "host": null,
        "referer": "http://x/",
        "user_agent": "curl/8",
        "pid": 77,
    });
    assert_eq!(value, expected);
    let time = value["time"].as_str().unwrap();
    assert!(time.starts_with("2026-11-21T"), "{time}");
    let unknown = Sample {
        body: None,
        request: vec![("Authorization", b"Basic YWxpY2U6c2VjcmV0")],
        ..Sample::default()
    };
    let value = object(&form("json"), &unknown);
    assert_eq!(
        (&value["bytes"], &value["user"]),
        (&serde_json::Value::Null, &"alice".into())
    );
}

/// What clients send that is more than printable ASCII.
fn strange() -> [Sample; 5] {
    let with = |uri: &'static [u8], agent: &'static [u8]| Sample {
        uri,
        body: None,
        request: vec![("User-Agent", agent)],
        ..Sample::default()
    };
    [
        with(b"/\xe4\xb8\xad", "M\u{fc}ller".as_bytes()),
        with(b"/", b"M\xfcller"),
        with(b"/\"", b"\\\"\\"),
        with(b"/\x01\x7f", b"\0\r\n\x1b[2J\t"),
        with(b"\xff\xfe", b"1,\"admin\":true"),
    ]
}

#[test]
fn a_format_that_is_json_stays_json() {
    for format in [
        r#"{"path":"%(r)s","agent":"%(a)s"}"#,
        r#"{"agent":%(a)s,"status":%(s)s,"bytes":%(B)s,"sent":%(b)s,"time":%(t)s,"pid":%(p)s}"#,
        r#"{"agent":"%(a).3s","status":%(s)06d,"t":%(L).3f,"d":%(D)d,"s":%(T)+d,"hex":%(s)x}"#,
        r#"{"a":["%({user-agent}i)s",{"b":"x\"%(a)s"}],"l":%(l)s,"none":"%({x}i)s"}"#,
        r#"{ "%(a)s": %({user-agent}i)9s }"#,
    ] {
        let form = form(format);
        assert!(matches!(form, AccessForm::JsonLine(_)), "{format}");
        for record in strange().iter().chain([&Sample::default()]) {
            object(&form, record);
        }
    }
    let value = object(
        &form(r#"{"a":"%(a)s","s":%(s)s,"b":%(b)s,"q":%(a)s,"L":%(L)s}"#),
        &strange()[0],
    );
    let expected = serde_json::json!({
        "a": "M\u{fc}ller", "s": 200, "b": null, "q": "M\u{fc}ller", "L": 2.034_567,
    });
    assert_eq!(value, expected);
}

#[test]
fn only_a_format_that_is_json_is_escaped_as_json() {
    for format in [
        DEFAULT,
        r#"{"a":"%(a)s""#,
        r#"{"a":%(a)s"}"#,
        r#"{a:"%(a)s"}"#,
        r#"[{"a":"%(a)s"}]"#,
        r#"{"a":"%(a)s"} trailing"#,
        "{%(a)s}",
        "{%(s)s:1}",
        r#"{"a":"\%(a)s"}"#,
        r#"{"a":"\u000%(a)s"}"#,
        r#"{"a":1%(a)s}"#,
        r#"{"a":1%(b)s}"#,
        r#"{"a":-%(s)s}"#,
        r#"{"a":%(s)s%(s)s}"#,
        r#"{"a":%(a)s%(a)s}"#,
        "",
    ] {
        assert!(matches!(form(format), AccessForm::Line(_)), "{format}");
    }
    // With something before the object, as in syslog's CEE.
    let mut line = Vec::new();
    form(r#"%(a)s @cee: {"a":"%(a)s"}"#).format(&strange()[1], &mut line);
    assert_eq!(
        line,
        "M\\xfcller @cee: {\"a\":\"M\u{fc}ller\"}\n".as_bytes()
    );
}

proptest::proptest! {
    #[test]
    fn json_is_json_whatever_a_client_sends(uri: Vec<u8>, agent: Vec<u8>, named: bool) {
        let leak = |bytes: Vec<u8>| -> &'static [u8] { bytes.leak() };
        let record = Sample {
            uri: leak(uri),
            request: vec![("user-agent", leak(agent))],
            ..Sample::default()
        };
        let format = if named {
            "json"
        } else {
            r#"{"r":"%(r)s","a":%(a)s,"c":"%(a).2s","s":%(s)s}"#
        };
        object(&form(format), &record);
    }

    #[test]
    fn no_format_of_json_panics(format in "[{}\"\\\\:,%()sab01 ]{0,40}") {
        if let Ok(format) = AccessFormat::compile(&format)
            && let Some(json) = JsonFormat::of(&format)
        {
            let mut line = Vec::new();
            json.format(&strange()[3], &mut line);
            let start = line.iter().position(|byte| *byte == b'{').unwrap();
            serde_json::from_slice::<serde_json::Value>(&line[start..]).unwrap();
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_format_panics(format in "[%()0-9.a-z{}\"+ -]{0,30}") {
        if let Ok(format) = AccessFormat::compile(&format) {
            format.render(&Sample::default(), &mut Vec::new());
        }
    }

    #[test]
    fn no_value_leaves_its_line(agent: Vec<u8>) {
        let mut line = Vec::new();
        line.extend_from_slice(&agent);
        crate::escape::quote_from(&mut line, 0);
        proptest::prop_assert!(line.iter().all(|byte| matches!(byte, b' '..=b'~')));
        proptest::prop_assert_eq!(unquoted(&line), agent);
    }
}

/// The reverse of the escaping, so that nothing is ambiguous.
fn unquoted(line: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.iter().copied();
    while let Some(byte) = rest.next() {
        match (byte, if byte == b'\\' { rest.next() } else { None }) {
            (b'\\', Some(b'x')) => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            }
            (b'\\', Some(escaped)) => bytes.push(escaped),
            (plain, _) => bytes.push(plain),
        }
    }
    bytes
}
