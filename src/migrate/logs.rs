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
    let mut target = Text::Plain("-".to_owned());
    for given in rest.take(&[
        "logto",
        "logto2",
        "daemonize",
        "daemonize2",
        "logger",
        "req-logger",
    ]) {
        let path = given.text().strip_prefix("file:").unwrap_or(given.text());
        let is_file =
            !path.contains(':') && path != "stdio" && path != "syslog" && path != "rsyslog";
        let path = if path == "stdio" { "-" } else { path };
        if !is_file && path != "-" {
            output.omit(
                &given.source,
                "rcorn logs to files and standard streams: pipe them to systemd-cat or logger",
            );
            continue;
        }
        let text = given.with(|_whole| path.to_owned());
        if given.key.starts_with("daemonize") {
            output.set("daemon", &Text::Plain("true".to_owned()), &given.source);
        }
        if given.key == "req-logger" {
            output.set("accesslog", &text, &given.source);
        } else if output.set("errorlog", &text, &given.source) {
            target = text;
        }
    }
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
