//! Draws what is shown: a line for each instance, the table, and a line for keys, questions and
//! answers. Only ASCII of our own, and no colour carries a meaning alone.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table, TableState};

use rcorn_control::Status;

use crate::instance::Instance;
use crate::rows::{Column, Row};
use crate::text;
use crate::top::{Mode, Top};

/// At most this many instances have a line of their own.
const LINES: usize = 4;

/// After this many intervals without an answer an instance is said to give none.
const MISSED: u32 = 3;

/// Draws all.
pub(crate) fn draw(frame: &mut Frame<'_>, top: &mut Top, now: Instant) {
    let head = head(top, now);
    let height = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let parts = Layout::vertical([
        Constraint::Length(height),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    if let Mode::Text(title, lines, above) = &top.mode {
        let [title_area, body] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(frame.area());
        let title = format!("{title} - Esc closes, Up and Down scroll");
        frame.render_widget(Line::styled(title, HEADING), title_area);
        let lines: Vec<Line<'_>> = lines.iter().map(|line| Line::raw(line.as_str())).collect();
        let body_text = Paragraph::new(Text::from(lines)).scroll((*above, 0));
        frame.render_widget(body_text, body);
        top.page = body.height;
        return;
    }
    let [head_area, body, foot] = parts.areas(frame.area());
    frame.render_widget(Paragraph::new(head), head_area);
    table(frame, top, body);
    frame.render_widget(footer(top, now), foot);
}

const HEADING: Style = Style::new().add_modifier(Modifier::REVERSED);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Bold, and in a colour where colours are used.
fn marked(top: &Top, colour: Color) -> Style {
    if top.colours { BOLD.fg(colour) } else { BOLD }
}

/// A line for each instance; for one alone also its last reload and what its workers share.
fn head(top: &Top, now: Instant) -> Vec<Line<'static>> {
    let shown: Vec<&Instance> = top.shown().collect();
    let mut lines = Vec::new();
    for instance in shown.iter().take(LINES) {
        lines.push(summary(top, instance, now));
    }
    if shown.len() > LINES {
        let more = shown.len().saturating_sub(LINES);
        lines.push(Line::raw(format!("and {more} more: Tab shows each")));
    }
    if let [instance] = *shown
        && let Some(status) = &instance.status
    {
        let facts = [
            ("last reload", &status.last_reload),
            ("preload", &status.preload),
            ("refork", &status.refork),
        ];
        for (label, fact) in facts {
            if let Some(fact) = fact {
                lines.push(Line::raw(format!("{label}: {fact}")));
            }
        }
    }
    if lines.is_empty() {
        lines.push(Line::raw("No instance is running. Waiting for one."));
    }
    lines
}

/// One instance in a line.
fn summary(top: &Top, instance: &Instance, now: Instant) -> Line<'static> {
    let name = instance.name();
    let silent = instance.silent_for(now);
    let late = top.interval.saturating_mul(MISSED);
    if let Some(error) = &instance.error {
        let text = format!("no answer: {error}");
        return Line::from(vec![
            Span::styled(name, BOLD),
            Span::raw("  "),
            Span::styled(text, marked(top, Color::Red)),
        ]);
    }
    let mut spans = vec![Span::styled(name, BOLD), Span::raw("  ")];
    if silent > late {
        let text = format!("no answer for {}  ", text::time(silent.as_secs_f64()));
        spans.push(Span::styled(text, marked(top, Color::Red)));
    }
    let Some(status) = &instance.status else {
        spans.push(Span::raw("no answer yet"));
        return Line::from(spans);
    };
    let state = if status.state == "running" {
        Style::new()
    } else {
        marked(top, Color::Yellow)
    };
    spans.push(Span::styled(status.state.clone(), state));
    spans.push(Span::raw(figures(instance, status)));
    let errors = instance.rates().errors.unwrap_or(0.0);
    if errors > 0.0 {
        let text = format!("  {} errors/s", text::rate(errors));
        spans.push(Span::styled(text, marked(top, Color::Red)));
    }
    if let Some(pid) = status.upgrade {
        let text = format!("  upgrade to pid {pid}");
        spans.push(Span::styled(text, marked(top, Color::Yellow)));
    }
    Line::from(spans)
}

