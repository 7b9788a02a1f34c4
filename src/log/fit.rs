//! Makes records fit into a limit: that of what reaches a pipe in one piece, or that of a datagram.
//! [`cut`] leaves a part out, for a line that must stay one. [`pieces`] keeps everything, in
//! several records.
//!
//! Both look at the text of the record alone, whoever made it. JSON stays JSON, unless it is too
//! long without its texts: what is cut or divided is the text between two double quotes, and never
//! a character or an escape of it.

use std::io::Write as _;
use std::ops::Range;

/// No marker of what was cut is longer, in bytes.
const MARKER_BYTES: usize = 40;
/// Values are cut to no fewer bytes, unless those between double quotes can be and must.
const MIN_VALUE_BYTES: usize = 2 * MARKER_BYTES;
/// One part in so many of what is kept is the end: of a request line it has the version.
const END_PARTS: usize = 4;
/// A limit below this many bytes is not possible.
const MIN_LIMIT_BYTES: usize = 4 * MIN_VALUE_BYTES;
/// Stands where a line is divided, in both pieces.
const CONTINUED: &[u8] = b"...";

/// Cuts the longest values of a line so that it has at most `limit` bytes: the middle of each is
/// replaced by `...[N-bytes-cut]...`. A value is what stands between two double quotes, or between
/// two blanks. If each would keep too little, only the texts between quotes are cut, at worst
/// to `...`; if that is not enough either, the line's own middle is left out.
pub(super) fn cut(line: &mut Vec<u8>, limit: usize) {
    if line.len() <= limit {
        return;
    }
    let has_end = line.last() == Some(&b'\n');
    line.truncate(line.len().saturating_sub(usize::from(has_end)));
    let room = limit.saturating_sub(usize::from(has_end));
    let mut made = with_values_cut(line, room).unwrap_or_else(|| {
        let mut made = Vec::with_capacity(limit);
        without_middle(line, room, &mut made);
        made
    });
    if has_end {
        made.push(b'\n');
    }
    *line = made;
}

/// The line with its longest values cut, if it then fits into `room`.
fn with_values_cut(line: &[u8], room: usize) -> Option<Vec<u8>> {
    let values = values(line);
    let long = values
        .iter()
        .filter(|value| value.range.len() > MIN_VALUE_BYTES);
    let long = long.map(|value| value.range.clone()).collect();
    with_ranges_cut(line, long, MIN_VALUE_BYTES, room)
        .or_else(|| with_ranges_cut(line, texts(values), CONTINUED.len(), room))
}

/// The line with the longest of these parts of it cut, to no fewer than `least` bytes, if it then
/// fits into `room`.
fn with_ranges_cut(
    line: &[u8],
    ranges: Vec<Range<usize>>,
    least: usize,
    room: usize,
) -> Option<Vec<u8>> {
    let longest = longest_range(&ranges, line.len(), room).filter(|longest| *longest >= least)?;
    let mut made = Vec::with_capacity(room.saturating_add(1));
    let mut copied = 0;
    for range in ranges {
        made.extend_from_slice(line.get(copied..range.start).unwrap_or_default());
        copied = range.end;
        without_middle(line.get(range).unwrap_or_default(), longest, &mut made);
    }
    made.extend_from_slice(line.get(copied..).unwrap_or_default());
    Some(made)
}

/// The pieces of a record, in their order, of which each has at most `limit` bytes: whole lines, as
/// many as fit. A line that is too long is divided; `...` stands at the end of each part but the
/// last, and at the beginning of each but the first. The parts of an object in JSON are objects
/// with the same members, but for the longest text, of which each has a part. An object whose other
/// members leave no room for that is cut ([`cut`]).
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
    let member = texts(values(text))
        .into_iter()
        .max_by_key(ExactSizeIterator::len);
    let member = member.filter(|value| {
        let others = line.len().saturating_sub(value.len());
        is_object && others.saturating_add(MIN_VALUE_BYTES) <= limit
    });
    if is_object
        && member.is_none()
        && let Some(mut cut) = with_values_cut(text, limit.saturating_sub(end.len()))
    {
        cut.extend_from_slice(end);
        return pieces.push(cut);
    }
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

