//! The private key is in no process that runs the app.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use nix::unistd::Pid;

use super::{Client, Pair, server};
use crate::support::{Need, lacks};

/// Whether these bytes are anywhere in the memory of a process.
fn has(pid: Pid, bytes: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut readable = maps.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let readable = words.next()?.starts_with('r');
        Some((number(start)?, number(end)?)).filter(|_| readable)
    });
    readable.any(|(start, end)| {
        let mut part = vec![0; usize::try_from(end - start).unwrap()];
        // The kernel's own pages cannot be read.
        memory.read_exact_at(&mut part, start).is_ok()
            && memchr::memmem::find(&part, bytes).is_some()
    })
}

#[test]
fn no_process_that_runs_the_app_has_the_private_key() {
    if lacks(&[Need::Root]) {
        return;
    }
    let pair = Pair::of(&["localhost"]);
    let server = server(&pair).args(["-w", "2"]).start();
    server.wait_workers(2);
    let mut client = Client::of(&server, &[]);
    client.environ("/");
    // A line of the PEM, and the same as bytes: the private number of a key of P-256 stands at the
    // same place in each PKCS #8 file of its kind.
    let line = pair.key.lines().nth(1).unwrap().as_bytes().to_vec();
    let mut apps = server.titled("rcorn: template");
    apps.extend(server.workers());
    assert!(apps.len() >= 3, "{apps:?}");
    let secret = secret_of(&pair.key);
    for pid in apps {
        assert!(!has(pid, &line), "the PEM is in {pid}");
        assert!(!has(pid, &secret), "the key is in {pid}");
    }
    // The search finds what is there: the arbiter starts a front again from what it has read.
    assert!(has(server.pid(), &line));
    drop(client);
    server.stop();
}

/// The private number in a PKCS #8 file of a key of P-256 (RFC 5915): 32 bytes after `04 20`.
fn secret_of(pem: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    let digits: String = lines.collect();
    let digits = digits.trim_end_matches('=').bytes();
    let bits = digits.map(|digit| ALPHABET.iter().position(|one| *one == digit).unwrap());
    let (mut der, mut buffer, mut count) = (Vec::new(), 0_usize, 0);
    for six in bits {
        buffer = buffer << 6 | six;
        count += 6;
        if count >= 8 {
            count -= 8;
            der.push(u8::try_from(buffer >> count & 0xff).unwrap());
        }
    }
    let mark = memchr::memmem::find(&der, &[2, 1, 1, 4, 32]).unwrap() + 5;
    der[mark..mark + 32].to_vec()
}
