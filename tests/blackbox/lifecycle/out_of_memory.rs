//! A worker that the kernel kills for want of memory.

use std::time::Duration;

use crate::support::{MemoryGroup, Need, Server, get, lacks};

const APP: &str = "
def app(environ, start_response):
    if environ['PATH_INFO'] == '/grow':
        # The kernel chooses the largest process; this makes it certain.
        with open('/proc/self/oom_score_adj', 'w') as file:
            file.write('1000')
        kept = []
        while True:
            kept.append(b'x' * 2 ** 20)
    start_response('200 OK', [('Content-Length', '0')])
    return []
";

/// More than a worker needs to serve a request, much less than the machine has.
const GROWTH_BYTES: u64 = 64 * 1024 * 1024;

#[test]
fn a_worker_that_the_kernel_kills_for_want_of_memory_is_counted_as_such() {
    if lacks(&[Need::MemoryGroup]) {
        return;
    }
    let group = MemoryGroup::new().unwrap();
    let join = format!(
        "echo $$ > {} && exec \"$0\" \"$@\"",
        group.procs().display()
    );
    let server = Server::app("m:app")
        .file("m.py", APP)
        .program(["sh", "-c", &join, env!("CARGO_BIN_EXE_rcorn")])
        .args(["-w", "2"])
        .allow("was sent SIGKILL")
        .allow("Request lost")
        .allow("for want of memory")
        .patience(Duration::from_mins(1))
        .start();
    server.wait_serving(2);
    group.limit_growth(GROWTH_BYTES);
    let mut wire = server.connect();
    wire.send(get("/grow"));
    wire.expect_eof();
    let line = server.log().expect("for want of memory");
    let counter = format!("oom_kill in {}", group.path().display());
    assert!(
        line.contains(&counter) && line.ends_with("went from 0 to 1."),
        "{line}"
    );
    server.wait_serving(2);
    assert_eq!(server.get("/").status, 200);
    let status = server.status();
    let ends = status["history"]["worker_ends"].as_array().unwrap();
    let counted: Vec<_> = ends
        .iter()
        .filter(|end| end["count"] != 0)
        .map(|end| {
            (
                end["what"].as_str().unwrap(),
                end["count"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(counted, [("out_of_memory", 1), ("promoted", 1)]);
    let recent = status["history"]["recent"].to_string();
    assert!(recent.contains("ended: out_of_memory"), "{recent}");
    server.stop();
}
