//! Environment variables: those that are settings, and those that settings give to the app.

use crate::support::conf::with;
use crate::support::{Server, title};

#[test]
fn every_variable_is_a_setting() {
    let server = with(include_str!("../../apps/conf/variables.py"))
        .env("GUNICORN_WORKERS", "2")
        .env("GUNICORN_TIMEOUT", "33")
        .env("GUNICORN_CMD_ARGS", "--name listed")
        .start();
    server.wait_serving(2);
    assert!(title(server.pid()).contains("listed"));
    server.stop();
}

#[test]
fn variables_of_the_command_line_reach_the_app_before_its_import() {
    let module = "
import os
SEEN = os.environ['GREETING']
def app(environ, start_response):
    start_response('200 OK', [])
    return [SEEN.encode()]
";
    let server = Server::app("m:app")
        .file("m.py", module)
        .args(["-e", "GREETING=hi there"])
        .start();
    assert_eq!(server.get("/").text(), "hi there");
    server.stop();
}
