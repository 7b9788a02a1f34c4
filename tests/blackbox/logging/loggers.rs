//! Loggers that the app or its configuration sets up.

use crate::support::Server;
use crate::support::conf::{APP, with};

#[test]
fn loggers_are_shaped_and_the_access_log_goes_through_them() {
    let app = "
import logging
logging.getLogger('shop').info('imported')
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'ok']
";
    let server = with(include_str!("../../apps/conf/logging_dict.py"))
        .file("m.py", app)
        .start();
    server.wait_serving(1);
    let mut wire = server.connect();
    wire.send("GET /a%20b?c HTTP/1.1\r\nHost: a\r\nUser-Agent: \"me\"\r\nX-Asked: yes\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    server
        .log()
        .expect(r#"{"level": "INFO", "logger": "shop", "message": "imported"}"#);
    let line = server.log().expect(r#""logger": "gunicorn.access""#);
    for part in [
        r#""message": "127.0.0.1 \"GET /a%20b?c HTTP/1.1\" 200 2 yes -""#,
        r#""status": 200"#,
        r#""path": "/a b""#,
        r#""agent": "\\\"me\\\"""#,
        r#""micros": true"#,
        r#""type": "text/plain""#,
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    server.stop();
}

#[test]
fn loggers_by_ini_and_json_files() {
    let ini = "[loggers]\nkeys=root\n[handlers]\nkeys=out\n[formatters]\nkeys=plain\n[logger_root]\nlevel=INFO\nhandlers=out\n[handler_out]\nclass=StreamHandler\nformatter=plain\nargs=(sys.stdout,)\n[formatter_plain]\nformat=INI %(name)s %(message)s\n";
    let json = r#"{"version": 1, "formatters": {"p": {"format": "JSON %(name)s %(message)s"}}, "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "p"}}, "root": {"level": "INFO", "handlers": ["out"]}, "loggers": {}}"#;
    for (flag, file, text, word) in [
        ("--log-config", "l.ini", ini, "INI"),
        ("--log-config-json", "l.json", json, "JSON"),
    ] {
        let server = Server::app("m:app")
            .file("m.py", APP)
            .file(file, text)
            .args([flag, file])
            .start();
        server.wait_serving(1);
        assert_eq!(server.get("/").status, 200);
        server
            .log()
            .expect(&format!("{word} gunicorn.access 127.0.0.1"));
        server.stop();
    }
    let ended = Server::app("m:app")
        .file("m.py", APP)
        .file("l.ini", "nonsense")
        .args(["--log-config", "l.ini"])
        .allow("The loggers cannot be configured")
        .allow("Shutting down: Master")
        .allow("Reason: The system refused")
        .start()
        .exit();
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
}
