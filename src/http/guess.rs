//! What a refused request looks like: another protocol, by its first bytes, or a usual mistake of a
//! known client. It is for the log only.

use core::fmt;

use super::Refusal;

/// The maximum number of bytes in which a forwarded address is looked for.
const MAX_SEARCHED_BYTES: usize = 16 * 1024;

/// What the beginning of a connection, or of a request, looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// A TLS handshake (RFC 8446 section 5.1), or the older one of SSL 2.
    Tls,
    /// The preface of HTTP/2 (RFC 9113 section 3.4).
    Http2,
    /// A PROXY header (`proxy-protocol.txt` of `HAProxy`).
    Proxy,
    /// A uwsgi packet.
    Uwsgi,
    /// An HTTP request on an address for uwsgi.
    Http,
    /// A `FastCGI` record (version 1, `FCGI_BEGIN_REQUEST`).
    FastCgi,
    /// SCGI: a netstring that begins with `CONTENT_LENGTH`.
    Scgi,
    /// An AJP13 packet.
    Ajp,
    /// SSH (RFC 4253 section 4.2).
    Ssh,
    /// SOCKS 4 or 5 (RFC 1928 section 3).
    Socks,
    /// Remote desktop: a TPKT header (RFC 1006 section 6) with an X.224 connection request.
    Rdp,
    /// SMB.
    Smb,
    /// The start of a `PostgreSQL` session.
    Postgres,
    /// A Redis command: an array of bulk strings.
    Redis,
    /// MQTT: a CONNECT packet.
    Mqtt,
    /// Telnet: an option negotiation (RFC 854).
    Telnet,
    /// RTSP (RFC 7826).
    Rtsp,
    /// SIP (RFC 3261).
    Sip,
    /// SMTP (RFC 5321).
    Smtp,
    /// A request line of HTTP/0.9, without a version.
    Http09,
    /// A request of HTTP/1.1 without Host, as health checks of load balancers send it.
    HealthCheck,
}

impl Guess {
    /// What a refused request looks like; `received` are its first bytes.
    #[must_use]
    pub fn of(received: &[u8], refusal: Refusal) -> Option<Self> {
        // Others were understood as what they should be.
        let is_strange = matches!(
            refusal,
            Refusal::NotHttp
                | Refusal::LineEnd
                | Refusal::RequestLine
                | Refusal::RequestLineTooLong
                | Refusal::Method
                | Refusal::Target
                | Refusal::VersionForm
                | Refusal::Version
                | Refusal::Modifier
        );
        if refusal == Refusal::NoHost {
            Some(Self::HealthCheck)
        } else if !is_strange {
            None
        } else if let Some(other) = Self::binary(received).or_else(|| Self::text(received)) {
            Some(other)
        } else {
            let is_http = refusal == Refusal::Modifier && is_request_line(first_line(received));
            is_http.then_some(Self::Http)
        }
    }

    /// A protocol that begins with bytes that are not text.
    fn binary(received: &[u8]) -> Option<Self> {
        Some(match received {
            [0x16, 3, 0..=4, ..] | [0x80..=0xff, _, 1, 0 | 3, ..] => Self::Tls,
            [b'\r', b'\n', b'\r', b'\n', 0, b'\r', b'\n', ..] => Self::Proxy,
            [1, 1, _, _, 0, 8, ..] => Self::FastCgi,
            [0x12, 0x34, _, _, 2, ..] => Self::Ajp,
            [4, 1 | 2, _, _, _, _, _, _, ..] => Self::Socks,
            [5, count @ 1..=0xff, methods @ ..] if methods.len() <= usize::from(*count) => {
                Self::Socks
            }
            [3, 0, _, _, _, 0xe0, ..] => Self::Rdp,
            [0, _, _, _, 0xfe | 0xff, b'S', b'M', b'B', ..] => Self::Smb,
            [0, 0, _, _, 4, 0xd2, 0x16, 0x2f | 0x30, ..] | [0, 0, _, _, 0, 3, 0, 0, ..] => {
                Self::Postgres
            }
            [0x10, _, 0, 4 | 6, b'M', b'Q', ..] => Self::Mqtt,
            [0xff, 0xfb..=0xfe, ..] => Self::Telnet,
            // The length of the first name, then that name in capitals.
            [0, _, _, 0, length, 0, first, ..] if *length > 0 && first.is_ascii_uppercase() => {
                Self::Uwsgi
            }
            _ => return None,
        })
    }

