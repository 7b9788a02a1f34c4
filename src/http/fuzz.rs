//! Properties that hold for all bytes, as functions that panic if they do not. `tests/fuzz`
//! searches for counterexamples with coverage; the unit tests try some. Each property compares with
//! a lenient parser, such as a proxy may have: whatever is accepted here, it must have understood
//! in the same way.

use super::reader::{Heard, Reader, Rules};
use super::{ChunkedDecoder, Framing, Head, Limits, Packet, Preface, Progress, ProxyVersions};
use super::{Refusal, parse_packet, parse_preface};

/// Up to this length, input is also read byte by byte.
const SHORT: usize = 400;

/// A connection of HTTP. The first byte chooses settings, the second byte where to split the rest.
///
/// # Panics
///
/// A property does not hold.
pub fn connection(data: &[u8]) {
    let [flags, cut, bytes @ ..] = data else {
        return;
    };
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let mut limits = Limits {
        require_host: !flag(0),
        permit_obsolete_folding: flag(1),
        permit_unconventional_http_method: flag(2),
        permit_unconventional_http_version: flag(3),
        casefold_http_method: flag(4),
        refuse_underscores: flag(5),
        ..Limits::default()
    };
    if flag(6) {
        (limits.request_line, limits.fields, limits.field_size) = (40, 4, 30);
    }
    let proxy = ProxyVersions {
        v1: flag(7),
        v2: flag(7),
    };
    let is_folding = limits.permit_obsolete_folding;
    let rules = Rules {
        limits,
        proxy,
        ..Rules::default()
    };
    let whole = read_in_pieces(&rules, bytes, *cut);
    if !is_folding {
        let mut rest = bytes.get(whole.preface.length..).unwrap_or(&[]);
        for heard in &whole.heard {
            rest = read_leniently(rest, heard);
        }
    }
}

/// A chunked body. The first byte chooses where to split the rest.
///
/// # Panics
///
/// A property does not hold.
pub fn chunked(data: &[u8]) {
    let [cut, bytes @ ..] = data else {
        return;
    };
    let whole = decode(&[bytes]);
    assert_eq!(whole, decode(&pieces(bytes, *cut)), "cut by {cut}");
    if bytes.len() <= SHORT {
        assert_eq!(whole, decode(&singly(bytes)), "byte by byte");
    }
    if let Ok((data, Some(used))) = whole {
        let (lenient, rest) = lenient_chunks(bytes).unwrap_or_default();
        assert_eq!(data, lenient, "the data");
        assert_eq!(used, bytes.len().saturating_sub(rest.len()), "the end");
    }
}

/// The beginning of a connection. The first byte chooses which PROXY headers are accepted.
///
/// # Panics
///
/// A property does not hold.
pub fn preface(data: &[u8]) {
    let [flags, bytes @ ..] = data else {
        return;
    };
    let versions = ProxyVersions {
        v1: flags & 1 == 0,
        v2: flags & 2 == 0,
    };
    let read = |bytes: &[u8]| parse_preface(bytes, versions, flags & 4 == 0);
    let whole = read(bytes);
    for end in 0..bytes.len().min(SHORT) {
        let part = read(bytes.get(..end).unwrap_or(bytes));
        assert!(
            part == Ok(Progress::More) || part == whole,
            "{part:?} of {end} bytes, then {whole:?}"
        );
    }
    let Ok(Progress::Done(Preface { length, addresses })) = whole else {
        return;
    };
    let header = bytes.get(..length);
    let header = header.expect("no header is longer than what has come");
    if header.starts_with(b"PROXY ") {
        let ends = header.iter().filter(|byte| **byte == b'\n').count();
        assert!(header.ends_with(b"\r\n") && ends == 1, "one line");
        if let Some(addresses) = addresses
            && addresses.client.is_ipv4()
        {
            let (from, to) = (addresses.client, addresses.proxy);
            let (client, proxy) = (from.ip(), to.ip());
            let text = format!(
                "PROXY TCP4 {client} {proxy} {} {}\r\n",
                from.port(),
                to.port()
            );
            assert_eq!(header, text.as_bytes(), "there is one way to say it");
        }
    } else if length > 0 {
        assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "a signature");
    } else {
        assert_eq!(addresses, None, "of nobody");
    }
}

/// A connection of uwsgi. The first byte chooses where to split the rest.
///
/// # Panics
///
/// A property does not hold.
pub fn packet(data: &[u8]) {
    let [cut, bytes @ ..] = data else {
        return;
    };
    let rules = Rules {
        uwsgi: true,
        ..Rules::default()
    };
    let whole = read_in_pieces(&rules, bytes, *cut);
    assert!(whole.heard.len() <= 1, "one request");
    let (mut packet, mut head) = (Packet::default(), Head::default());
    if parse_packet(bytes, &Limits::default(), &mut packet, &mut head) == Ok(Progress::Done(())) {
        let count = |wanted: u8| packet.text.iter().filter(|byte| **byte == wanted).count();
        let lines = head.fields.len().saturating_add(2);
        assert_eq!(
            (count(b'\r'), count(b'\n')),
            (lines, lines),
            "no other line"
        );
        assert!(
            head.fields.len() <= packet.variables.len(),
            "no other field"
        );
        assert!(!head.keep_alive && head.framing != Framing::Chunked);
        assert!(packet.length <= bytes.len());
    }
}

