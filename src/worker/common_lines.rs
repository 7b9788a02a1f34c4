//! The field lines that all responses have: `Server` and `Date`.

use std::time::{Duration, SystemTime};

use rcorn_settings::ServerHeader;
use rcorn_types::WallClock;

/// The line with the name of the server; empty if the setting switches it off.
pub(super) fn server_line(setting: &ServerHeader) -> Vec<u8> {
    match setting {
        ServerHeader::Off => Vec::new(),
        ServerHeader::Text(text) => format!("Server: {text}\r\n").into_bytes(),
    }
}

/// The line with the time (RFC 9110 section 6.6.1).
pub(super) fn date_line(now: WallClock) -> Vec<u8> {
    let since = Duration::from_secs(u64::try_from(now.0).unwrap_or(0));
    let date = SystemTime::UNIX_EPOCH.checked_add(since);
    let date = httpdate::fmt_http_date(date.unwrap_or(SystemTime::UNIX_EPOCH));
    format!("Date: {date}\r\n").into_bytes()
}