/// The length to which the longest of these parts must be cut, so that a line of `length` bytes
/// fits into `room`; 0 if that cannot be.
fn longest_range(ranges: &[Range<usize>], length: usize, room: usize) -> Option<usize> {
    let fits = |longest: usize| {
        let saved = |range: &Range<usize>| range.len().saturating_sub(longest);
        let saved: usize = ranges.iter().map(saved).sum();
        length.saturating_sub(saved) <= room
    };
    let mut longest: usize = 0;
    for bit in (0..usize::BITS).rev() {
        let more = longest | 1_usize.checked_shl(bit)?;
        if more <= room && fits(more) {
            longest = more;
        }
    }
    Some(longest)
}

/// Appends a text; if it is longer than `most` bytes, without its middle. `...` alone stands there
/// if little of the text is kept.
fn without_middle(text: &[u8], most: usize, out: &mut Vec<u8>) {
    if text.len() <= most {
        return out.extend_from_slice(text);
    }
    let is_counted = most >= MIN_VALUE_BYTES;
    let marker = if is_counted {
        MARKER_BYTES
    } else {
        CONTINUED.len()
    };
    let kept = most.saturating_sub(marker);
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
    if is_counted {
        // Writing to a Vec does not fail.
        write!(out, "...[{}-bytes-cut]...", cut.len()).ok();
    } else {
        out.extend_from_slice(CONTINUED);
    }
    out.extend_from_slice(text.get(cut.end..).unwrap_or_default());
}

/// A part of a line that may be cut.
#[derive(Debug)]
struct Value {
    range: Range<usize>,
    /// It stands between two double quotes, and is not the name of a member in JSON.
    is_text: bool,
}

/// The values of a line: what stands between two double quotes, and the words outside of them.
fn values(line: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    let (mut begin, mut is_quoted) = (0, false);
    for unit in units(line) {
        let is_quote = line.get(unit.start) == Some(&b'"');
        let is_blank = line
            .get(unit.clone())
            .is_some_and(|it| it.trim_ascii().is_empty());
        if is_quote || is_blank && !is_quoted {
            let after = line.get(unit.end..).unwrap_or_default();
            values.push(Value {
                range: begin..unit.start,
                is_text: is_quoted && !after.trim_ascii_start().starts_with(b":"),
            });
            begin = unit.end;
        }
        is_quoted ^= is_quote;
    }
    values.push(Value {
        range: begin..line.len(),
        is_text: false,
    });
    values
}

/// Those that stand between double quotes.
fn texts(values: Vec<Value>) -> Vec<Range<usize>> {
    let texts = values.into_iter().filter(|value| value.is_text);
    texts.map(|text| text.range).collect()
}

/// What must not be cut in two: characters, and escapes of both logs (`\"`, `\x0a`, `\u000a`, and
/// two of the last for one character).
fn units(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let (_, others) = rest.split_at(escape_bytes(rest));
        // A backslash before a character of several bytes takes one of them only.
        let is_inner = |byte: &&u8| **byte & 0xc0 == 0x80;
        let inner = others.iter().take(3).take_while(is_inner).count();
        let left = others.len().saturating_sub(inner);
        let unit = at..text.len().saturating_sub(left);
        at = unit.end;
        Some(unit)
    })
}