/// Reads the bytes whole and in pieces, and asserts that the results are equal.
fn read_in_pieces(rules: &Rules, bytes: &[u8], cut: u8) -> Reader {
    let whole = Reader::read(rules, &[bytes]);
    let other = Reader::read(rules, &pieces(bytes, cut));
    assert!(whole.is_as(&other), "{whole:?} and {other:?}");
    if bytes.len() <= SHORT {
        let other = Reader::read(rules, &singly(bytes));
        assert!(whole.is_as(&other), "{whole:?} and {other:?}");
    }
    whole
}

/// The bytes as pieces of one byte.
fn singly(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

/// The bytes as two pieces, split at `cut` 256ths of the length.
fn pieces(bytes: &[u8], cut: u8) -> [&[u8]; 2] {
    let at = bytes.len().saturating_mul(usize::from(cut)) / 256;
    let (first, second) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    [first, second]
}

/// The decoded data, and the end of the body if it is complete.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<usize>), Refusal> {
    let mut decoder = ChunkedDecoder::new(&Limits::default());
    let (mut data, mut used) = (Vec::new(), 0_usize);
    for piece in pieces {
        let mut piece = *piece;
        while !piece.is_empty() {
            let chunk = decoder.decode(piece)?;
            data.extend_from_slice(chunk.data);
            used = used.saturating_add(chunk.consumed);
            if chunk.done {
                return Ok((data, Some(used)));
            }
            assert!(chunk.consumed > 0, "it goes on");
            piece = piece.get(chunk.consumed..).unwrap_or(&[]);
        }
    }
    Ok((data, None))
}

/// A line up to LF, without whitespace at its end, and what follows it.
fn lenient_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = bytes.get(..end)?.trim_ascii_end();
    Some((line, bytes.get(end.saturating_add(1)..)?))
}

/// Reads a request that was accepted as a careless parser does; returns what follows it.
fn read_leniently<'a>(mut bytes: &'a [u8], heard: &Heard) -> &'a [u8] {
    while let Some(b'\r' | b'\n') = bytes.first() {
        bytes = bytes.get(1..).unwrap_or(&[]);
    }
    let (_line, mut rest) = lenient_line(bytes).expect("a request line");
    let (mut fields, mut lengths, mut codings) = (0_usize, Vec::new(), Vec::new());
    loop {
        let (line, after) = lenient_line(rest).expect("a field");
        rest = after;
        if line.is_empty() {
            break;
        }
        fields = fields.saturating_add(1);
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or(&[]).trim_ascii();
        let name = name.to_ascii_lowercase().escape_ascii().to_string();
        let value = parts.next().unwrap_or(&[]).trim_ascii();
        match name.replace('_', "-").as_str() {
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value),
            _ => {}
        }
    }
    assert_eq!(fields, heard.fields.len(), "fields of {heard:?}");
    match heard.framing {
        Framing::Chunked => {
            assert!(lengths.is_empty() && codings.len() == 1, "{heard:?}");
            let (data, after) = lenient_chunks(rest).expect("chunks");
            assert_eq!(data, heard.body);
            after
        }
        Framing::Length(length) => {
            assert!(lengths.len() == 1 && codings.is_empty(), "{heard:?}");
            let said = lengths.first().and_then(|said| str::from_utf8(said).ok());
            assert_eq!(said.and_then(|said| said.parse().ok()), Some(length));
            let (body, after) = rest.split_at_checked(heard.body.len()).expect("a body");
            assert_eq!(body, heard.body);
            after
        }
        Framing::None => {
            assert!(lengths.is_empty() && codings.is_empty(), "{heard:?}");
            rest
        }
    }
}

/// Reads chunks and trailer fields without checking them; returns the data, and what follows.
fn lenient_chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut data = Vec::new();
    loop {
        let (line, after) = lenient_line(rest)?;
        let digits = line.trim_ascii().iter().map(|byte| char::from(*byte));
        let digits: String = digits.take_while(char::is_ascii_hexdigit).collect();
        let size = u128::from_str_radix(&digits, 16).ok()?;
        if size == 0 {
            rest = after;
            break;
        }
        let (piece, after) = after.split_at_checked(usize::try_from(size).ok()?)?;
        data.extend_from_slice(piece);
        let (end, after) = lenient_line(after)?;
        assert!(end.is_empty(), "something behind a chunk");
        rest = after;
    }
    loop {
        let (line, after) = lenient_line(rest)?;
        rest = after;
        if line.is_empty() {
            return Some((data, rest));
        }
    }
}
