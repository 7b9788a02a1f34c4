//! What can be done when the system refuses something for want of room.

use std::io;

/// `ENFILE` of errno(3); it has no [`io::ErrorKind`].
const TOO_MANY_FILES_OF_ALL: i32 = 23;
/// `EMFILE` of errno(3).
const TOO_MANY_FILES: i32 = 24;

/// The remedy, if the error is one of those.
#[must_use]
pub fn remedy(error: &io::Error) -> Option<&'static str> {
    if let Some(number) = error.raw_os_error() {
        match number {
            TOO_MANY_FILES => {
                return Some("raise the limit of open files (ulimit -n, LimitNOFILE=)");
            }
            TOO_MANY_FILES_OF_ALL => {
                return Some("the whole system has too many open files (fs.file-max)");
            }
            _ => {}
        }
    }
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most errors are about something else"
    )]
    match error.kind() {
        io::ErrorKind::StorageFull => Some("make room on that file system"),
        io::ErrorKind::QuotaExceeded => Some("make room, or raise the quota of this user"),
        io::ErrorKind::FileTooLarge => Some(
            "raise the limit of file sizes, which is one of memory files, too (ulimit -f, LimitFSIZE=)",
        ),
        io::ErrorKind::OutOfMemory => {
            Some("free memory, or raise the limit (ulimit -v, MemoryMax=)")
        }
        _ => None,
    }
}

/// The error with its remedy, for a line of the log.
#[must_use]
pub fn with_remedy(error: &io::Error) -> String {
    match remedy(error) {
        Some(remedy) => format!("{error}; hint: {remedy}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_for_want_of_room_have_a_remedy_and_others_have_none() {
        for (number, words) in [
            (23, "fs.file-max"),
            (24, "ulimit -n"),
            (28, "make room"),
            (122, "quota"),
            (27, "ulimit -f"),
            (12, "ulimit -v"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert!(with_remedy(&error).contains(words), "{error}");
        }
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(with_remedy(&error), error.to_string());
    }
}