/// The length of the escape at the beginning of a text, or of one byte.
fn escape_bytes(text: &[u8]) -> usize {
    let digits = |text: &[u8], most: usize| {
        let digits = text.iter().take(most);
        digits.take_while(|byte| byte.is_ascii_hexdigit()).count()
    };
    match text {
        [b'\\', b'x', rest @ ..] => digits(rest, 2).saturating_add(2),
        [b'\\', b'u', rest @ ..] => {
            let high = digits(rest, 4);
            let is_high = high == 4
                && matches!(
                    rest,
                    [b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..]
                );
            match rest.get(high..) {
                Some([b'\\', b'u', low @ ..]) if is_high => digits(low, 4).saturating_add(8),
                _ => high.saturating_add(2),
            }
        }
        [b'\\', _, ..] => 2,
        _ => text.len().min(1),
    }
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

    #[test]
    fn a_unit_ends_where_a_character_ends() {
        for (text, expected) in [
            (r"\é.", &[r"\é", "."][..]),
            (r"\€.", &[r"\€", "."]),
            (r"\xaé", &[r"\xa", "é"]),
            (r"\x0aé", &[r"\x0a", "é"]),
            (r"\xzé", &[r"\x", "z", "é"]),
            (r"\u12é", &[r"\u12", "é"]),
            (r"\u00e9é", &[r"\u00e9", "é"]),
            (r"\ud83d\ude00.", &[r"\ud83d\ude00", "."]),
            (r"\ud83d😀", &[r"\ud83d", "😀"]),
            (r"\ud83d\u12é", &[r"\ud83d\u12", "é"]),
            (r"\ud8\u00e9", &[r"\ud8", r"\u00e9"]),
            (r#"\\\"é\"#, &[r"\\", r#"\""#, "é", r"\"]),
        ] {
            let found: Vec<&[u8]> = units(text.as_bytes())
                .map(|unit| &text.as_bytes()[unit])
                .collect();
            let expected: Vec<&[u8]> = expected.iter().map(|unit| unit.as_bytes()).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    /// An object with so many texts that each keeps little of it.
    fn crowded(members: usize, length: usize) -> String {
        let text = "\u{e9}\"".repeat(length);
        let mut object = serde_json::json!({"status": 200, "bytes": 1_234_567, "short": "ab"});
        for number in 0..members {
            object[format!("member_{number}")] = text.clone().into();
        }
        format!("{object}\n")
    }

    #[test]
    fn an_object_of_many_long_texts_keeps_a_little_of_each() {
        for members in [45, 100, 150] {
            let object = crowded(members, 300);
            let cut = cut_to(&object, 4096);
            let pieces = pieces(object.as_bytes(), 4096);
            assert_eq!(
                pieces,
                [cut.as_bytes()],
                "no member leaves room to be divided"
            );
            assert!((3000..=4096).contains(&cut.len()), "{}", cut.len());
            let read: serde_json::Value = serde_json::from_str(&cut).unwrap();
            assert_eq!(
                (&read["status"], &read["bytes"]),
                (&200.into(), &1_234_567.into())
            );
            assert_eq!(read["short"], "ab");
            assert_eq!(read.as_object().unwrap().len(), members + 3);
            assert!(read["member_7"].as_str().unwrap().contains("..."), "{cut}");
        }
        // Its names alone are too long.
        let object = crowded(400, 5);
        assert!(cut_to(&object, 4096).len() <= 4096);
        let pieces = pieces(object.as_bytes(), 4096);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= 4096));
    }

    #[test]
    fn a_line_of_many_long_texts_keeps_what_stands_between_them() {
        let line = format!("{}200 5\n", format!("\"{}\" ", "a b".repeat(40)).repeat(60));
        let cut = cut_to(&line, 4096);
        assert!((3800..=4096).contains(&cut.len()), "{}", cut.len());
        assert_eq!(
            cut.split('"').filter(|text| text.contains("...")).count(),
            60
        );
        assert!(cut.ends_with("\" 200 5\n"), "{cut}");
    }

    proptest::proptest! {
        #[test]
        fn no_character_is_divided(
            text in "(\\\\|x|u|1a|d83d|\u{e9}|\u{20ac}|\u{1f600}|\"| |\n|:|[^a]){0,40}",
            times in 1_usize..50,
            limit in 400_usize..1000,
        ) {
            let record = text.repeat(times);
            for record in [record.clone(), format!("{{\"a\":\"{record}\"}}")] {
                let mut line = record.clone().into_bytes();
                cut(&mut line, limit);
                proptest::prop_assert!(str::from_utf8(&line).is_ok());
                let pieces = pieces(record.as_bytes(), limit);
                proptest::prop_assert!(pieces.iter().all(|piece| str::from_utf8(piece).is_ok()));
            }
        }

        #[test]
        fn what_is_made_to_fit_does(record: Vec<u8>, times in 1_usize..200, limit in 400_usize..1000) {
            let record = record.repeat(times);
            let mut line = record.clone();
            cut(&mut line, limit);
            proptest::prop_assert!(line.len() <= limit);
            let pieces = pieces(&record, limit);
            proptest::prop_assert!(pieces.iter().all(|piece| piece.len() <= limit));
            // An object that cannot be divided is cut.
            if !record.iter().any(|byte| b".{".contains(byte)) {
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
