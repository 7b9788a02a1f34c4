//! Listeners that only send clients to HTTPS, and answer the challenges by which an authority sees
//! that a certificate is for this machine (RFC 8555 section 8.3).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use rcorn_front_link::RedirectHttps;
use rcorn_http::Head;

use crate::counters::Counter;
use crate::http1_io::{Next, close, next_head, write};
use crate::local::Local;
use crate::page;
use crate::running::Running;
use crate::stream::Client;
use crate::timer::{Timer, limit};

const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

/// The longest file of a challenge, in bytes: a token, a dot and a hash.
const MAX_CHALLENGE_BYTES: u64 = 16 * 1024;

/// An answer: a complete response, or the status and text of a page.
type Answer = Result<Vec<u8>, (u16, &'static str)>;

/// Serves one request.
pub(crate) async fn serve(
    local: &Local,
    running: &Running,
    mut client: Client,
    challenges: Option<&impl AsFd>,
) {
    let (mut timer, mut head) = (Timer::new(), Head::default());
    let answer = match next_head(local, running, &mut client, &mut timer, &mut head).await {
        Next::Head => answer(running, &head, client.input.data(), challenges),
        Next::Close => return,
        Next::Late => Err((408, "The request took too long to arrive.")),
        Next::Refused(refusal) => {
            local.count(Counter::RefusedRequests);
            let text = refusal.to_string();
            Ok(text_page(running, refusal.status(), &text, false))
        }
    };
    let is_head = head.method(client.input.data()) == b"HEAD";
    let bytes = answer.unwrap_or_else(|(status, text)| text_page(running, status, text, is_head));
    let limit = limit(running.limits().write_ms);
    if write(&mut client, &mut timer, limit, &bytes).await {
        close(client, true).await;
    }
}

fn text_page(running: &Running, status: u16, text: &str, is_head: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let server = running.configuration.server.as_deref();
    page::write(&mut bytes, status, text, server, is_head);
    bytes
}

fn answer(running: &Running, head: &Head, bytes: &[u8], challenges: Option<&impl AsFd>) -> Answer {
    let path = head.path.of(bytes);
    if let Some(directory) = challenges
        && let Some(token) = path.strip_prefix(CHALLENGES)
    {
        return challenge(head.method(bytes), token, directory);
    }
    let host = head.host.map(|host| host.of(bytes));
    let location = location(
        &running.configuration.redirect_https,
        host.unwrap_or_default(),
        path,
        head.query.of(bytes),
    )?;
    let date = page::date();
    Ok(format!(
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\
         Date: {date}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes())
}

/// Where a client is sent to.
fn location(
    settings: &RedirectHttps,
    host: &[u8],
    path: &[u8],
    query: &[u8],
) -> Result<String, (u16, &'static str)> {
    let host = host_without_port(host).ok_or((400, "The Host header field is malformed."))?;
    let is_known = |known: &String| known.eq_ignore_ascii_case(host);
    if !settings.hosts.is_empty() && !settings.hosts.iter().any(is_known) {
        return Err((421, "This server does not know this host."));
    }
    let port = settings.port.filter(|port| *port != 443);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    // The parser has seen that they are ASCII.
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let (path, query) = (text(path), text(query));
    if !path.starts_with('/') {
        return Err((400, "Only a path can be redirected."));
    }
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("https://{host}{port}{path}{mark}{query}"))
}

/// A host name or an address (RFC 3986 section 3.2.2), strictly: it becomes part of a URL.
fn host_without_port(host: &[u8]) -> Option<&str> {
    let host = std::str::from_utf8(host).ok()?;
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?.checked_add(2)?;
            host.split_at_checked(end)?
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    let is_address = || {
        let inside = name.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<std::net::Ipv6Addr>().ok()
    };
    let is_name_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = !name.is_empty() && name.len() <= 255 && name.bytes().all(is_name_byte);
    (is_name || is_address().is_some()).then_some(name)
}

/// The file of a challenge.
fn challenge(method: &[u8], token: &[u8], directory: &impl AsFd) -> Answer {
    const MISSING: (u16, &str) = (404, "There is no such challenge.");
    if !matches!(method, b"GET" | b"HEAD") {
        return Err((405, "A challenge can only be read."));
    }
    // base64url (RFC 4648 section 5): neither dots nor slashes lead anywhere.
    let is_token_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if token.is_empty() || token.len() > 255 || !token.iter().all(is_token_byte) {
        return Err(MISSING);
    }
    let contents = read(token, directory).map_err(|_error| MISSING)?;
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\
         Date: {}\r\nConnection: close\r\n\r\n",
        contents.len(),
        page::date()
    )
    .into_bytes();
    if method == b"GET" {
        answer.extend_from_slice(&contents);
    }
    Ok(answer)
}

fn read(name: &[u8], directory: &impl AsFd) -> io::Result<Vec<u8>> {
    // A FIFO would be waited for without O_NONBLOCK.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut contents = Vec::new();
    file.take(MAX_CHALLENGE_BYTES).read_to_end(&mut contents)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_and_addresses_become_part_of_a_location() {
        let any = RedirectHttps::default();
        let to = |host: &str| location(&any, host.as_bytes(), b"/a", b"b=c").ok();
        for (host, expected) in [
            ("shop.example", "https://shop.example/a?b=c"),
            ("shop.example:80", "https://shop.example/a?b=c"),
            ("192.0.2.1:8080", "https://192.0.2.1/a?b=c"),
            ("[2001:db8::1]:80", "https://[2001:db8::1]/a?b=c"),
        ] {
            assert_eq!(to(host).as_deref(), Some(expected));
        }
        for host in [
            "", ":80", "a@b", "a:b", "a/b", "a b", "a\r\nb", "[::1", "[x]", "[::1]x", "%61",
        ] {
            assert_eq!(to(host), None, "{host}");
        }
    }

    #[test]
    fn a_port_is_named_and_other_hosts_are_misdirected() {
        let settings = RedirectHttps {
            port: Some(8443),
            hosts: vec!["shop.example".to_owned()],
        };
        let to = |host: &[u8]| location(&settings, host, b"/", b"");
        assert_eq!(to(b"Shop.example").unwrap(), "https://Shop.example:8443/");
        assert_eq!(to(b"evil.example").unwrap_err().0, 421);
    }

    #[test]
    fn no_token_leads_out_of_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        let inside = outside.path().join("challenges");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        std::fs::write(inside.join("token-_1"), "token.thumb").unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
        nix::unistd::mkfifo(&inside.join("fifo"), Mode::S_IRWXU).unwrap();
        let directory = File::open(&inside).unwrap();
        let get = |token: &str| challenge(b"GET", token.as_bytes(), &directory);
        assert!(get("token-_1").unwrap().ends_with(b"\r\n\r\ntoken.thumb"));
        for token in [
            "",
            ".",
            "..",
            "../secret",
            "link",
            "fifo",
            "none",
            "a/b",
            "a%2fb",
            "a\0b",
        ] {
            assert_eq!(get(token).unwrap_err().0, 404, "{token}");
        }
        assert_eq!(
            challenge(b"POST", b"token-_1", &directory).unwrap_err().0,
            405
        );
    }
}
