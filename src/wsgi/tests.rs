//! With an interpreter: see this crate's `Cargo.toml` for the command.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use rcorn_http::environ::FieldRules;
use rcorn_http::{Head, Limits, Progress, parse_head};
use rcorn_link::{Listener, ListenerKind};
use rcorn_python::text;
use rcorn_settings::Protocol;

use super::declare::Refused;
use super::response::Response;
use super::{Endpoints, EnvironBuilder, EnvironObjects};

fn listener(kind: ListenerKind) -> Listener {
    Listener {
        fd: -1,
        kind,
        protocol: Protocol::Http,
        host: "127.0.0.1".to_owned(),
        port: "8000".to_owned(),
        is_inner: false,
    }
}

fn builder(py: Python<'_>) -> EnvironBuilder {
    let scheme = [("X-FORWARDED-PROTO".to_owned(), "https".to_owned())];
    let rules = FieldRules::new(&scheme, &["SCRIPT_NAME".to_owned()], false);
    let none = || py.None().into_bound(py);
    let objects = EnvironObjects {
        multithread: false,
        request_ids: false,
        software: "rcorn",
        errors: none(),
        file_wrapper: none(),
        early_hints: none(),
    };
    let listeners = [listener(ListenerKind::Tcp), listener(ListenerKind::Unix)];
    EnvironBuilder::new(py, rules, &listeners, &objects).expect("a builder")
}

fn endpoints(py: Python<'_>, listener: usize, trusted: bool) -> Endpoints {
    Endpoints {
        address: text::latin1(py, b"10.0.0.1").expect("a str").unbind(),
        port: Some(text::latin1(py, b"4711").expect("a str").unbind()),
        trusted,
        listener,
        proxy: None,
    }
}

/// Both heads are parsed into one, which tells equal fields apart from others.
fn build<'py>(
    py: Python<'py>,
    builder: &mut EnvironBuilder,
    head: &mut Head,
    endpoints: &Endpoints,
    request: &str,
) -> Bound<'py, PyDict> {
    let bytes = request.as_bytes();
    let parsed = parse_head(bytes, &Limits::default(), head);
    assert!(matches!(parsed, Ok(Progress::Done(()))), "{request}");
    let environ = builder.build(py, bytes, head, endpoints, None);
    let environ = environ.expect("an environ");
    // One object for each builder.
    environ.del_item("wsgi.input").expect("it is there");
    environ
}

#[test]
fn an_environ_made_from_the_last_one_is_what_a_new_builder_makes() {
    Python::initialize();
    Python::attach(|py| {
        let fields = "Host: a.org:81\r\nCookie: a=1\r\nX-One: 1\r\nX-One: 2\r\nCookie: b=2\r\n";
        let plain = "Host: b.org\r\n";
        let forwarded = "Host: a.org\r\nX-Forwarded-Proto: https\r\nSCRIPT_NAME: /app\r\n";
        let requests = [
            format!("GET /a?b=c HTTP/1.1\r\n{fields}\r\n"),
            format!("GET /a?b=c HTTP/1.1\r\n{fields}\r\n"),
            format!("GET /a?b=c HTTP/1.1\r\n{fields}\r\n"),
            format!("POST /other%20path HTTP/1.1\r\n{fields}\r\n"),
            format!("GET / HTTP/1.1\r\n{plain}\r\n"),
            format!("GET / HTTP/1.0\r\n{plain}\r\n"),
            format!("GET /app/x HTTP/1.1\r\n{forwarded}\r\n"),
            format!("GET /app/y HTTP/1.1\r\n{forwarded}\r\n"),
            format!("GET /app/y HTTP/1.1\r\n{forwarded}\r\n"),
            format!("GET http://c.org/z HTTP/1.1\r\n{plain}\r\n"),
        ];
        for (listener, trusted) in [(0, false), (0, true), (1, true), (0, true)] {
            let endpoints = endpoints(py, listener, trusted);
            let (mut kept, mut head) = (builder(py), Head::default());
            for request in &requests {
                let environ = build(py, &mut kept, &mut head, &endpoints, request);
                let anew = build(
                    py,
                    &mut builder(py),
                    &mut Head::default(),
                    &endpoints,
                    request,
                );
                assert!(
                    environ.eq(&anew).expect("they compare"),
                    "{request}, listener {listener}, trusted {trusted}:\n{environ}\n{anew}"
                );
                // What an app does to its environ is not seen by the next request.
                environ.set_item("HTTP_X_APP", 1).expect("it is set");
                environ.del_item("HTTP_HOST").expect("it is there");
            }
        }
    });
}

fn declare(
    py: Python<'_>,
    response: &mut Response,
    status: &str,
    fields: &str,
) -> Result<(), String> {
    let eval = |source: &str| {
        let source = std::ffi::CString::new(source).expect("no NUL");
        py.eval(&source, None, None).expect("it is an expression")
    };
    response
        .declare(&eval(status), &eval(fields))
        .map_err(Refused::into_error)
        .map_err(|error| error.value(py).to_string())
}

#[test]
fn a_declaration_becomes_a_head_or_is_refused_with_a_reason() {
    Python::initialize();
    Python::attach(|py| {
        let mut response = Response::default();
        let good = [
            (
                "'200 OK'",
                "[('X-One', 'a'), ('Content-Length', '5')]",
                "HTTP/1.1 200 OK\r\nX-One: a\r\nContent-Length: 5\r\n",
            ),
            ("'204'", "[('Content-Length', '5')]", "HTTP/1.1 204 \r\n"),
            (
                "'200 OK'",
                "[('Connection', 'close'), ('Keep-Alive', 'x'), ('X-One', '\\xe9')]",
                "HTTP/1.1 200 OK\r\nX-One: \u{e9}\r\n",
            ),
            (
                "'200 OK'",
                "[('Content-Length', '5'), ('Content-Length', '5')]",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            ),
        ];
        // Twice: what is remembered of the first time must not make a difference.
        for (status, fields, head) in good.iter().chain(&good) {
            declare(py, &mut response, status, fields).expect("it is taken");
            let latin1: String = response
                .head()
                .iter()
                .map(|byte| char::from(*byte))
                .collect();
            assert_eq!(latin1, *head);
        }
        for (status, fields, reason) in [
            ("b'200 OK'", "[]", "the status is of type 'bytes'"),
            ("'200OK'", "[]", "bad status '200OK'"),
            ("'199 No'", "[]", "bad status '199 No'"),
            ("'200 OK'", "()", "the headers are of type 'tuple'"),
            ("'200 OK'", "[('a',)]", "bad header ('a',)"),
            ("'200 OK'", "[('a', 1)]", "bad header ('a', 1)"),
            ("'200 OK'", "[('a b', 'c')]", "bad header 'a b'"),
            ("'200 OK'", "[('a', 'b\\r\\nc: d')]", "bad header 'a'"),
            ("'200 OK'", "[('a', '\\u0100')]", "beyond latin-1"),
            (
                "'200 OK'",
                "[('Content-Length', '5'), ('Content-Length', '6')]",
                "given twice with different values",
            ),
        ] {
            let said = declare(py, &mut response, status, fields).expect_err("it is refused");
            assert!(said.contains(reason), "{status}, {fields}: {said}");
        }
    });
}