    /// A protocol of text.
    fn text(received: &[u8]) -> Option<Self> {
        let line = first_line(received);
        let begins = |words: &[&[u8]]| words.iter().any(|word| line.starts_with(word));
        let ends = |word: &[u8]| line.windows(word.len()).any(|part| part == word);
        Some(if begins(&[b"PRI * HTTP/2"]) {
            Self::Http2
        } else if begins(&[b"PROXY TCP", b"PROXY UNKNOWN"]) {
            Self::Proxy
        } else if begins(&[b"SSH-"]) {
            Self::Ssh
        } else if begins(&[b"EHLO ", b"HELO ", b"MAIL FROM:", b"STARTTLS"]) {
            Self::Smtp
        } else if ends(b" RTSP/") {
            Self::Rtsp
        } else if ends(b" SIP/2.0") {
            Self::Sip
        } else if is_redis(received) {
            Self::Redis
        } else if is_scgi(received) {
            Self::Scgi
        } else if is_http09(line) {
            Self::Http09
        } else {
            return None;
        })
    }
}

impl fmt::Display for Guess {
    /// A noun, and after a colon what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "a TLS handshake: the client uses https, this address speaks http",
            Self::Http2 => "HTTP/2: this server speaks HTTP/1.1",
            Self::Proxy => "a PROXY header: see proxy_protocol",
            Self::Uwsgi => "a uwsgi packet: see protocol, or use proxy_pass instead of uwsgi_pass",
            Self::Http => "an HTTP request: this address speaks uwsgi (protocol)",
            Self::FastCgi => "FastCGI: use proxy_pass instead of fastcgi_pass",
            Self::Scgi => "SCGI: use proxy_pass instead of scgi_pass",
            Self::Ajp => "AJP: the proxy must use http",
            Self::Ssh => "SSH",
            Self::Socks => "SOCKS: this server is not a proxy",
            Self::Rdp => "RDP",
            Self::Smb => "SMB",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
            Self::Mqtt => "MQTT",
            Self::Telnet => "Telnet",
            Self::Rtsp => "RTSP",
            Self::Sip => "SIP",
            Self::Smtp => "SMTP",
            Self::Http09 => "HTTP/0.9",
            Self::HealthCheck => {
                "a health check: with HAProxy, add 'http-check send hdr Host NAME', or set \
                 require_host to false"
            }
        })
    }
}

/// The first line that is not empty, without its end; all bytes if there is no line end.
#[must_use]
pub fn first_line(received: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let mut lines = received.split(is_end);
    lines.find(|line| !line.is_empty()).unwrap_or(&[])
}

/// The client that a proxy names in the head of a request: the first address of `X-Forwarded-For`,
/// or `X-Real-IP`. The head need not be complete or valid.
#[must_use]
pub fn forwarded_for(received: &[u8]) -> Option<&[u8]> {
    let mut found = fields(received).filter_map(|(name, value)| {
        let is_known = name.eq_ignore_ascii_case(b"x-forwarded-for")
            || name.eq_ignore_ascii_case(b"x-real-ip");
        let first = value.split(|byte| *byte == b',').next();
        is_known.then(|| first.unwrap_or(value).trim_ascii())
    });
    found.find(|value| !value.is_empty())
}

/// The value of the first field of this name in the head of a request, which need not be complete
/// or valid.
#[must_use]
pub fn field_in<'a>(received: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut found = fields(received).filter(|(one, _)| one.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim_ascii())
}

/// What look like fields, as names and values.
fn fields(received: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (searched, _rest) = received.split_at(received.len().min(MAX_SEARCHED_BYTES));
    let lines = searched.split(|byte| *byte == b'\n').skip(1);
    let lines = lines.take_while(|line| !line.trim_ascii().is_empty());
    lines.filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at(colon);
        let (_colon, value) = value.split_at(1);
        Some((name, value))
    })
}

/// Whether this is a method and a target.
fn is_request_line(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or(&[]);
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    is_method && words.next().is_some_and(|target| target.starts_with(b"/"))
}

/// Whether this is `GET` and a path without a version.
fn is_http09(line: &[u8]) -> bool {
    let path = line.strip_prefix(b"GET /");
    path.is_some_and(|path| !path.contains(&b' '))
}

/// `*1`, CR LF, `$4`.
fn is_redis(received: &[u8]) -> bool {
    let Some(rest) = received.strip_prefix(b"*") else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (_count, rest) = rest.split_at(digits);
    digits > 0 && rest.starts_with(b"\r\n$")
}