/// The figures of all its workers together.
fn figures(instance: &Instance, status: &Status) -> String {
    let serving = status.in_stage("serving");
    let spares = match status.wanted_spares {
        0 => String::new(),
        wanted => format!(" +{} of {wanted} spare", status.in_stage("spare")),
    };
    let rate = instance.rates().requests.map(text::rate);
    let workers = status.workers.iter();
    let resident: u64 = workers.filter_map(|worker| worker.resident).sum();
    let workers = status.workers.iter();
    let connections: u64 = workers.map(|worker| u64::from(worker.connections)).sum();
    format!(
        "  gen {}  {serving} of {} serving{spares}  {} req/s  {connections} conn  {}",
        status.generation,
        status.wanted,
        rate.as_deref().unwrap_or("-"),
        text::memory(resident)
    )
}

fn table(frame: &mut Frame<'_>, top: &mut Top, area: Rect) {
    let columns = Column::shown(area.width, top.count() > 1 && top.shown().nth(1).is_some());
    let heading = columns.iter().map(|column| {
        let style = if *column == top.sort.column {
            HEADING.add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        } else {
            HEADING
        };
        cell(*column, column.heading().to_owned()).style(style)
    });
    let heading = TableRow::new(heading).style(HEADING);
    let widths = columns.iter().map(|column| {
        if *column == Column::Request {
            Constraint::Fill(1)
        } else {
            Constraint::Length(column.width())
        }
    });
    let rows = top.rows();
    let selected = top.selected(&rows);
    let lines = rows.iter().map(|row| line(top, &columns, row));
    let table = Table::new(lines, widths)
        .header(heading)
        .column_spacing(1)
        .row_highlight_style(HEADING);
    let mut state = TableState::default()
        .with_offset(top.offset)
        .with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
    let offset = state.offset();
    top.offset = offset;
    top.page = area.height.saturating_sub(1);
}

fn cell(column: Column, text: String) -> Cell<'static> {
    let alignment = if column.is_number() {
        Alignment::Right
    } else {
        Alignment::Left
    };
    Cell::from(Text::from(text).alignment(alignment))
}

