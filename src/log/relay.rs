//! Messages to syslog and metrics of hooks: each process passes them to the arbiter, which sends
//! them on. The way there is a socket that all processes share. It never waits: what finds no room
//! is lost, and counted.
//!
//! A message is gunicorn's: `<PRI>gunicorn.NAME.error: [PID] TEXT`, without the end that its
//! transport needs.

use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{OnceLock, PoisonError, RwLock};

use nix::sys::socket::{MsgFlags, send};

use rcorn_settings::{LogFormat, Settings};
use rcorn_types::Level;

use super::captured::CapturedLine;
use super::formatter::{ErrorRecord, Formatter as _, JsonFormatter};
use super::{fit, lost};

/// The longest message, in bytes: the largest datagram of UDP over IPv4 with its final zero byte.
pub const MAX_MESSAGE_BYTES: usize = 65_506;

/// What the first byte of a datagram says of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// A message to syslog.
    Syslog,
    /// A line of statsd, without prefix and tags.
    Metric,
}

impl Relayed {
    const SYSLOG: u8 = b'L';
    const METRIC: u8 = b'M';

    const fn byte(self) -> u8 {
        match self {
            Self::Syslog => Self::SYSLOG,
            Self::Metric => Self::METRIC,
        }
    }

    /// The kind and the text of a datagram; `None` for one that nobody here sends.
    #[must_use]
    pub fn read(datagram: &[u8]) -> Option<(Self, &[u8])> {
        match datagram.split_first()? {
            (&Self::SYSLOG, text) => Some((Self::Syslog, text)),
            (&Self::METRIC, text) => Some((Self::Metric, text)),
            (_, _) => None,
        }
    }
}

/// The socket to the arbiter.
static SOCKET: OnceLock<OwnedFd> = OnceLock::new();
/// What the settings say. Only the arbiter changes it, and it has one thread; a fork while another
/// thread reads it stops no reader.
static SYSLOG: RwLock<Option<Syslog>> = RwLock::new(None);

/// What the settings say about messages to syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// The facility, as it stands in a priority.
    facility: u8,
    /// `gunicorn.NAME.`
    name: String,
    has_access: bool,
    is_json: bool,
}

impl Syslog {
    /// What these settings say; `None`: nothing is sent to syslog.
    #[must_use]
    pub fn of(settings: &Settings) -> Option<Self> {
        let name = || settings.process_name().replace(':', ".");
        let name = match &settings.syslog_prefix {
            Some(prefix) if !prefix.is_empty() => prefix.clone(),
            Some(_) | None => name(),
        };
        // It must not end the message, nor the part of it that names the program.
        let fits = |sign: char| !sign.is_control();
        settings.syslog.then(|| Self {
            facility: settings.syslog_facility.number(),
            name: format!("gunicorn.{}.", name.replace(|sign| !fits(sign), "_")),
            has_access: !settings.disable_redirect_access_to_syslog,
            is_json: settings.log_format == LogFormat::Json,
        })
    }

    /// Whether the lines of the access log are sent.
    #[must_use]
    pub const fn has_access(&self) -> bool {
        self.has_access
    }

    fn begin(&self, level: Level, log: &str) -> Vec<u8> {
        let mut message = Vec::with_capacity(256);
        message.push(Relayed::SYSLOG);
        let priority = u32::from(self.facility).saturating_mul(8);
        let priority = priority.saturating_add(severity(level).into());
        let name = &self.name;
        // Writing to a Vec does not fail.
        write!(message, "<{priority}>{name}{log}: ").ok();
        message
    }

    fn error(&self, record: &ErrorRecord<'_>) -> Vec<u8> {
        let mut message = self.begin(record.level, "error");
        if self.is_json {
            JsonFormatter.format(record, &mut message);
        } else {
            write!(message, "[{}] {}", record.pid, record.text).ok();
        }
        message
    }

    fn captured(&self, line: &CapturedLine<'_>) -> Vec<u8> {
        let mut message = self.begin(Level::Info, "error");
        if self.is_json {
            line.write_json(&mut message);
        } else {
            write!(message, "[{}] ", line.pid).ok();
            line.write_text(&mut message);
        }
        message
    }

    fn access(&self, pid: u32, line: &[u8]) -> Vec<u8> {
        let mut message = self.begin(Level::Info, "access");
        write!(message, "[{pid}] ").ok();
        message.extend_from_slice(line);
        message
    }
}

/// The severity of a level, as RFC 5424 (section 6.2.1) numbers it and Python maps it.
pub(super) const fn severity(level: Level) -> u8 {
    match level {
        Level::Debug => 7,
        Level::Info => 6,
        Level::Warning => 4,
        Level::Error => 3,
        Level::Critical => 2,
    }
}

/// Passes what this process sends to syslog and statsd to this socket. Only the first call has an
/// effect.
pub fn init_relay(socket: OwnedFd) {
    drop(SOCKET.set(socket));
}

/// Sets what is sent to syslog from now on.
pub fn set_syslog(syslog: Option<Syslog>) {
    *SYSLOG.write().unwrap_or_else(PoisonError::into_inner) = syslog;
}

/// Sends a line of statsd, if there is a way to the arbiter.
pub fn metric(line: &str) {
    let mut datagram = vec![Relayed::Metric.byte()];
    datagram.extend(line.bytes().filter(|byte| !byte.is_ascii_control()));
    if let Some(socket) = SOCKET.get() {
        pass(socket, &datagram).ok();
    }
}

