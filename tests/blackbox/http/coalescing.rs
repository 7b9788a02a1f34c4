//! Replies that leave together: no reply depends on another request.

use super::crowd::Crowd;

#[test]
fn a_request_that_hangs_keeps_no_other_reply() {
    for target in ["/", "/iterable"] {
        let mut crowd = Crowd::gather();
        crowd.until_replies_wait(target);
        crowd.server.stop();
    }
}

#[test]
fn a_worker_that_dies_takes_no_reply_along() {
    let mut crowd = Crowd::gather();
    crowd.until_replies_wait("/");
    crowd.ask("/", "/die");
    for client in crowd.all_but_the_last() {
        assert_eq!(client.read_reply().text(), "ok");
    }
    crowd.server.wait_serving(1);
    crowd.server.stop();
}
