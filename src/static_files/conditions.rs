//! Conditional requests (RFC 9110 section 13).

use std::time::{Duration, SystemTime};

/// What names a state of a file to its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    /// The value of `ETag`, with its quotes. It is a strong one: it changes with the size and with
    /// the time of the last change, to the nanosecond.
    pub(crate) etag: String,
    /// The time of the last change, to the second.
    pub(crate) modified: SystemTime,
}

/// The conditional fields of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions<'a> {
    /// `If-Match`.
    pub(crate) matches: Option<&'a [u8]>,
    /// `If-None-Match`.
    pub(crate) none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`.
    pub(crate) modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`.
    pub(crate) unmodified_since: Option<&'a [u8]>,
    /// `If-Range`.
    pub(crate) range: Option<&'a [u8]>,
}

/// How the conditions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client wants to have.
    Failed,
}

impl Validators {
    /// Those of a file of this size that was last changed then.
    pub(crate) fn new(size: u64, seconds: i64, nanoseconds: i64) -> Self {
        let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Self {
            etag: format!("\"{seconds:x}.{nanoseconds:x}-{size:x}\""),
            modified: SystemTime::UNIX_EPOCH
                .checked_add(since)
                .unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// Judges in the order of section 13.2.2.
    pub(crate) fn judge(&self, conditions: &Conditions<'_>) -> Verdict {
        if let Some(tags) = conditions.matches {
            if !self.is_in(tags, true) {
                return Verdict::Failed;
            }
        } else if let Some(limit) = conditions.unmodified_since.and_then(date)
            && self.modified > limit
        {
            return Verdict::Failed;
        }
        if let Some(tags) = conditions.none_match {
            if self.is_in(tags, false) {
                return Verdict::NotModified;
            }
        } else if let Some(since) = conditions.modified_since.and_then(date)
            && self.modified <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Send
    }

    /// Whether a range may be sent: If-Range names this state of the file, or is not there (section
    /// 13.1.5).
    pub(crate) fn allow_range(&self, conditions: &Conditions<'_>) -> bool {
        match conditions.range {
            None => true,
            Some(tag) if tag.contains(&b'"') => tag == self.etag.as_bytes(),
            Some(time) => date(time) == Some(self.modified),
        }
    }

    /// Whether the list has its tag, or is `*`. `strongly`: a weak tag is never the same (section
    /// 8.8.3.2).
    fn is_in(&self, list: &[u8], strongly: bool) -> bool {
        if list == b"*" {
            return true;
        }
        let tags = list.split(|byte| *byte == b',');
        tags.map(<[u8]>::trim_ascii).any(|tag| {
            let weak = tag.strip_prefix(b"W/");
            match weak {
                Some(_) if strongly => false,
                weak => weak.unwrap_or(tag) == self.etag.as_bytes(),
            }
        })
    }
}

fn date(field: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(field).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &[u8] = b"Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    fn validators() -> Validators {
        Validators::new(255, 784_111_777, 500)
    }

    fn judged(name: &str, value: &[u8]) -> Verdict {
        let mut conditions = Conditions::default();
        match name {
            "If-Match" => conditions.matches = Some(value),
            "If-None-Match" => conditions.none_match = Some(value),
            "If-Modified-Since" => conditions.modified_since = Some(value),
            _ => conditions.unmodified_since = Some(value),
        }
        validators().judge(&conditions)
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        let tag = validators().etag;
        assert_eq!(tag, "\"2ebc98a1.1f4-ff\"");
        for tags in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".to_owned(),
        ] {
            assert_eq!(
                judged("If-None-Match", tags.as_bytes()),
                Verdict::NotModified
            );
        }
        assert_eq!(judged("If-None-Match", b"\"x\""), Verdict::Send);
        assert_eq!(judged("If-Modified-Since", THEN), Verdict::NotModified);
        assert_eq!(judged("If-Modified-Since", BEFORE), Verdict::Send);
        assert_eq!(judged("If-Modified-Since", b"yesterday"), Verdict::Send);
        // The tag decides if both are there.
        let both = Conditions {
            none_match: Some(b"\"x\""),
            modified_since: Some(THEN),
            ..Conditions::default()
        };
        assert_eq!(validators().judge(&both), Verdict::Send);
    }

    #[test]
    fn a_client_that_wants_another_state_is_told_so() {
        let tag = validators().etag;
        assert_eq!(judged("If-Match", tag.as_bytes()), Verdict::Send);
        assert_eq!(judged("If-Match", b"*"), Verdict::Send);
        assert_eq!(
            judged("If-Match", format!("W/{tag}").as_bytes()),
            Verdict::Failed
        );
        assert_eq!(judged("If-Match", b"\"x\""), Verdict::Failed);
        assert_eq!(judged("If-Unmodified-Since", THEN), Verdict::Send);
        assert_eq!(judged("If-Unmodified-Since", BEFORE), Verdict::Failed);
    }

    #[test]
    fn a_range_of_another_state_is_not_sent() {
        let allowed = |value: &[u8]| {
            validators().allow_range(&Conditions {
                range: Some(value),
                ..Conditions::default()
            })
        };
        let tag = validators().etag;
        assert!(allowed(tag.as_bytes()) && allowed(THEN));
        assert!(!allowed(format!("W/{tag}").as_bytes()) && !allowed(b"\"x\"") && !allowed(BEFORE));
        assert!(validators().allow_range(&Conditions::default()));
    }
}
