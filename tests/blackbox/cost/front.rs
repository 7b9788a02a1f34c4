//! What a front does for a response, counted.

use std::process::Command;

use crate::support::{Place, Server, Strace, lacks, program};
use crate::tls::{Pair, server};

const APP: &str = r"
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', str(4 << 20))])
    return [bytes(4 << 20)]
";

/// Its frames have 16 KiB at most, and each would be a system call of its own if it were sent at
/// once.
#[test]
fn frames_of_a_response_share_system_calls() {
    if lacks(&[program("strace"), program("curl")]) {
        return;
    }
    let server: Server = server(&Pair::of(&["localhost"])).file("m.py", APP).start();
    server.wait_serving(1);
    let Place::Tcp(address) = server.place() else {
        panic!("it listens on TCP");
    };
    let [front] = server.titled("rcorn: front")[..] else {
        panic!("there is one front");
    };
    let trace = Strace::attach(front, &["-f", "-e", "trace=write,writev,sendto,sendmsg"]);
    let fetched = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--http2"])
        .args(["--output", "/dev/null", "--write-out"])
        .arg("%{http_code} %{http_version} %{size_download}")
        .arg(format!("https://localhost:{}/", address.port()))
        .output()
        .unwrap();
    let trace = trace.detach();
    server.stop();
    let fetched = String::from_utf8(fetched.stdout).unwrap();
    assert_eq!(fetched, format!("200 2 {}", 4 << 20));
    let frames = (4 << 20) / (16 * 1024);
    let calls = trace.lines().filter(|line| line.contains(" = ")).count();
    assert!(calls < frames / 2, "{calls}: {trace}");
}
