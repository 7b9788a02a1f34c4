//! The workers of a uwsgi.ini: how many, their limits of time and memory, and their user.

use super::options::{IniOption, Remaining};
use super::output::Output;
use super::yaml::Text;

/// More greenlets than this become as many threads.
const MOST_THREADS: u32 = 32;

/// `processes`, and `threads` or the greenlets of gevent.
pub(super) fn workers(rest: &mut Remaining, output: &mut Output) {
    if let Some(given) = rest.last(&["processes", "workers"], output) {
        output.set("workers", &given.value, &given.source);
    }
    let number = |given: &IniOption| given.plain().and_then(|text| text.parse::<u32>().ok());
    let threads = rest.last(&["threads"], output);
    if let Some(given) = &threads {
        match number(given) {
            Some(0 | 1) => output.not_needed(&given.source, "a worker has one thread"),
            Some(_) => {
                output.set("threads", &given.value, &given.source);
            }
            None => output.omit(&given.source, "write the number of threads as threads"),
        }
    }
    let Some(given) = rest.last(&["gevent"], output) else {
        return;
    };
    match number(&given) {
        _ if threads.is_some() => {
            output.not_needed(&given.source, "requests are served by threads");
        }
        Some(0 | 1) => output.not_needed(&given.source, "a worker has one thread"),
        Some(greenlets) => {
            let threads = Text::Plain(greenlets.min(MOST_THREADS).to_string());
            if output.set("threads", &threads, &given.source) {
                let note = format!(
                    "{greenlets} greenlets of gevent in each process. Threads take their place: nothing is monkey-patched. They are not \
                     enough for an app that keeps more requests open than it has threads, or that needs gevent itself."
                );
                output.comment("threads", note);
            }
        }
        None => output.omit(
            &given.source,
            "requests are served by threads: write their number as threads",
        ),
    }
}

/// Limits of time and size that depend on several lines.
pub(super) fn limits(rest: &mut Remaining, output: &mut Output) {
    if let Some(given) = rest.last(&["harakiri"], output) {
        output.set("timeout", &given.value, &given.source);
    } else {
        output.set_implied("timeout", "0", "uWSGI has no limit without harakiri. Take this line out for rcorn's default, 30 seconds, which is recommended.");
    }
    let memory = rest.take(&["reload-on-rss", "evil-reload-on-rss"]);
    let least = memory
        .iter()
        .filter_map(IniOption::plain)
        .filter_map(|text| text.parse::<u64>().ok())
        .min();
    for given in memory {
        match given.plain().and_then(|text| text.parse::<u64>().ok()) {
            Some(size) if Some(size) == least && !output.has("max_worker_memory") => {
                output.set(
                    "max_worker_memory",
                    &Text::Plain(format!("{size}MiB")),
                    &given.source,
                );
            }
            Some(_) => output.not_needed(&given.source, "the smaller limit counts"),
            None => output.omit(
                &given.source,
                "write it as max_worker_memory, with its unit: 512MiB",
            ),
        }
    }
    if let Some(given) = rest.last(&["buffer-size"], output) {
        buffer(&given, output);
    }
    let http = rest.last(&["http-timeout"], output);
    let socket = rest.last(&["socket-timeout"], output);
    if let (Some(_), Some(socket)) = (&http, &socket) {
        output.omit(
            &socket.source,
            "http-timeout, which applies to clients, is used instead",
        );
    }
    if let Some(given) = http.or(socket) {
        for name in ["body_timeout", "write_timeout"] {
            output.set(name, &given.value, &given.source);
        }
    }
    let mercies = rest.take(&["worker-reload-mercy", "reload-mercy"]);
    let chosen = mercies
        .iter()
        .position(|given| given.key.starts_with("worker"))
        .unwrap_or_default();
    for (number, given) in mercies.iter().enumerate() {
        if number == chosen {
            output.set("graceful_timeout", &given.value, &given.source);
        } else {
            output.omit(
                &given.source,
                "rcorn has one such time, graceful_timeout; worker-reload-mercy is used for it",
            );
        }
    }
}

/// uWSGI limits the whole header, rcorn each of its lines.
fn buffer(given: &IniOption, output: &mut Output) {
    let Some(size) = given.plain().and_then(|text| text.parse::<u64>().ok()) else {
        return output.omit(
            &given.source,
            "write it as limit_request_line and limit_request_field_size",
        );
    };
    if size <= 4096 {
        return output.not_needed(
            &given.source,
            "rcorn accepts a request line of 4094 bytes and 100 fields of 8190 bytes each",
        );
    }
    let line = size.min(8190).to_string();
    output.set("limit_request_line", &Text::Plain(line), &given.source);
    if size > 8190 {
        output.set(
            "limit_request_field_size",
            &Text::Plain(size.to_string()),
            &given.source,
        );
        output.comment(
            "limit_request_line",
            "The maximum; uWSGI's buffer held all lines of a header together.",
        );
    }
}

/// User and group of the workers.
pub(super) fn user(rest: &mut Remaining, output: &mut Output) {
    let plain = rest.is_on("no-initgroups", "initgroups is off by default", output);
    let user = rest.last(&["uid", "immediate-uid"], output);
    let group = rest.last(&["gid", "immediate-gid"], output);
    if let Some(given) = &user {
        output.set("user", &given.value, &given.source);
    }
    if let Some(given) = &group {
        output.set("group", &given.value, &given.source);
    }
    if user.is_some() && group.is_some() && !plain {
        output.set_implied(
            "initgroups",
            "true",
            "uWSGI joins all groups of the user unless no-initgroups is given.",
        );
    }
}
