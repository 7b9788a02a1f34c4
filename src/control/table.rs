//! `rcorn ctl status` for people.

use std::fmt::Write as _;

use super::{Status, WorkerStatus};

/// The status as text, a line each thing.
pub(super) fn show(status: &Status) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let mut line = |label: &str, value: &str| {
        let _fits = writeln!(text, "{label:<12}{value}");
    };
    line(
        "rcorn",
        &format!("{} (pid {}), {}", status.version, status.pid, status.state),
    );
    line("app", &status.app);
    line("listening", &status.listeners.join(", "));
    line("generation", &status.generation.to_string());
    if let Some(last) = &status.last_reload {
        line("last reload", last);
    }
    if let Some(pid) = status.upgrade {
        line("upgrade", &format!("a new arbiter runs (pid {pid})"));
    }
    for template in &status.templates {
        let pid = template
            .pid
            .map_or_else(String::new, |pid| format!("pid {pid}, "));
        line(
            "template",
            &format!(
                "{pid}generation {}, {}",
                template.generation, template.stage
            ),
        );
    }
    line(
        "workers",
        &format!("{} of {} serve", status.serving(), status.wanted),
    );
    text.push('\n');
    let mut rows = vec![
        [
            "ID",
            "PID",
            "GEN",
            "STAGE",
            "AGE",
            "REQUESTS",
            "CONNS",
            "MEMORY",
            "REQUEST IN HAND",
        ]
        .map(str::to_owned),
    ];
    rows.extend(status.workers.iter().map(row));
    let widths: Vec<usize> = (0..9)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut shown = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _fits = write!(shown, "{cell:<width$}  ");
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

fn row(worker: &WorkerStatus) -> [String; 9] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        worker.id.to_string(),
        or_dash(worker.pid.map(|pid| pid.to_string())),
        worker.generation.to_string(),
        worker.stage.clone(),
        or_dash(worker.age.map(|age| format!("{age:.0} s"))),
        worker.requests.to_string(),
        worker.connections.to_string(),
        or_dash(
            worker
                .resident
                .map(|kib| format!("{} MiB", kib.div_euclid(1024))),
        ),
        worker.request.clone().unwrap_or_default(),
    ]
}
