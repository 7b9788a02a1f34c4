//! Makes records fit into a limit: that of what reaches a pipe in one piece, or that of a datagram.
//! [`cut`] leaves a part out, for a line that must stay one. [`pieces`] keeps everything, in
//! several records.
//!
//! Both look at the text of the record alone, whoever made it. JSON stays JSON: what is cut or
//! divided is the text between two double quotes, and never a character or an escape of it.

use std::io::Write as _;
use std::ops::Range;

/// No marker of what was cut is longer, in bytes.
const MARKER_BYTES: usize = 40;
/// A value is cut to no fewer bytes; rather the line is.
const MIN_VALUE_BYTES: usize = 2 * MARKER_BYTES;
/// One part in so many of what is kept is the end: of a request line it has the version.
const END_PARTS: usize = 4;
/// A limit below this many bytes is not possible.
const MIN_LIMIT_BYTES: usize = 4 * MIN_VALUE_BYTES;
/// Stands where a line is divided, in both pieces.
const CONTINUED: &[u8] = b"...";

/// Cuts the longest values of a line so that it has at most `limit` bytes: the middle of each is
/// replaced by `...[N-bytes-cut]...`. A value is what stands between two double quotes, or between
/// two blanks. If the line is long for another reason, its own middle is left out.
pub(super) fn cut(line: &mut Vec<u8>, limit: usize) {
    if line.len() <= limit {
        return;
    }
    let has_end = line.last() == Some(&b'\n');
    line.truncate(line.len().saturating_sub(usize::from(has_end)));
    let room = limit.saturating_sub(usize::from(has_end));
    let values = values(line);
    let mut made = Vec::with_capacity(limit);
    if let Some(longest) = longest_value(&values, line.len(), room) {
        let mut copied = 0;
        for value in values {
            made.extend_from_slice(line.get(copied..value.start).unwrap_or_default());
            copied = value.end;
            without_middle(line.get(value).unwrap_or_default(), longest, &mut made);
        }
        made.extend_from_slice(line.get(copied..).unwrap_or_default());
    } else {
        without_middle(line, room, &mut made);
    }
    if has_end {
        made.push(b'\n');
    }
    *line = made;
}

/// The pieces of a record, in their order, of which each has at most `limit` bytes: whole lines, as
/// many as fit. A line that is too long is divided; `...` stands at the end of each part but the
/// last, and at the beginning of each but the first. The parts of an object in JSON are objects
/// with the same members, but for the longest text, of which each has a part.
pub(super) fn pieces(record: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let limit = limit.max(MIN_LIMIT_BYTES);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut piece = Vec::new();
    for line in record.split_inclusive(|byte| *byte == b'\n') {
        if piece.len().saturating_add(line.len()) > limit {
            pieces.push(std::mem::take(&mut piece));
        }
        if line.len() > limit {
            divide(line, limit, &mut pieces);
        } else {
            piece.extend_from_slice(line);
        }
    }
    pieces.push(piece);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Adds the parts of one line.
fn divide(line: &[u8], limit: usize, pieces: &mut Vec<Vec<u8>>) {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, &b"\n"[..]),
        None => (line, &b""[..]),
    };
    let is_object = text.starts_with(b"{") && text.ends_with(b"}");
    let member = values(text).into_iter().max_by_key(ExactSizeIterator::len);
    let member = member.filter(|value| {
        let others = line.len().saturating_sub(value.len());
        is_object && others.saturating_add(MIN_VALUE_BYTES) <= limit
    });
    let whole = 0..text.len();
    let is_member = member.is_some();
    let value = member.unwrap_or(whole);
    let before = text.get(..value.start).unwrap_or_default();
    let after = text.get(value.end..).unwrap_or_default();
    let mut rest = text.get(value).unwrap_or_default();
    let room = [before, CONTINUED, CONTINUED, after, b"\n"]
        .into_iter()
        .fold(limit, |room, other| room.saturating_sub(other.len()));
    let mut is_first = true;
    while !rest.is_empty() {
        let (part, others) = rest.split_at(part_end(rest, room));
        rest = others;
        let mut piece = before.to_vec();
        if !is_first {
            piece.extend_from_slice(CONTINUED);
        }
        piece.extend_from_slice(part);
        if !rest.is_empty() {
            piece.extend_from_slice(CONTINUED);
        }
        piece.extend_from_slice(after);
        piece.extend_from_slice(if is_member || rest.is_empty() {
            end
        } else {
            b"\n"
        });
        pieces.push(piece);
        is_first = false;
    }
}

/// Where to divide a text: after a line end in it that is escaped, or else where no more fits.
fn part_end(text: &[u8], room: usize) -> usize {
    if text.len() <= room {
        return text.len();
    }
    let (mut fits, mut line_end) = (0, 0);
    for unit in units(text) {
        if unit.end > room {
            break;
        }
        fits = unit.end;
        if matches!(text.get(unit), Some(b"\\n" | b"\\u000a")) {
            line_end = fits;
        }
    }
    match (line_end, fits) {
        (1.., _) if line_end >= room.div_euclid(2) => line_end,
        // A unit that is longer than the room.
        (_, 0) => text.len().min(room.max(1)),
        (_, fits) => fits,
    }
}

