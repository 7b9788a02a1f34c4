//! The logs of a uwsgi.ini.

use super::logformat;
use super::options::Remaining;
use super::output::Output;
use super::yaml::Text;

/// Error log, access log and its format.
pub(super) fn logs(rest: &mut Remaining, output: &mut Output) {
    let silent = rest.is_on(
        "disable-logging",
        "rcorn writes no access log unless accesslog is set",
        output,
    );
    let target = targets(rest, output);
    let format = rest.last(&["logformat", "log-format"], output);
    if silent {
        if let Some(given) = format {
            output.omit(
                &given.source,
                "there is no access log, because of disable-logging",
            );
        }
        return;
    }
    if !output.has("accesslog") {
        let why = "uWSGI logs each request in its log. Take this line out for no access log.";
        if let (Text::Plain(path), true) = (&target, output.has("errorlog")) {
            output.set_implied("accesslog", path, why);
        } else {
            output.set_implied("accesslog", "-", why);
        }
    }
    let Some(given) = format else { return };
    match given.plain().map(logformat::translate) {
        Some(Ok(format)) => {
            output.set("access_log_format", &Text::Plain(format), &given.source);
        }
        Some(Err(why)) => output.omit(
            &given.source,
            format!("{why}: write access_log_format by hand"),
        ),
        None => output.omit(&given.source, "write access_log_format by hand"),
    }
}

/// Where the logs are written; returns the target of the error log.
fn targets(rest: &mut Remaining, output: &mut Output) -> Text {
    let mut error_log = Text::Plain("-".to_owned());
    for given in rest.take(&[
        "logto",
        "logto2",
        "daemonize",
        "daemonize2",
        "logger",
        "req-logger",
    ]) {
        let is_logger = given.key.ends_with("logger");
        let target = if is_logger {
            Target::of_logger(given.text())
        } else {
            Target::of_path(given.text())
        };
        let (path, rotates) = match target {
            Target::Standard => ("-", false),
            Target::File { path, rotates } => (path, rotates),
            Target::Other => {
                output.omit(
                    &given.source,
                    "rcorn logs to files and standard streams: pipe them to systemd-cat or logger",
                );
                continue;
            }
        };
        let text = given.with(|_whole| path.to_owned());
        if given.key.starts_with("daemonize") {
            output.set("daemon", &Text::Plain("true".to_owned()), &given.source);
        }
        let setting = if given.key == "req-logger" {
            "accesslog"
        } else {
            "errorlog"
        };
        if output.set(setting, &text, &given.source) {
            if rotates {
                output.comment(
                    setting,
                    "rcorn does not rotate it: use logrotate, with `rcorn ctl reopen` in postrotate.",
                );
            }
            if setting == "errorlog" {
                error_log = text;
            }
        }
    }
    error_log
}

/// The target of a log.
enum Target<'a> {
    /// The standard stream. With `systemd` it is the journal.
    Standard,
    /// A file. uWSGI may have rotated it.
    File { path: &'a str, rotates: bool },
    /// Something that rcorn cannot write to.
    Other,
}

impl<'a> Target<'a> {
    /// `logto` and `daemonize` name a file, or the UDP address of a log server.
    fn of_path(text: &'a str) -> Self {
        let port = text.rsplit_once(':').map(|(_, port)| port);
        let is_address = port.is_some_and(|port| port.parse::<u16>().is_ok());
        if is_address {
            return Self::Other;
        }
        Self::File {
            path: text,
            rotates: false,
        }
    }

    /// `logger` names a plugin with its argument, after an optional name for `log-route`.
    fn of_logger(text: &'a str) -> Self {
        let plugin = match text.split_once(char::is_whitespace) {
            Some((name, plugin)) if !name.contains(':') => plugin.trim(),
            Some(_) | None => text,
        };
        let (plugin, argument) = plugin.split_once(':').unwrap_or((plugin, ""));
        match (plugin, argument) {
            ("stdio" | "systemd", _) => Self::Standard,
            ("file", "") => Self::Other,
            ("file", path) => Self::of_file(path),
            (_, _) => Self::Other,
        }
    }

    /// A path, or `logfile=PATH,maxsize=BYTES,backupname=PATH`.
    fn of_file(argument: &'a str) -> Self {
        let pairs = || argument.split(',').filter_map(|pair| pair.split_once('='));
        match pairs().find(|(name, _)| name.trim() == "logfile") {
            Some((_, path)) => Self::File {
                path: path.trim(),
                rotates: pairs().any(|(name, _)| name.trim() == "maxsize"),
            },
            None => Self::File {
                path: argument,
                rotates: false,
            },
        }
    }
}
