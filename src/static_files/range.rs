//! The Range field (RFC 9110 section 14).

/// More ranges than this are a mistake or an attack.
const MAX_RANGES: usize = 16;

/// A part of a file: from `first` to before `end`, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) end: u64,
}

impl Range {
    /// How many bytes it has.
    pub(crate) fn length(self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// The value of Content-Range for it, in a file of this size.
    pub(crate) fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.first, self.end.saturating_sub(1))
    }
}

/// What a client wants of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: no range is asked for, or none that is understood, or more than anybody needs.
    All,
    /// These parts, at least one.
    Parts(Vec<Range>),
    /// Only parts that it does not have.
    Nothing,
}

impl Wanted {
    /// What a Range field asks for of a file of this size. One that is not understood is ignored
    /// (section 14.2).
    pub(crate) fn of(field: &[u8], size: u64) -> Self {
        let Some(ranges) = parse(field, size) else {
            return Self::All;
        };
        if ranges.is_empty() {
            return Self::Nothing;
        }
        // Many small or overlapping ranges cost more than the whole file (section 14.2 allows to
        // ignore them).
        let asked = ranges.iter().map(|range| range.length()).sum::<u64>();
        if ranges.len() > MAX_RANGES || asked > size {
            return Self::All;
        }
        Self::Parts(ranges)
    }
}

/// The ranges that the file has; `None` if the field is not well-formed.
fn parse(field: &[u8], size: u64) -> Option<Vec<Range>> {
    let field = std::str::from_utf8(field).ok()?;
    let (unit, set) = field.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = Vec::new();
    let mut is_empty = true;
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])) {
        if spec.is_empty() {
            continue;
        }
        is_empty = false;
        let (first, last) = spec.split_once('-')?;
        let range = match (first, last) {
            ("", length) => Range {
                first: size.saturating_sub(position(length)?),
                end: size,
            },
            (first, "") => Range {
                first: position(first)?,
                end: size,
            },
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                if first > last {
                    return None;
                }
                let end = last.saturating_add(1).min(size);
                Range { first, end }
            }
        };
        if range.first < range.end {
            ranges.push(range);
        }
    }
    (!is_empty).then_some(ranges)
}

/// A number of digits alone. One that is too large for us is larger than any file.
fn position(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(field: &str) -> Wanted {
        Wanted::of(field.as_bytes(), 1000)
    }

    fn parts(field: &str) -> Vec<(u64, u64)> {
        match wanted(field) {
            Wanted::Parts(ranges) => ranges.iter().map(|one| (one.first, one.end)).collect(),
            Wanted::All | Wanted::Nothing => panic!("{field}: {:?}", wanted(field)),
        }
    }

    #[test]
    fn ranges_are_those_of_the_examples_of_the_rfc() {
        assert_eq!(parts("bytes=0-499"), [(0, 500)]);
        assert_eq!(parts("bytes=500-999"), [(500, 1000)]);
        assert_eq!(parts("bytes=-500"), [(500, 1000)]);
        assert_eq!(parts("bytes=950-"), [(950, 1000)]);
        assert_eq!(parts("bytes=0-0,-1"), [(0, 1), (999, 1000)]);
        assert_eq!(parts("bytes= 0-99 , 200-299,"), [(0, 100), (200, 300)]);
        assert_eq!(parts("BYTES=0-1"), [(0, 2)]);
        // Longer than the file, and longer than any number.
        assert_eq!(parts("bytes=900-5000"), [(900, 1000)]);
        assert_eq!(parts("bytes=-5000"), [(0, 1000)]);
        assert_eq!(parts("bytes=999-99999999999999999999999"), [(999, 1000)]);
        // Those that the file has.
        assert_eq!(parts("bytes=0-1,5000-"), [(0, 2)]);
    }

    #[test]
    fn what_the_file_does_not_have_is_said_so() {
        for field in [
            "bytes=1000-",
            "bytes=5000-6000",
            "bytes=-0",
            "bytes=1000-,-0",
        ] {
            assert_eq!(wanted(field), Wanted::Nothing, "{field}");
        }
        assert_eq!(Wanted::of(b"bytes=0-", 0), Wanted::Nothing);
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=5-1",
            "bytes=-",
            "bytes=1",
            "bytes=--1",
            "bytes=+1-2",
            "pages=1-2",
            "bytes=0-1;2-3",
            "bytes=1-2-3",
        ] {
            assert_eq!(wanted(field), Wanted::All, "{field}");
        }
        assert_eq!(Wanted::of(b"bytes=0-\xff", 10), Wanted::All);
    }

    #[test]
    fn more_than_anybody_needs_is_the_whole_file() {
        let many = (0..17).map(|n| format!("{n}-{n}")).collect::<Vec<_>>();
        assert_eq!(wanted(&format!("bytes={}", many.join(","))), Wanted::All);
        assert_eq!(wanted("bytes=0-,0-,0-"), Wanted::All);
        assert_eq!(parts("bytes=0-499,500-999").len(), 2);
    }
}
