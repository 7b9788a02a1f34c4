//! `rcorn cgi` under load and under real web servers: parts, gigabytes, clients and servers that
//! give up.

use super::cgi;

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::once::{collect, wait};
use crate::support::{APPS, Deadline, Gate, Once, Place, Wire, lacks, program, wait_until};

#[test]
fn each_part_is_sent_before_the_next_is_made() {
    let gate = Gate::new();
    let mut once = cgi("cases:app", "GET", "/held_generator");
    for (name, value) in gate.variables() {
        once = once.env(name, value);
    }
    let mut child = once.start();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    gate.expect(Deadline::after(Duration::from_secs(30)));
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(
            reader.read_line(&mut line).unwrap() > 0,
            "no head before the gate"
        );
    }
    let mut first = [0; 5];
    reader.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
    gate.open();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second");
    assert!(wait(&mut child).success());
}

#[test]
fn a_gigabyte_each_way_in_bounded_memory() {
    let most = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let place = words.iter().position(|word| *word == "peak").unwrap();
        let peak: u64 = words[place + 1].parse().unwrap();
        assert!(peak < 64, "{text}");
    };
    let gigabyte = 1_u64 << 30;
    let mut child = cgi("oneshot:app", "POST", "/upload")
        .env("CONTENT_LENGTH", gigabyte.to_string())
        .start();
    let mut input = child.stdin.take().unwrap();
    let output = collect(child.stdout.take().unwrap());
    let part = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        input.write_all(&part).unwrap();
    }
    assert!(wait(&mut child).success());
    let said = String::from_utf8(output.join().unwrap()).unwrap();
    assert!(said.contains(&format!("{gigabyte} bytes")), "{said}");
    most(&said);

    let mut child = cgi("oneshot:app", "GET", "/download").start();
    let errors = collect(child.stderr.take().unwrap());
    let mut output = child.stdout.take().unwrap();
    let received = std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    assert!(
        received > gigabyte && received < gigabyte + 200,
        "{received}"
    );
    assert!(wait(&mut child).success());
    most(&String::from_utf8(errors.join().unwrap()).unwrap());
}

#[test]
fn a_client_that_leaves_is_no_news_and_close_is_called() {
    let mut child = cgi("oneshot:app", "GET", "/download").start();
    let errors = collect(child.stderr.take().unwrap());
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 100]).unwrap();
    drop(output);
    assert_eq!(wait(&mut child).code(), Some(0));
    let errors = String::from_utf8(errors.join().unwrap()).unwrap();
    assert!(
        errors.starts_with("closed, peak") && errors.lines().count() == 1,
        "{errors}"
    );
}

#[test]
fn a_web_server_that_gives_up_sends_term_and_close_is_called() {
    let mut child = cgi("oneshot:app", "GET", "/download").start();
    let errors = collect(child.stderr.take().unwrap());
    // The pipe fills up, and the app blocks in a write.
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut [0; 100])
        .unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(wait(&mut child).code(), Some(143));
    let errors = String::from_utf8(errors.join().unwrap()).unwrap();
    assert!(
        errors.starts_with("closed, peak") && errors.lines().count() == 1,
        "{errors}"
    );
}

/// A folder with a script in `cgi-bin` that starts rcorn.
fn site(app: &str) -> TempDir {
    let site = TempDir::with_prefix("rcorn-cgi-").unwrap();
    let script = site.path().join("cgi-bin/app");
    std::fs::create_dir(site.path().join("cgi-bin")).unwrap();
    let rcorn = env!("CARGO_BIN_EXE_rcorn");
    // lighttpd does not pass PATH on.
    let path = std::env::var("PATH").unwrap();
    let text =
        format!("#!/bin/sh\nPATH='{path}' exec '{rcorn}' cgi --chdir '{APPS}' {app} \"$@\"\n");
    // Not written by this process: a fork for another test could hold it open for writing, and exec
    // would fail (ETXTBSY).
    let words = [
        "-m".into(),
        "755".into(),
        "/dev/stdin".into(),
        script.into_os_string(),
    ];
    Once::new("install", words).input(text).run().done();
    site
}

#[test]
fn under_busybox_httpd() {
    if lacks(&[program("busybox")]) {
        return;
    }
    let ask = |app: &str, request: &str| {
        let site = site(app);
        let served = Once::new(
            "busybox",
            ["httpd", "-i", "-c", "/dev/null", "-h"]
                .map(Into::into)
                .into_iter()
                .chain([site.path().as_os_str().to_owned()]),
        )
        .input(request)
        .run();
        served.text()
    };
    let post = "POST /cgi-bin/app/read?a=b HTTP/1.0\r\nHost: test\r\nProxy: http://evil\r\nContent-Length: 5\r\n\r\nhello";
    let reply = ask("environ:app", post);
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(
        reply.contains(r"b'hello'") && reply.contains("'/read'") && !reply.contains("evil"),
        "{reply}"
    );
    // busybox takes no output for success, so rcorn prints an error response.
    let reply = ask("nowhere:app", "GET /cgi-bin/app HTTP/1.0\r\n\r\n");
    assert!(
        reply.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
        "{reply}"
    );
    let reply = ask(
        "oneshot:app",
        "GET /cgi-bin/app/x?--python+/bin/false HTTP/1.0\r\n\r\n",
    );
    assert!(
        reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("/x"),
        "{reply}"
    );
}

#[test]
fn under_lighttpd() {
    if lacks(&[program("lighttpd")]) {
        return;
    }
    let site = site("cases:app");
    let folder = site.path();
    let socket = folder.join("socket");
    let text = format!(
        "server.document-root = \"{0}\"\nserver.bind = \"{1}\"\nserver.modules = (\"mod_cgi\")\nserver.errorlog = \"{0}/log\"\nserver.stream-response-body = 1\ncgi.assign = (\"\" => \"\")\n",
        folder.display(),
        socket.display()
    );
    let settings = folder.join("lighttpd.conf");
    std::fs::write(&settings, text).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut lighttpd = Once::new(
        "lighttpd",
        ["-D".into(), "-f".into(), settings.into_os_string()],
    )
    .env("PATH", format!("{path}:/usr/sbin"))
    .start();
    let place = Place::Unix(socket);
    wait_until(
        Deadline::after(Duration::from_secs(30)),
        "lighttpd listens",
        || Wire::try_connect(&place).is_ok(),
    );
    let mut wire = Wire::connect(&place);
    for (target, status, text) in [
        ("/cgi-bin/app/hello", 200, "OK\n"),
        ("/cgi-bin/app/write", 200, "one two three"),
        ("/cgi-bin/app/generator", 200, "0 1 2 3 4 "),
        ("/cgi-bin/app/raises", 500, "Internal Server Error\n"),
        ("/cgi-bin/app/nothing?words+only", 404, "no such case"),
        ("/cgi-bin/app/no_content", 204, ""),
    ] {
        let reply = wire.get(target);
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (status, text),
            "{target}"
        );
    }
    wire.send("POST /cgi-bin/app/read_all HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(wire.read_reply().text(), "abcde");
    let large = wire.get("/cgi-bin/app/large");
    assert_eq!(large.body.len(), 10240 * 1024);
    drop(wire);
    kill(Pid::from_raw(lighttpd.id().cast_signed()), Signal::SIGTERM).unwrap();
    // Its exit code does not matter: it depends on children that lighttpd did not wait for.
    wait(&mut lighttpd);
    let mut errors = String::new();
    lighttpd
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert!(errors.contains("ValueError: raised on purpose"), "{errors}");
}