/// `70:CONTENT_LENGTH`, NUL.
fn is_scgi(received: &[u8]) -> bool {
    let digits = received
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (_length, rest) = received.split_at(digits);
    digits > 0 && rest.starts_with(b":CONTENT_LENGTH\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(received: &[u8]) -> Option<Guess> {
        Guess::of(received, Refusal::RequestLine)
    }

    #[test]
    fn other_protocols_are_recognised_by_their_first_bytes() {
        let cases: [(&[u8], Guess); 28] = [
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", Guess::Tls),
            (b"\x16\x03\x03", Guess::Tls),
            (b"\x80\x2e\x01\x03\x01", Guess::Tls),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Guess::Http2),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n",
                Guess::Proxy,
            ),
            (b"PROXY UNKNOWN\r\n", Guess::Proxy),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Guess::Proxy),
            (b"\0\x26\0\0\x0e\0REQUEST_METHOD\x03\0GET", Guess::Uwsgi),
            (
                b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0",
                Guess::FastCgi,
            ),
            (b"70:CONTENT_LENGTH\x0027\0SCGI\x001\0", Guess::Scgi),
            (b"\x12\x34\0\x10\x02\x02\0", Guess::Ajp),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Guess::Ssh),
            (b"\x05\x01\0", Guess::Socks),
            (b"\x05\x02\0\x02", Guess::Socks),
            (b"\x04\x01\0\x50\x7f\0\0\x01\0", Guess::Socks),
            (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0", Guess::Rdp),
            (b"\0\0\0\x85\xffSMB\x72", Guess::Smb),
            (b"\0\0\0\x90\xfeSMB\x40", Guess::Smb),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Guess::Postgres),
            (b"\0\0\0\x29\0\x03\0\0user\0", Guess::Postgres),
            (b"*1\r\n$4\r\nPING\r\n", Guess::Redis),
            (b"\x10\x10\0\x04MQTT\x04\x02", Guess::Mqtt),
            (b"\xff\xfd\x18\xff\xfd\x20", Guess::Telnet),
            (b"OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n", Guess::Rtsp),
            (b"OPTIONS sip:x SIP/2.0\r\n", Guess::Sip),
            (b"EHLO x\r\n", Guess::Smtp),
            (b"GET /\r\n", Guess::Http09),
            (b"\r\nGET /x\r\n", Guess::Http09),
        ];
        for (received, expected) in cases {
            assert_eq!(
                guess(received),
                Some(expected),
                "{}",
                received.escape_ascii()
            );
            assert!(!expected.to_string().is_empty());
        }
    }

    #[test]
    fn requests_of_http_are_not_another_protocol() {
        for received in [
            &b"GET / HTTP/1.1\r\nHost: \x01\r\n\r\n"[..],
            b"GET /proxy HTTP/1.1\n",
            b"PROXY / HTTP/1.1\r\n",
            b"get / HTTP/1.1\r\n",
            b"POST /a b HTTP/1.1\r\n",
            b"GET /?x=SSH-2.0 HTTP/1.2\r\n",
            b"*",
            b"5",
            b"",
            b"\0",
            b"\x05",
            b"\xe9",
        ] {
            assert_eq!(guess(received), None, "{}", received.escape_ascii());
        }
    }

    #[test]
    fn the_refusal_tells_more_than_the_bytes() {
        let request = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(
            Guess::of(request, Refusal::NoHost),
            Some(Guess::HealthCheck)
        );
        assert_eq!(Guess::of(request, Refusal::Modifier), Some(Guess::Http));
        let tls = b"\x16\x03\x01\x02\0";
        assert_eq!(Guess::of(tls, Refusal::Modifier), Some(Guess::Tls));
        assert_eq!(Guess::of(b"\x09", Refusal::Modifier), None);
    }

    #[test]
    fn the_client_is_the_first_address_that_a_proxy_names() {
        for (head, client) in [
            (
                &b"GET / HTTP/1.1\r\nx-forwarded-for: 192.0.2.7, 10.0.0.1\r\n"[..],
                Some(&b"192.0.2.7"[..]),
            ),
            (
                b"G\0T /\r\nA: b\r\nX-Real-IP:\t2001:db8::1 \r\nX: y",
                Some(b"2001:db8::1"),
            ),
            (b"GET / HTTP/1.1\r\nX-Forwarded-For: \r\n\r\n", None),
            (b"X-Forwarded-For: 192.0.2.7\r\n", None),
            (
                b"POST / HTTP/1.1\r\n\r\nX-Forwarded-For: 192.0.2.7\r\n",
                None,
            ),
            (b"", None),
        ] {
            assert_eq!(forwarded_for(head), client, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn a_field_is_found_in_a_head_that_is_not_valid() {
        let head = b"GET / HTTP/9\r\nA : 1\r\nx-request-ID:  7f \r\nX-Request-Id: 8\r\n\r\nB: 2";
        assert_eq!(field_in(head, b"x-request-id"), Some(&b"7f"[..]));
        assert_eq!(field_in(head, b"B"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            guess(&bytes);
            proptest::prop_assert!(first_line(&bytes).len() <= bytes.len());
            proptest::prop_assert!(forwarded_for(&bytes).is_none_or(|client| !client.is_empty()));
            proptest::prop_assert!(field_in(&bytes, b"x").is_none_or(|value| value.len() < bytes.len()));
        }
    }
}