/// The length to which the longest values must be cut, so that a line of `length` bytes fits into
/// `room`.
fn longest_value(values: &[Range<usize>], length: usize, room: usize) -> Option<usize> {
    let fits = |longest: usize| {
        let saved = |value: &Range<usize>| value.len().saturating_sub(longest);
        let saved: usize = values.iter().map(saved).sum();
        length.saturating_sub(saved) <= room
    };
    let mut longest: usize = 0;
    for bit in (0..usize::BITS).rev() {
        let more = longest | 1_usize.checked_shl(bit)?;
        if more <= room && fits(more) {
            longest = more;
        }
    }
    (longest >= MIN_VALUE_BYTES).then_some(longest)
}

/// Appends a text; if it is longer than `most` bytes, without its middle.
fn without_middle(text: &[u8], most: usize, out: &mut Vec<u8>) {
    if text.len() <= most {
        return out.extend_from_slice(text);
    }
    let kept = most.saturating_sub(MARKER_BYTES);
    let end = kept.div_euclid(END_PARTS);
    let (begin, end) = (kept.saturating_sub(end), text.len().saturating_sub(end));
    let mut cut = 0..text.len();
    for unit in units(text) {
        if unit.end <= begin {
            cut.start = unit.end;
        }
        if unit.start >= end {
            cut.end = unit.start;
            break;
        }
    }
    out.extend_from_slice(text.get(..cut.start).unwrap_or_default());
    // Writing to a Vec does not fail.
    write!(out, "...[{}-bytes-cut]...", cut.len()).ok();
    out.extend_from_slice(text.get(cut.end..).unwrap_or_default());
}

/// The values of a line: what stands between two double quotes, and the words outside of them.
fn values(line: &[u8]) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    let (mut begin, mut is_quoted) = (0, false);
    for unit in units(line) {
        let ends = match line.get(unit.start) {
            Some(b'"') => {
                is_quoted = !is_quoted;
                true
            }
            Some(byte) => !is_quoted && byte.is_ascii_whitespace(),
            None => false,
        };
        if ends {
            values.push(begin..unit.start);
            begin = unit.end;
        }
    }
    values.push(begin..line.len());
    values.retain(|value| value.len() > MIN_VALUE_BYTES);
    values
}

