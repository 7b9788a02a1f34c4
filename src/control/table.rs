//! `rcorn ctl status` for people.

use std::fmt::Write as _;

use super::{Status, WorkerStatus};

/// A column of the workers' table: its heading, and its text for a worker.
type Column = (&'static str, fn(&WorkerStatus) -> String);

/// The columns, from left to right.
const COLUMNS: &[Column] = &[
    ("ID", |worker| worker.id.to_string()),
    ("PID", |worker| or_dash(worker.pid)),
    ("GEN", |worker| worker.generation.to_string()),
    ("STAGE", |worker| worker.stage.clone()),
    ("AGE", |worker| {
        or_dash(worker.age.map(|age| format!("{age:.0} s")))
    }),
    ("REQUESTS", |worker| worker.requests.to_string()),
    ("CONNS", |worker| worker.connections.to_string()),
    ("MEMORY", |worker| {
        let mebibytes = worker.resident.map(|kibibytes| kibibytes.div_euclid(1024));
        or_dash(mebibytes.map(|mebibytes| format!("{mebibytes} MiB")))
    }),
    ("CURRENT REQUEST", current_request),
];

/// The columns of the table of threads that have a request in hand.
const THREAD_HEADINGS: [&str; 5] = ["WORKER", "THREAD", "TID", "REQUESTS", "CURRENT REQUEST"];

/// The request in hand. With threads: how many of them have one; their own table has the requests.
fn current_request(worker: &WorkerStatus) -> String {
    match worker.threads.len() {
        0 => worker.request.clone().unwrap_or_default(),
        all => format!("{} of {all} threads busy", worker.busy_threads().count()),
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// The status as text: one fact a line, then a table of the workers, and one of their threads that
/// are busy.
pub(super) fn show(status: &Status) -> String {
    let mut text = facts(status);
    let headings = COLUMNS.iter().map(|(heading, _)| (*heading).to_owned());
    let mut rows: Vec<Vec<String>> = vec![headings.collect()];
    rows.extend(status.workers.iter().map(|worker| {
        let cells = COLUMNS.iter().map(|(_, cell)| cell(worker));
        cells.collect()
    }));
    add_table(&mut text, &rows);
    let mut rows = vec![THREAD_HEADINGS.map(str::to_owned).to_vec()];
    for worker in &status.workers {
        rows.extend(worker.busy_threads().map(|thread| {
            vec![
                worker.id.to_string(),
                thread.number.to_string(),
                thread.tid.to_string(),
                thread.requests.to_string(),
                thread.request.clone().unwrap_or_default(),
            ]
        }));
    }
    if rows.len() > 1 {
        add_table(&mut text, &rows);
    }
    text
}

/// An empty line, and the rows with their columns aligned.
fn add_table(text: &mut String, rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    text.push('\n');
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String does not fail.
            write!(line, "{cell:<width$}  ").ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn facts(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a String does not fail.
        writeln!(text, "{label:<12}{value}").ok();
    };
    line(
        "rcorn",
        &format!("{} (pid {}), {}", status.version, status.pid, status.state),
    );
    line("app", &status.app);
    line("listening", &status.listeners.join(", "));
    line("generation", &status.generation.to_string());
    if let Some(preload) = &status.preload {
        line("preload", preload);
    }
    if let Some(last) = &status.last_reload {
        line("last reload", last);
    }
    if let Some(refork) = &status.refork {
        line("refork", refork);
    }
    if let Some(pid) = status.upgrade {
        line("upgrade", &format!("a new arbiter is running (pid {pid})"));
    }
    for template in &status.templates {
        let pid = template.pid.map(|pid| format!("pid {pid}, "));
        line(
            "template",
            &format!(
                "{}generation {}, {}",
                pid.unwrap_or_default(),
                template.generation,
                template.stage
            ),
        );
        if let Some(python) = &template.python {
            let version = python.version.as_deref().unwrap_or("Python");
            let text = format!("{version}, {}: {}", python.path, python.reason);
            line("", &text);
        }
    }
    let spares = match (status.spares(), status.wanted_spares) {
        (0, 0) => String::new(),
        (ready, wanted) => format!(", {ready} of {wanted} spare"),
    };
    line(
        "workers",
        &format!("{} of {} serving{spares}", status.serving(), status.wanted),
    );
    for (label, text) in of_tls(status) {
        line(label, &text);
    }
    let lost = status.counts.lost_log_records;
    if lost > 0 {
        line("log", &format!("{lost} records could not be written"));
    }
    text
}

/// The processes that speak TLS, and the certificates, in words.
fn of_tls(status: &Status) -> Vec<(&'static str, String)> {
    let fronts = status.fronts.iter().map(|front| {
        let connections = front.connections;
        format!(
            "pid {} {}, {connections} connections",
            front.pid, front.stage
        )
    });
    let fronts: Vec<String> = fronts.collect();
    let fronts = (!fronts.is_empty()).then(|| ("fronts", fronts.join("; ")));
    let certificates = status.certificates.iter().map(|one| {
        let (file, names, days) = (&one.file, one.names.join(", "), one.days);
        (
            "certificate",
            format!("{file} ({names}), valid for {days} days"),
        )
    });
    fronts.into_iter().chain(certificates).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A status with one worker that serves and one that is not forked yet.
    pub(crate) fn status() -> Status {
        let json = r#"{
            "version": "1.2.3", "pid": 10, "state": "running", "generation": 2, "wanted": 3,
            "app": "shop:app", "listeners": ["127.0.0.1:8000", "unix:/run/x"], "upgrade": 99,
            "preload": "shop/ids.py:4 draws a random number at import",
            "refork": "Worker 7 is to become the template.",
            "templates": [{"generation": 2, "pid": 11, "stage": "ready"}],
            "workers": [
                {"id": 7, "pid": 12, "generation": 2, "stage": "serving", "age": 61.4,
                 "requests": 12345, "connections": 2, "resident": 20480, "request": "GET /slow"},
                {"id": 123, "pid": null, "generation": 2, "stage": "forking", "requests": 0,
                 "connections": 0}
            ]
        }"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let expected = "\
rcorn       1.2.3 (pid 10), running
app         shop:app
listening   127.0.0.1:8000, unix:/run/x
generation  2
preload     shop/ids.py:4 draws a random number at import
refork      Worker 7 is to become the template.
upgrade     a new arbiter is running (pid 99)
template    pid 11, generation 2, ready
workers     1 of 3 serving

ID   PID  GEN  STAGE    AGE   REQUESTS  CONNS  MEMORY  CURRENT REQUEST
7    12   2    serving  61 s  12345     2      20 MiB  GET /slow
123  -    2    forking  -     0         0      -
";
        assert_eq!(show(&status()), expected);
        let mut lossy = status();
        lossy.counts.lost_log_records = 3;
        let with_loss = "1 of 3 serving\nlog         3 records could not be written\n";
        assert!(show(&lossy).contains(with_loss));
        let mut kept = status();
        kept.wanted_spares = 2;
        assert!(show(&kept).contains("1 of 3 serving, 0 of 2 spare\n"));
        kept.workers[1].stage = "spare".to_owned();
        assert!(show(&kept).contains("1 of 3 serving, 1 of 2 spare\n"));
    }

    #[test]
    fn what_speaks_tls_has_lines() {
        let mut status = status();
        let fronts = r#"[{"pid": 20, "stage": "serving", "age": 3.5, "connections": 7}]"#;
        status.fronts = serde_json::from_str(fronts).unwrap();
        let certificates =
            r#"[{"file": "/etc/a.pem", "names": ["a", "b"], "not_after": 1, "days": 30}]"#;
        status.certificates = serde_json::from_str(certificates).unwrap();
        let expected = "\
workers     1 of 3 serving
fronts      pid 20 serving, 7 connections
certificate /etc/a.pem (a, b), valid for 30 days
";
        assert!(show(&status).contains(expected), "{}", show(&status));
    }

    #[test]
    fn threads_that_are_busy_have_a_table() {
        let mut status = status();
        let threads = r#"[
            {"number": 1, "tid": 21, "requests": 9, "request": "GET /a"},
            {"number": 2, "tid": 22, "requests": 8},
            {"number": 3, "tid": 23, "requests": 7, "request": "GET /b"}
        ]"#;
        status.workers[0].threads = serde_json::from_str(threads).unwrap();
        let expected = "\
7    12   2    serving  61 s  12345     2      20 MiB  2 of 3 threads busy
123  -    2    forking  -     0         0      -

WORKER  THREAD  TID  REQUESTS  CURRENT REQUEST
7       1       21   9         GET /a
7       3       23   7         GET /b
";
        let shown = show(&status);
        assert!(shown.ends_with(expected), "{shown}");
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["workers"][0]["threads"][1]["tid"], 22);
        assert_eq!(json["workers"][1].get("threads"), None);
    }
}