/// Whether lines of the access log go to syslog.
#[must_use]
pub fn takes_access() -> bool {
    SYSLOG
        .try_read()
        .is_ok_and(|syslog| syslog.as_ref().is_some_and(Syslog::has_access))
}

/// Sends a record of the error log to syslog, if the settings say so.
pub(super) fn error(record: &ErrorRecord<'_>) {
    send_message(|syslog| Some(syslog.error(record)));
}

/// Sends a line that the app has printed to syslog, if the settings say so.
pub(super) fn captured(line: &CapturedLine<'_>) {
    send_message(|syslog| Some(syslog.captured(line)));
}

/// Sends a line of the access log to syslog, if the settings say so.
pub(super) fn access(line: &[u8]) {
    send_message(|syslog| {
        let wanted = syslog.has_access();
        wanted.then(|| syslog.access(std::process::id(), line))
    });
}

fn send_message(make: impl FnOnce(&Syslog) -> Option<Vec<u8>>) {
    let Some(socket) = SOCKET.get() else {
        return;
    };
    let Ok(syslog) = SYSLOG.try_read() else {
        return;
    };
    let Some(mut message) = syslog.as_ref().and_then(make) else {
        return;
    };
    cut(&mut message);
    if pass(socket, &message).is_err() {
        lost::add_one();
    }
}

/// Cuts a message that no datagram could carry, and takes the line ends at its end away.
fn cut(message: &mut Vec<u8>) {
    while message.last() == Some(&b'\n') {
        message.pop();
    }
    fit::cut(message, MAX_MESSAGE_BYTES.saturating_add(1));
}

fn pass(socket: &OwnedFd, datagram: &[u8]) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    send(socket.as_raw_fd(), datagram, flags)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use rcorn_settings::{SyslogFacility, Value as _};
    use rcorn_types::WallClock;

    use super::*;

    fn settings() -> Settings {
        Settings {
            syslog: true,
            wsgi_app: rcorn_settings::AppRef::parse("shop:app").ok(),
            ..Settings::default()
        }
    }

    fn record(level: Level, text: fmt::Arguments<'_>) -> ErrorRecord<'_> {
        ErrorRecord {
            time: WallClock(0),
            pid: 7,
            level,
            request_id: None,
            text,
        }
    }

    fn message(syslog: &Syslog, level: Level) -> String {
        let made = syslog.error(&record(level, format_args!("text")));
        String::from_utf8(made[1..].to_vec()).unwrap()
    }

    /// Recorded from gunicorn 27.0.1: `SysLogHandler` with these settings.
    #[test]
    fn messages_are_those_of_gunicorn() {
        let syslog = Syslog::of(&settings()).unwrap();
        for (level, expected) in [
            (Level::Debug, "<15>gunicorn.shop.app.error: [7] text"),
            (Level::Info, "<14>gunicorn.shop.app.error: [7] text"),
            (Level::Warning, "<12>gunicorn.shop.app.error: [7] text"),
            (Level::Error, "<11>gunicorn.shop.app.error: [7] text"),
            (Level::Critical, "<10>gunicorn.shop.app.error: [7] text"),
        ] {
            assert_eq!(message(&syslog, level), expected);
        }
        let line = syslog.access(7, b"- - \"GET / HTTP/1.1\" 200\n");
        assert_eq!(
            line[1..],
            b"<14>gunicorn.shop.app.access: [7] - - \"GET / HTTP/1.1\" 200\n"[..]
        );
        let other = Settings {
            syslog_prefix: Some("web".to_owned()),
            syslog_facility: SyslogFacility::Local7,
            proc_name: Some("x".to_owned()),
            ..settings()
        };
        let syslog = Syslog::of(&other).unwrap();
        assert_eq!(
            message(&syslog, Level::Info),
            "<190>gunicorn.web.error: [7] text"
        );
        // gunicorn takes an empty prefix for none.
        let other = Settings {
            syslog_prefix: Some(String::new()),
            proc_name: Some("a:b".to_owned()),
            ..settings()
        };
        let syslog = Syslog::of(&other).unwrap();
        assert_eq!(
            message(&syslog, Level::Info),
            "<14>gunicorn.a.b.error: [7] text"
        );
    }

    #[test]
    fn the_error_log_in_json_is_json_in_syslog() {
        let syslog = Syslog::of(&Settings {
            log_format: LogFormat::Json,
            ..settings()
        });
        let made = syslog
            .unwrap()
            .error(&record(Level::Info, format_args!("a\nb")));
        let text = String::from_utf8(made).unwrap();
        let (_, object) = text.split_once(": ").unwrap();
        let object: serde_json::Value = serde_json::from_str(object).unwrap();
        assert_eq!(object["message"], "a\nb");
    }

    #[test]
    fn a_message_fits_into_a_datagram_and_is_not_cut_within_a_character() {
        let mut long = vec![b'L'];
        long.extend("\u{e9}".repeat(40_000).bytes());
        cut(&mut long);
        assert!(long.len() <= MAX_MESSAGE_BYTES + 1);
        assert!(std::str::from_utf8(&long).is_ok());
        let mut line = b"Labc\n\n".to_vec();
        cut(&mut line);
        assert_eq!(line, b"Labc");
    }

    #[test]
    fn a_prefix_cannot_end_a_message() {
        let syslog = Syslog::of(&Settings {
            syslog_prefix: Some("a\nb\0".to_owned()),
            ..settings()
        });
        assert_eq!(
            message(&syslog.unwrap(), Level::Info),
            "<14>gunicorn.a_b_.error: [7] text"
        );
    }
}
