//! The access log.

use serde_json::Value;

use crate::support::Server;
use crate::support::conf::with;

#[test]
fn the_access_log_has_gunicorns_form() {
    let format = r#"%(h)s %(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %({x-in}i)s %({content-type}o)s %({path_info}e)s %(p)s "%(f)s" "%(a)s""#;
    let server = Server::app("cases:app")
        .args(["--access-logfile", "-", "--access-logformat", format])
        .start();
    let mut wire = server.connect();
    wire.send("GET /hel%6co?x=1 HTTP/1.1\r\nHost: x\r\nX-In: v\"w\r\nUser-Agent: me\r\n\r\n");
    assert_eq!(wire.read_reply().status, 200);
    let worker = server.workers()[0];
    server.log().expect(&format!(
        "127.0.0.1 GET /hello x=1 HTTP/1.1 200 3 v\\\"w text/plain /hello <{worker}> \"-\" \"me\""
    ));
    server.stop();
}

/// The next record of the access log, whose line contains `text`; it must be an object.
fn object(server: &Server, text: &str) -> Value {
    let line = server.log().expect(text);
    let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
    assert!(value.is_object(), "{line}");
    value
}

/// Requests with more than printable ASCII, and the user agent as it must be in the log.
const STRANGE: [(&[u8], &str); 4] = [
    (
        b"/%E4%B8%AD?1 HTTP/1.1\r\nUser-Agent: M\xc3\xbcller",
        "M\u{fc}ller",
    ),
    (
        b"/%ff%00?2 HTTP/1.1\r\nUser-Agent: M\xfcller",
        "M\u{fc}ller",
    ),
    (b"/%22%0a?3 HTTP/1.1\r\nUser-Agent: \"a\\", "\"a\\"),
    (
        b"/%1b?4 HTTP/1.1\r\nUser-Agent: {}\t\xff\xfe,",
        "{}\t\u{ff}\u{fe},",
    ),
];

#[test]
fn an_access_log_in_json_is_json_whatever_a_client_sends() {
    for format in [
        "json",
        r#"{"target":"%(r)s","path":"%(U)s","user_agent":"%(a)s","status":%(s)s,"bytes":%(B)s}"#,
        r#"{"target":%(r)s,"path":%(U)s,"user_agent":%(a)s,"status":%(s)d,"bytes":%(b)s}"#,
    ] {
        let server = Server::app("cases:app")
            .args(["--access-logfile", "-", "--access-logformat", format])
            .start();
        for (number, (request, agent)) in STRANGE.iter().enumerate() {
            let mut wire = server.connect();
            wire.send([b"GET ", *request, b"\r\nHost: x\r\n\r\n"].concat());
            assert_eq!(wire.read_reply().status, 404);
            let value = object(&server, &format!("?{}", number + 1));
            assert_eq!(value["user_agent"], *agent, "{value}");
            assert_eq!(value["status"], 404, "{value}");
            assert!(value["bytes"].is_u64(), "{value}");
        }
        server.stop();
    }
}

#[test]
fn a_record_that_a_hook_writes_is_the_same_object_in_json() {
    let conf = "
import datetime
accesslog = '-'
access_log_format = 'json'
def post_request(worker, req, environ, resp):
    worker.log.access(resp, req, environ, datetime.timedelta(seconds=77, microseconds=5))
";
    let server = with(conf).start();
    server.wait_serving(1);
    for (request, agent) in STRANGE {
        let mut wire = server.connect();
        wire.send([b"GET ", request, b"\r\nHost: x\r\n\r\n"].concat());
        assert_eq!(wire.read_reply().status, 200);
        let mut own = object(&server, r#""duration":0."#);
        let mut by_hook = object(&server, r#""duration":77.000005,"#);
        assert_eq!(by_hook["user_agent"], agent, "{by_hook}");
        for record in [&mut by_hook, &mut own] {
            let members = record.as_object_mut().unwrap();
            assert!(
                members
                    .remove("duration")
                    .is_some_and(|value| value.is_f64())
            );
            let time = members.remove("time").unwrap();
            assert_eq!(
                time.as_str().unwrap().len(),
                "2026-11-21T01:25:06+00:00".len()
            );
        }
        assert_eq!(by_hook, own);
    }
    server.stop();
}

#[test]
fn json_goes_through_pythons_loggers_too() {
    for format in ["json", r#"{"a":"%(a)s","u":"%(U)s","user_agent":%(a)s}"#] {
        let conf = include_str!("../../apps/conf/logging_bare.py");
        let conf = format!("{conf}\naccess_log_format = {format:?}\n");
        let server = with(&conf).start();
        server.wait_serving(1);
        for (request, agent) in STRANGE {
            let mut wire = server.connect();
            wire.send([b"GET ", request, b"\r\nHost: x\r\n\r\n"].concat());
            assert_eq!(wire.read_reply().status, 200);
            let value = object(&server, "user_agent");
            assert_eq!(value["user_agent"], agent, "{value}");
        }
        server.stop();
    }
}