/// What must not be cut in two: characters, and escapes of both logs (`\"`, `\x0a`, `\u000a`, and
/// two of the last for one character).
fn units(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let length = match rest {
            [b'\\', b'x', ..] => 4,
            [
                b'\\',
                b'u',
                b'd' | b'D',
                b'8' | b'9' | b'a' | b'b' | b'A' | b'B',
                _,
                _,
                b'\\',
                b'u',
                ..,
            ] => 12,
            [b'\\', b'u', ..] => 6,
            [b'\\', ..] => 2,
            [_, others @ ..] => {
                let is_inner = |byte: &&u8| **byte & 0xc0 == 0x80;
                let inner = others.iter().take(3).take_while(is_inner);
                inner.count().saturating_add(1)
            }
            [] => return None,
        };
        let unit = at..at.saturating_add(length.min(rest.len()));
        at = unit.end;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_to(line: &str, limit: usize) -> String {
        let mut line = line.as_bytes().to_vec();
        cut(&mut line, limit);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_longest_values_are_cut_and_the_line_keeps_its_shape() {
        let long = "a".repeat(5000);
        let agent = "b c ".repeat(1000);
        let line = format!("::1 - u [now] \"GET /{long} HTTP/1.1\" 200 5 \"-\" \"{agent}\"\n");
        let cut = cut_to(&line, 4096);
        assert!((4000..=4096).contains(&cut.len()), "{}", cut.len());
        let words: Vec<&str> = cut.split('"').collect();
        let ["::1 - u [now] ", request, " 200 5 ", "-", " ", agent, "\n"] = words[..] else {
            panic!("{cut}");
        };
        assert!(request.starts_with("GET /aaaa") && request.ends_with("aaaa HTTP/1.1"));
        let (_, marked) = request.split_once("...[").unwrap();
        let (number, _) = marked.split_once("-bytes-cut]...").unwrap();
        let left = request.len() - "...[-bytes-cut]...".len() - number.len();
        assert_eq!(number.parse::<usize>().unwrap() + left, long.len() + 14);
        assert!(agent.contains("-bytes-cut]"), "{agent}");
        // One that is much longer than the others is cut alone.
        let line = format!("\"{}\" \"{}\" end\n", "a".repeat(90_000), "b".repeat(1000));
        assert!(cut_to(&line, 4096).ends_with(&format!(" \"{}\" end\n", "b".repeat(1000))));
        // Without quotes.
        let line = format!("GET /{long} HTTP/1.1 200\n");
        let cut = cut_to(&line, 4096);
        assert!(
            cut.starts_with("GET /a") && cut.ends_with("a HTTP/1.1 200\n"),
            "{cut}"
        );
        // For another reason.
        let cut = cut_to(&format!("{} end\n", "a b ".repeat(3000)), 4096);
        assert!(
            cut.starts_with("a b a b") && cut.ends_with("b  end\n"),
            "{cut}"
        );
        assert!(cut.len() <= 4096 && cut.contains("-bytes-cut]"));
        assert_eq!(cut_to("short\n", 4096), "short\n");
    }

    #[test]
    fn a_record_is_divided_at_line_ends() {
        let record = "  a line\n".repeat(300);
        let pieces = pieces(record.as_bytes(), 1000);
        assert_eq!(pieces.concat(), record.as_bytes());
        assert!(
            pieces
                .iter()
                .all(|piece| piece.len() <= 1000 && piece.ends_with(b"\n"))
        );
        assert_eq!(pieces.len(), 3, "no more than needed");
    }

    #[test]
    fn a_long_line_is_divided_between_characters_and_nothing_is_lost() {
        for end in ["", "\n"] {
            let text = "\u{e9}".repeat(3000);
            let record = format!("first\n{text}{end}");
            let pieces = pieces(record.as_bytes(), 1000);
            let pieces: Vec<&str> = pieces
                .iter()
                .map(|one| str::from_utf8(one).unwrap())
                .collect();
            assert!(pieces.iter().all(|piece| piece.len() <= 1000));
            assert_eq!(pieces.concat().replace("...\n...", ""), record);
        }
    }

    #[test]
    fn the_parts_of_an_object_are_objects() {
        let message = "  \"line\" of a file \u{1f600}\n".repeat(200);
        let object = serde_json::json!({"level": "ERROR", "message": message, "pid": 7});
        let record = format!("{object}\n");
        let pieces = pieces(record.as_bytes(), 1000);
        assert!(pieces.len() > 4);
        let mut joined = String::new();
        for (number, piece) in pieces.iter().enumerate() {
            assert!(piece.len() <= 1000 && piece.ends_with(b"\n"));
            let part: serde_json::Value = serde_json::from_slice(piece).unwrap();
            assert_eq!((&part["level"], &part["pid"]), (&"ERROR".into(), &7.into()));
            let text = part["message"].as_str().unwrap();
            let text = if number == 0 {
                text
            } else {
                text.strip_prefix("...").unwrap()
            };
            let is_last = number + 1 == pieces.len();
            joined += if is_last {
                text
            } else {
                text.strip_suffix("...").unwrap()
            };
            assert!(joined.ends_with('\n'), "divided at a line end: {text}");
        }
        assert_eq!(joined, message);
    }

    proptest::proptest! {
        #[test]
        fn what_is_made_to_fit_does(record: Vec<u8>, times in 1_usize..200, limit in 400_usize..1000) {
            let record = record.repeat(times);
            let mut line = record.clone();
            cut(&mut line, limit);
            proptest::prop_assert!(line.len() <= limit);
            let pieces = pieces(&record, limit);
            proptest::prop_assert!(pieces.iter().all(|piece| piece.len() <= limit));
            if record.iter().all(|byte| *byte != b'.') {
                let shown = |bytes: &[u8]| bytes.iter().filter(|byte| !b".\n".contains(byte)).count();
                proptest::prop_assert_eq!(shown(&pieces.concat()), shown(&record));
            }
        }

        #[test]
        fn an_object_stays_one(text: String, other: String, times in 1_usize..300) {
            for ascii in [false, true] {
                let long = literal(&text.repeat(times), ascii);
                let other = literal(&other, ascii);
                let object = format!("{{\"a\":{long},\"n\":1,\"b\":{other}}}\n");
                let is_json = |line: &[u8]| {
                    serde_json::from_slice::<serde_json::Value>(line).is_ok_and(|it| it["n"] == 1)
                };
                let pieces = pieces(object.as_bytes(), 4096);
                proptest::prop_assert!(pieces.iter().all(|piece| is_json(piece)));
                let object = format!("{{\"a\":{long},\"n\":1,\"b\":{long}}}\n");
                let mut line = object.into_bytes();
                cut(&mut line, 4096);
                proptest::prop_assert!(line.len() <= 4096 && is_json(&line));
            }
        }
    }

    /// A string in JSON; with escapes for everything that is not ASCII, as Python writes it.
    fn literal(text: &str, ascii: bool) -> String {
        let json = serde_json::to_string(text).unwrap();
        if !ascii {
            return json;
        }
        let escape = |character: char| -> String {
            if character.is_ascii() {
                return character.into();
            }
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units);
            let units = units.iter().map(|unit| format!("\\u{unit:04x}"));
            units.collect::<Vec<_>>().concat()
        };
        json.chars().map(escape).collect()
    }
}
