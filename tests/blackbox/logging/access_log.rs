//! The access log.

use crate::support::Server;

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
