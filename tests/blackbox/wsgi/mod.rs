//! PEP 3333, and the frameworks on top of it.

mod app_children;
mod app_errors;
mod app_object;
mod app_threads;
mod environ;
mod exchange;
mod frameworks;
mod queue_timeout;
mod threads;
mod violations;
mod websocket;

use std::fmt::Write;

use crate::support::Wire;

pub(super) fn text(wire: &mut Wire, target: &str) -> String {
    let reply = wire.get(target);
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    reply.text()
}

pub(super) fn post(wire: &mut Wire, target: &str, body: &str, chunked: bool) -> String {
    if chunked {
        let mut request =
            format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in body.as_bytes().chunks(3) {
            let data = String::from_utf8_lossy(chunk);
            write!(request, "{:x};note=1\r\n{data}\r\n", chunk.len()).unwrap();
        }
        request.push_str("0\r\nX-Trailer: t\r\n\r\n");
        wire.send(request);
    } else {
        wire.send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }
    let reply = wire.read_reply();
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    reply.text()
}
