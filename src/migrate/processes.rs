//! How many workers of a uwsgi.ini, how long and how large, as whom, and what they log.

use super::logformat;
use super::options::{IniOption, Remaining};
use super::sheet::Sheet;
use super::yaml::Text;

/// How many workers.
pub(super) fn workers(rest: &mut Remaining, sheet: &mut Sheet) {
    let processes = rest.last(&["processes", "workers"], sheet);
    let Some(threads) = rest.last(&["threads"], sheet) else {
        if let Some(given) = processes {
            sheet.set("workers", &given.value, &given.source);
        }
        return;
    };
    let number = |given: &IniOption| given.plain().and_then(|text| text.parse::<u32>().ok());
    let each = number(&threads);
    let count = processes.as_ref().map_or(Some(1), number);
    if each.is_some_and(|each| each <= 1) {
        sheet.needless(&threads.source, "a worker runs one request at a time");
        if let Some(given) = processes {
            sheet.set("workers", &given.value, &given.source);
        }
        return;
    }
    let (Some(each), Some(count)) = (each, count) else {
        if let Some(given) = processes {
            sheet.set("workers", &given.value, &given.source);
        }
        return sheet.leave(
            &threads.source,
            "a worker runs one request at a time: multiply the number of workers by it",
        );
    };
    let source = processes.map_or_else(|| threads.source.clone(), |given| given.source);
    let product = Text::Plain(count.saturating_mul(each).to_string());
    if sheet.set("workers", &product, &source) {
        sheet.note(
            "workers",
            format!(
                "{count} processes with {each} threads each: as many requests at a time. A worker runs one request at a time; workers \
                 share the memory of the app."
            ),
        );
        sheet.needless(&threads.source, "it went into the number of workers");
    }
}

/// Times and sizes that several lines decide.
pub(super) fn limits(rest: &mut Remaining, sheet: &mut Sheet) {
    if let Some(given) = rest.last(&["harakiri"], sheet) {
        sheet.set("timeout", &given.value, &given.source);
    } else {
        sheet.imply("timeout", "0", "uWSGI has no limit without harakiri. rcorn's own is 30 seconds, and a good thing to have.");
    }
    let memory = rest.take(&["reload-on-rss", "evil-reload-on-rss"]);
    let least = memory
        .iter()
        .filter_map(IniOption::plain)
        .filter_map(|text| text.parse::<u64>().ok())
        .min();
    for given in memory {
        match given.plain().and_then(|text| text.parse::<u64>().ok()) {
            Some(size) if Some(size) == least && !sheet.has("max_worker_memory") => {
                sheet.set(
                    "max_worker_memory",
                    &Text::Plain(format!("{size}MiB")),
                    &given.source,
                );
            }
            Some(_) => sheet.needless(&given.source, "the smaller limit holds"),
            None => sheet.leave(
                &given.source,
                "write it as max_worker_memory, with its unit: 512MiB",
            ),
        }
    }
    if let Some(given) = rest.last(&["buffer-size"], sheet) {
        buffer(&given, sheet);
    }
    let http = rest.last(&["http-timeout"], sheet);
    let socket = rest.last(&["socket-timeout"], sheet);
    if let (Some(_), Some(socket)) = (&http, &socket) {
        sheet.leave(
            &socket.source,
            "http-timeout is what clients meet, and it was taken",
        );
    }
    if let Some(given) = http.or(socket) {
        for name in ["body_timeout", "write_timeout"] {
            sheet.set(name, &given.value, &given.source);
        }
    }
    let mercies = rest.take(&["worker-reload-mercy", "reload-mercy"]);
    let chosen = mercies
        .iter()
        .position(|given| given.key.starts_with("worker"))
        .unwrap_or_default();
    for (number, given) in mercies.iter().enumerate() {
        if number == chosen {
            sheet.set("graceful_timeout", &given.value, &given.source);
        } else {
            sheet.leave(
                &given.source,
                "rcorn has one such time, graceful_timeout, and worker-reload-mercy was taken",
            );
        }
    }
}

/// uWSGI has one limit for the whole head, rcorn one for each of its lines.
fn buffer(given: &IniOption, sheet: &mut Sheet) {
    let Some(size) = given.plain().and_then(|text| text.parse::<u64>().ok()) else {
        return sheet.leave(
            &given.source,
            "write it as limit_request_line and limit_request_field_size",
        );
    };
    if size <= 4096 {
        return sheet.needless(
            &given.source,
            "rcorn takes a request line of 4094 bytes and 100 fields of 8190 bytes each",
        );
    }
    let line = size.min(8190).to_string();
    sheet.set("limit_request_line", &Text::Plain(line), &given.source);
    if size > 8190 {
        sheet.set(
            "limit_request_field_size",
            &Text::Plain(size.to_string()),
            &given.source,
        );
        sheet.note(
            "limit_request_line",
            "The most that is possible; uWSGI's buffer held all lines of a head together.",
        );
    }
}

/// The user.
pub(super) fn user(rest: &mut Remaining, sheet: &mut Sheet) {
    let plain = rest.is_on("no-initgroups", "initgroups is off by itself", sheet);
    let user = rest.last(&["uid", "immediate-uid"], sheet);
    let group = rest.last(&["gid", "immediate-gid"], sheet);
    if let Some(given) = &user {
        sheet.set("user", &given.value, &given.source);
    }
    if let Some(given) = &group {
        sheet.set("group", &given.value, &given.source);
    }
    if user.is_some() && group.is_some() && !plain {
        sheet.imply(
            "initgroups",
            "true",
            "uWSGI joins all groups of the user unless no-initgroups is given.",
        );
    }
}

/// What is written where.
pub(super) fn logs(rest: &mut Remaining, sheet: &mut Sheet) {
    let silent = rest.is_on(
        "disable-logging",
        "rcorn writes no access log unless accesslog is set",
        sheet,
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
            sheet.leave(
                &given.source,
                "rcorn logs to files and standard streams: let systemd-cat or logger pass them on",
            );
            continue;
        }
        let text = given.with(|_whole| path.to_owned());
        if given.key.starts_with("daemonize") {
            sheet.set("daemon", &Text::Plain("true".to_owned()), &given.source);
        }
        if given.key == "req-logger" {
            sheet.set("accesslog", &text, &given.source);
        } else if sheet.set("errorlog", &text, &given.source) {
            target = text;
        }
    }
    let format = rest.last(&["logformat", "log-format"], sheet);
    if silent {
        if let Some(given) = format {
            sheet.leave(
                &given.source,
                "there is no access log, because of disable-logging",
            );
        }
        return;
    }
    if !sheet.has("accesslog") {
        let why =
            "uWSGI logs each request beside everything else. Take this out for no access log.";
        if let (Text::Plain(path), true) = (&target, sheet.has("errorlog")) {
            sheet.imply("accesslog", path, why);
        } else {
            sheet.imply("accesslog", "-", why);
        }
    }
    let Some(given) = format else { return };
    match given.plain().map(logformat::translate) {
        Some(Ok(format)) => {
            sheet.set("access_log_format", &Text::Plain(format), &given.source);
        }
        Some(Err(why)) => sheet.leave(
            &given.source,
            format!("{why}: write access_log_format by hand"),
        ),
        None => sheet.leave(&given.source, "write access_log_format by hand"),
    }
}