fn line(top: &Top, columns: &[Column], row: &Row<'_>) -> TableRow<'static> {
    let cells = columns.iter().map(|column| {
        let style = if *column == Column::Stage && row.thread.is_none() {
            stage(top, &row.worker.stage)
        } else {
            Style::new()
        };
        cell(*column, column.text(row)).style(style)
    });
    TableRow::new(cells.collect::<Vec<_>>())
}

/// What needs attention is bold.
fn stage(top: &Top, stage: &str) -> Style {
    match stage {
        "hung" | "unwinding" | "killed" => marked(top, Color::Red),
        "forking" | "booting" | "leaving" if top.colours => Style::new().fg(Color::Yellow),
        "serving" if top.colours => Style::new().fg(Color::Green),
        _ => Style::new(),
    }
}

fn footer(top: &Top, now: Instant) -> Line<'static> {
    match &top.mode {
        Mode::Filter => Line::raw(format!(
            "filter: {}_  (Enter keeps it, Esc drops it)",
            top.filter
        )),
        Mode::Confirm(_, question) => {
            Line::styled(format!("{question} y/n"), marked(top, Color::Yellow))
        }
        Mode::Table | Mode::Text(..) => match top.current_note(now) {
            Some(note) if note.failed => Line::styled(note.text.clone(), marked(top, Color::Red)),
            Some(note) => Line::raw(note.text.clone()),
            None if !top.filter.is_empty() => {
                Line::raw(format!("only rows with '{}': Esc shows all", top.filter))
            }
            None => Line::raw(
                "? help  q quit  / filter  <> sort  Enter stacks  x retire  +- scale  r reload",
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::instance::tests::status;
    use crate::top::tests::top;

    /// The screen as text.
    fn drawn(top: &mut Top, now: Instant, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, top, now)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = (0..height).map(|y| {
            let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            line.trim_end().to_owned()
        });
        lines.collect()
    }

    #[test]
    fn a_terminal_of_80_by_24_shows_what_matters() {
        let now = Instant::now();
        let mut top = top(now);
        let mut hung = status(10, &[(1, "serving", 9), (2, "hung", 50)]);
        hung.workers[1].request = Some("GET /slow from 127.0.0.1:5, for 31.0 s".to_owned());
        hung.workers[1].request_age = Some(31.0);
        hung.counts.requests = 59;
        hung.counts.responses_5xx = 3;
        let later = now + Duration::from_secs(1);
        top.seen(Path::new("/run/a"), later, Ok(hung));
        let lines = drawn(&mut top, later, 80, 24);
        let expected = [
            "shop:app (pid 10)  running  gen 1  1 of 2 serving  59 req/s  4 conn  40M  3.0",
            "shop:app (pid 20)  running  gen 1  0 of 1 serving  - req/s  2 conn  20M",
            "  RCORN   ID     PID STAGE        REQS REQ/S CONN   MEM  TIME REQUEST",
            "     10    1     101 serving         9     0    2   20M",
            "     10    2     102 hung           50     0    2   20M   31s GET /slow from 127",
            "     20    1     101 booting         0     -    2   20M",
        ];
        for (line, expected) in lines.iter().zip(expected) {
            assert!(
                line.starts_with(expected.trim_end()),
                "{line:?}\n{expected:?}"
            );
        }
        assert!(lines[23].starts_with("? help  q quit"), "{lines:?}");
    }

    #[test]
    fn an_instance_alone_says_more() {
        let now = Instant::now();
        let mut top = top(now);
        top.look(vec!["/run/a".into()], now);
        let mut told = status(10, &[(1, "serving", 9)]);
        told.last_reload = Some("generation 1 serves".to_owned());
        told.upgrade = Some(99);
        told.wanted_spares = 1;
        top.seen(Path::new("/run/a"), now, Ok(told));
        let lines = drawn(&mut top, now, 120, 10);
        assert!(
            lines[0].contains("1 of 1 serving +0 of 1 spare"),
            "{lines:?}"
        );
        assert!(lines[0].ends_with("upgrade to pid 99"), "{lines:?}");
        assert_eq!(lines[1], "last reload: generation 1 serves");
        assert!(lines[2].contains("GEN STAGE"), "{lines:?}");
    }

    #[test]
    fn an_instance_that_does_not_answer_is_said_so() {
        let now = Instant::now();
        let mut top = top(now);
        let later = now + Duration::from_secs(7);
        top.seen(Path::new("/run/b"), later, Err("refused".to_owned()));
        let lines = drawn(&mut top, later, 80, 10);
        assert!(lines[0].contains("no answer for 7.0s"), "{lines:?}");
        assert!(lines[1].ends_with("no answer: refused"), "{lines:?}");
        top.look(Vec::new(), later);
        let lines = drawn(&mut top, later, 80, 10);
        assert_eq!(lines[0], "No instance is running. Waiting for one.");
    }

    #[test]
    fn no_size_is_too_small() {
        let now = Instant::now();
        for (width, height) in [(1, 1), (5, 2), (20, 3), (79, 1), (300, 100)] {
            drawn(&mut top(now), now, width, height);
        }
    }

    #[test]
    fn without_colours_what_needs_attention_is_bold() {
        let now = Instant::now();
        let mut top = top(now);
        for (colours, colour) in [(true, Color::Red), (false, Color::Reset)] {
            top.colours = colours;
            let mut terminal = Terminal::new(TestBackend::new(80, 10)).unwrap();
            terminal.draw(|frame| draw(frame, &mut top, now)).unwrap();
            let buffer = terminal.backend().buffer();
            let hung = buffer.content().iter().find(|cell| {
                cell.symbol() == "h"
                    && cell.modifier.contains(Modifier::BOLD)
                    && !cell.modifier.contains(Modifier::REVERSED)
            });
            let fg = buffer.content().iter().map(|cell| cell.fg);
            assert!(hung.is_some());
            assert_eq!(
                fg.into_iter().any(|fg| fg == Color::Red),
                colour == Color::Red
            );
        }
    }
}
