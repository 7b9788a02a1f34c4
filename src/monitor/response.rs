//! The answers of the status address. Each ends its connection.

use rcorn_control::Status;
use rcorn_http::response::reason;

use super::exposition::{Format, metrics};
use super::page::{CONTENT_SECURITY_POLICY, PAGE};
use super::readiness::is_ready;
use super::request::Resource;

/// The body of an answer, and how it is to be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The status code.
    pub status: u16,
    /// The media type.
    pub media: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The answer that is made of a status.
#[must_use]
pub fn answer(resource: Resource, status: &Status) -> Body {
    let text = |status, bytes: &str| Body {
        status,
        media: TEXT,
        bytes: bytes.as_bytes().to_vec(),
    };
    match resource {
        Resource::Page => Body {
            status: 200,
            media: "text/html; charset=utf-8",
            bytes: PAGE.as_bytes().to_vec(),
        },
        Resource::Metrics(format) => Body {
            status: 200,
            media: match format {
                Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
                Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            },
            bytes: metrics(status, format).into_bytes(),
        },
        Resource::Status => match serde_json::to_vec(status) {
            Ok(bytes) => Body {
                status: 200,
                media: "application/json",
                bytes,
            },
            Err(error) => text(500, &format!("{error}\n")),
        },
        Resource::Health => text(200, "ok\n"),
        Resource::Ready if is_ready(status) => text(200, "ready\n"),
        Resource::Ready if status.state == "stopping" => text(503, "stopping\n"),
        Resource::Ready => text(503, "no worker serves\n"),
    }
}

/// Why a request is not answered.
#[must_use]
pub fn refusal(status: u16, why: &str) -> Body {
    Body {
        status,
        media: TEXT,
        bytes: format!("{why}\n").into_bytes(),
    }
}

/// The head of an answer.
#[must_use]
pub fn head(body: &Body) -> Vec<u8> {
    let Body {
        status,
        media,
        bytes,
    } = body;
    let (reason, length) = (reason(*status), bytes.len());
    let allow = if *status == 405 {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\n\
         Connection: close\r\n\
         Content-Type: {media}\r\n\
         Content-Length: {length}\r\n\
         Cache-Control: no-store\r\n\
         Content-Security-Policy: {CONTENT_SECURITY_POLICY}\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\
         Referrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\n\
         X-Frame-Options: DENY\r\n\
         {allow}\r\n"
    );
    head.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        let json = format!(
            r#"{{"version": "1", "pid": 1, "generation": 1, "wanted": 1, "app": "a:b",
                 "listeners": [], "templates": [], {json}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn worker(stage: &str) -> String {
        format!(
            r#"{{"id": 1, "pid": 2, "generation": 1, "stage": "{stage}", "requests": 0,
                 "connections": 0}}"#
        )
    }

    #[test]
    fn it_is_ready_while_a_worker_serves_and_no_stop_has_begun() {
        for (state, stage, expected) in [
            ("running", "serving", (200, "ready\n")),
            ("reloading", "serving", (200, "ready\n")),
            ("running", "booting", (503, "no worker serves\n")),
            ("running", "leaving", (503, "no worker serves\n")),
            ("stopping", "serving", (503, "stopping\n")),
        ] {
            let json = format!(r#""state": "{state}", "workers": [{}]"#, worker(stage));
            let answer = answer(Resource::Ready, &status(&json));
            let text = String::from_utf8(answer.bytes).unwrap();
            assert_eq!((answer.status, text.as_str()), expected, "{state} {stage}");
        }
    }

    #[test]
    fn each_answer_says_how_long_it_is_and_ends_its_connection() {
        let body = refusal(405, "only GET");
        let head = String::from_utf8(head(&body)).unwrap();
        assert!(
            head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
            "{head}"
        );
        for line in [
            "Connection: close",
            "Content-Length: 9",
            "Allow: GET, HEAD",
            "X-Content-Type-Options: nosniff",
        ] {
            assert!(
                head.contains(&format!("\r\n{line}\r\n")),
                "{line} in {head}"
            );
        }
        assert!(head.ends_with("\r\n\r\n"));
    }
}
