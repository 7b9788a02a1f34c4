//! Orders of `rcorn ctl`: scale, retire, reopen, stop.

use crate::support::{Server, wait_until};

#[test]
fn scale_retire_reopen_and_stop() {
    let server = Server::app("cases:app").args(["-w", "2"]).start();
    server.wait_workers(2);
    server.ctl(&["scale", "+1"]).done();
    server.wait_workers(3);
    server.ctl(&["scale", "1"]).done();
    server.wait_workers(1);
    server.ctl(&["scale", "2"]).done();
    server.wait_workers(2);
    for bad in ["0", "-2", "5000"] {
        assert!(
            server
                .ctl(&["scale", bad])
                .refused()
                .contains("from 1 to 4096")
        );
    }
    wait_until(server.deadline(), "two serve", || {
        server.serving_ids().len() == 2
    });
    let before = server.serving_ids();
    server.ctl(&["retire", &before[0].to_string()]).done();
    wait_until(server.deadline(), "a replacement", || {
        let now = server.serving_ids();
        now.len() == 2 && !now.contains(&before[0])
    });
    // The status no longer shows a retired worker before its process has ended.
    let pid = server.wait_workers(2)[0].to_string();
    server.ctl(&["retire", &pid]).done();
    wait_until(server.deadline(), "another replacement", || {
        let now = server.workers();
        now.len() == 2 && now.iter().all(|worker| worker.to_string() != pid)
    });
    assert!(
        server
            .ctl(&["retire", "999999999"])
            .refused()
            .contains("no worker with the id or pid 999999999")
    );
    assert!(
        server
            .ctl(&["stack", "1"])
            .refused()
            .contains("no worker or template")
    );
    server.ctl(&["reopen"]).done();
    assert_eq!(server.ctl(&["nonsense"]).code, 2);
    assert_eq!(server.ctl(&["scale", "many"]).code, 2);
    server.ctl(&["stop"]).done();
    assert_eq!(server.exit().code(), Some(0));
}
