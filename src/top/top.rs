//! What is shown, and what a key does.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of a terminal's keys do nothing here"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ratatui::termion::event::Key;

use rcorn_control::{Request, Scale, Status};

use crate::events::Order;
use crate::instance::Instance;
use crate::rows::{Column, Row, RowId, Sort, rows};

/// How long the answer to an order is shown.
const NOTE: Duration = Duration::from_secs(10);

/// What the keys do.
pub(crate) const HELP: &str = "\
Up Down PgUp PgDn Home End   choose a worker (also k j g G)
Tab, Shift-Tab               show one instance, the next, all
/                            show only rows with a text; Esc: all
< >                          sort by the column to the left, to the right
i                            invert the order
t                            show or hide busy threads

Enter                        Python stacks of the chosen worker
x                            replace the chosen worker (retire)
+ -                          one worker more, one fewer
r                            reload settings and code

Ctrl-L                       draw again
Ctrl-Z                       suspend
q, Ctrl-C                    quit

What changes something is asked for first.
REQ/S is the mean since the last look, TIME the time that the request has
been in hand. A worker's TIME is that of its oldest request.";

/// What the program has to do after a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// End.
    Quit,
    /// Stop until the shell continues it.
    Suspend,
    /// Draw all again.
    Redraw,
    /// Give an instance this order.
    Ask(Order),
}

/// What keys mean now.
#[derive(Debug)]
pub(crate) enum Mode {
    /// They move in the table.
    Table,
    /// They write the filter.
    Filter,
    /// They answer a question about this order.
    Confirm(Order, String),
    /// They move in a text: its title, its lines, how many are above the screen.
    Text(String, Vec<String>, u16),
}

/// The answer to an order.
#[derive(Debug)]
pub(crate) struct Note {
    /// In words.
    pub(crate) text: String,
    /// Whether the order failed.
    pub(crate) failed: bool,
    until: Instant,
}

/// What is shown.
#[derive(Debug)]
pub(crate) struct Top {
    /// In the order of their sockets.
    instances: Vec<Instance>,
    /// The one instance that is shown; `None`: all.
    tab: Option<PathBuf>,
    /// The order of the rows.
    pub(crate) sort: Sort,
    /// What all rows have in them.
    pub(crate) filter: String,
    with_threads: bool,
    selected: Option<RowId>,
    /// The number of the selected row: where the selection stays when its worker is gone.
    place: usize,
    /// The first row on the screen.
    pub(crate) offset: usize,
    /// How many rows the screen had when it was last drawn.
    pub(crate) page: u16,
    /// What keys mean.
    pub(crate) mode: Mode,
    note: Option<Note>,
    /// Whether to use colours.
    pub(crate) colours: bool,
    /// The time between two looks.
    pub(crate) interval: Duration,
}

impl Top {
    /// Nothing yet.
    pub(crate) fn new(colours: bool, interval: Duration) -> Self {
        Self {
            instances: Vec::new(),
            tab: None,
            sort: Sort {
                column: Column::Instance,
                descending: false,
            },
            filter: String::new(),
            with_threads: true,
            selected: None,
            place: 0,
            offset: 0,
            page: 1,
            mode: Mode::Table,
            note: None,
            colours,
            interval,
        }
    }

    /// These instances are to be shown: returns those that are to be asked for their state now.
    pub(crate) fn look(&mut self, paths: Vec<PathBuf>, now: Instant) -> Vec<PathBuf> {
        let mut before = std::mem::take(&mut self.instances);
        for path in paths {
            let known = before.iter().position(|instance| instance.path == path);
            let instance = match known {
                Some(place) => before.swap_remove(place),
                None => Instance::at(path, now),
            };
            self.instances.push(instance);
        }
        let is_gone = |path: &PathBuf| self.instances.iter().all(|one| one.path != *path);
        if self.tab.as_ref().is_some_and(is_gone) {
            self.tab = None;
        }
        let asked = self
            .instances
            .iter_mut()
            .filter_map(|instance| instance.ask().then(|| instance.path.clone()));
        asked.collect()
    }

    /// An instance has told its state, or why there is none.
    pub(crate) fn seen(&mut self, path: &Path, at: Instant, outcome: Result<Status, String>) {
        let mut instances = self.instances.iter_mut();
        if let Some(instance) = instances.find(|instance| instance.path == path) {
            instance.see(at, outcome);
        }
    }

    /// An order was answered.
    pub(crate) fn answered(
        &mut self,
        order: &Order,
        outcome: Result<String, String>,
        now: Instant,
    ) {
        match (&order.request, outcome) {
            (Request::Stack(_), Ok(stacks)) => {
                self.note = None;
                let lines = stacks.lines().map(str::to_owned).collect();
                self.mode = Mode::Text(format!("Stacks of {}", order.about), lines, 0);
            }
            (_, outcome) => {
                let failed = outcome.is_err();
                let (Ok(text) | Err(text)) = outcome;
                self.note(format!("{}: {text}", order.about), failed, now);
            }
        }
    }

    fn note(&mut self, text: String, failed: bool, now: Instant) {
        let until = now.checked_add(NOTE).unwrap_or(now);
        self.note = Some(Note {
            text,
            failed,
            until,
        });
    }

    /// The answer to the last order, if it is still to be shown.
    pub(crate) fn current_note(&self, now: Instant) -> Option<&Note> {
        self.note.as_ref().filter(|note| note.until > now)
    }

    /// All instances, or the one that was chosen.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Instance> {
        let tab = self.tab.as_ref();
        self.instances
            .iter()
            .filter(move |instance| tab.is_none_or(|path| instance.path == *path))
    }

    /// How many instances there are, shown or not.
    pub(crate) fn count(&self) -> usize {
        self.instances.len()
    }

    /// The rows of the table.
    pub(crate) fn rows(&self) -> Vec<Row<'_>> {
        rows(self.shown(), self.sort, &self.filter, self.with_threads)
    }

    /// The number of the selected row; `None` if there is no row.
    pub(crate) fn selected(&self, rows: &[Row<'_>]) -> Option<usize> {
        let last = rows.len().checked_sub(1)?;
        let same = rows.iter().position(|row| Some(row.id()) == self.selected);
        Some(same.unwrap_or(self.place.min(last)))
    }

    fn select(&mut self, place: impl FnOnce(usize, usize) -> usize) {
        let rows = self.rows();
        let Some(now) = self.selected(&rows) else {
            return;
        };
        let last = rows.len().saturating_sub(1);
        let place = place(now, last).min(last);
        let id = rows.get(place).map(Row::id);
        self.selected = id;
        self.place = place;
    }

    /// Takes in a key.
    pub(crate) fn key(&mut self, key: Key, now: Instant) -> Option<Effect> {
        if let Key::Ctrl(letter) = key {
            return match letter {
                'c' => Some(Effect::Quit),
                'z' => Some(Effect::Suspend),
                'l' => Some(Effect::Redraw),
                _ => None,
            };
        }
        match &self.mode {
            Mode::Table => return self.table_key(key, now),
            Mode::Filter => self.filter_key(key),
            Mode::Confirm(order, _) => {
                let order = order.clone();
                self.mode = Mode::Table;
                if matches!(key, Key::Char('y' | 'Y')) {
                    self.note(format!("{}: asked", order.about), false, now);
                    return Some(Effect::Ask(order));
                }
                self.note("nothing was changed".to_owned(), false, now);
            }
            Mode::Text(..) => self.text_key(key),
        }
        None
    }

    fn table_key(&mut self, key: Key, now: Instant) -> Option<Effect> {
        let page = usize::from(self.page.max(1));
        match key {
            Key::Char('q') => return Some(Effect::Quit),
            Key::Up | Key::Char('k') => self.select(|place, _| place.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.select(|place, _| place.saturating_add(1)),
            Key::PageUp => self.select(|place, _| place.saturating_sub(page)),
            Key::PageDown => self.select(|place, _| place.saturating_add(page)),
            Key::Home | Key::Char('g') => self.select(|_, _| 0),
            Key::End | Key::Char('G') => self.select(|_, last| last),
            Key::Char('\t') => self.turn(true),
            Key::BackTab => self.turn(false),
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Char('<') => self.sort = self.sort.moved(-1),
            Key::Char('>') => self.sort = self.sort.moved(1),
            Key::Char('i') => self.sort.descending = !self.sort.descending,
            Key::Char('t') => self.with_threads = !self.with_threads,
            Key::Esc => {
                self.filter.clear();
                self.note = None;
            }
            Key::Char('?' | 'h') => {
                let lines = HELP.lines().map(str::to_owned).collect();
                self.mode = Mode::Text("Keys of rcorn top".to_owned(), lines, 0);
            }
            Key::Char('\n') => return self.ask_for_stacks(now),
            Key::Char('x') => self.retire(now),
            Key::Char('+') => self.scale(1, now),
            Key::Char('-') => self.scale(-1, now),
            Key::Char('r') => self.reload(now),
            _ => {}
        }
        None
    }

    fn filter_key(&mut self, key: Key) {
        match key {
            Key::Char('\n') => self.mode = Mode::Table,
            Key::Esc => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            Key::Backspace => drop(self.filter.pop()),
            Key::Char(letter) if !letter.is_control() => self.filter.push(letter),
            _ => {}
        }
    }

    fn text_key(&mut self, key: Key) {
        let Mode::Text(_, lines, above) = &mut self.mode else {
            return;
        };
        let last = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let last = last.saturating_sub(self.page);
        let page = self.page.max(1);
        *above = match key {
            Key::Up | Key::Char('k') => above.saturating_sub(1),
            Key::Down | Key::Char('j') => above.saturating_add(1),
            Key::PageUp => above.saturating_sub(page),
            Key::PageDown | Key::Char(' ') => above.saturating_add(page),
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => last,
            Key::Esc | Key::Char('\n' | 'q') => {
                self.mode = Mode::Table;
                return;
            }
            _ => *above,
        }
        .min(last);
    }

    /// Shows the next instance alone, after the last one all; or the other way round.
    fn turn(&mut self, forward: bool) {
        let paths = self.instances.iter().map(|instance| &instance.path);
        let mut tabs: Vec<Option<&PathBuf>> =
            std::iter::once(None).chain(paths.map(Some)).collect();
        if !forward {
            tabs.reverse();
        }
        let here = tabs.iter().position(|tab| *tab == self.tab.as_ref());
        let mut following = tabs.iter().cycle().skip(here.unwrap_or(0)).skip(1);
        let next = following.next().copied().flatten().cloned();
        self.tab = next;
        self.offset = 0;
    }

    /// The instance that an order is for: that of the selected row, else the only one shown.
    fn target(&self) -> Option<&Instance> {
        let rows = self.rows();
        let selected = self.selected(&rows).and_then(|place| rows.get(place));
        selected.map(|row| row.instance).or_else(|| {
            let mut shown = self.shown();
            shown.next().filter(|_| shown.next().is_none())
        })
    }

    /// The selected worker: its instance, its id, and what it is called.
    fn chosen(&self) -> Option<(PathBuf, u64, String)> {
        let rows = self.rows();
        let row = rows.get(self.selected(&rows)?)?;
        let pid = row.worker.pid.map(|pid| format!(" (pid {pid})"));
        let about = format!("worker {}{}", row.worker.id, pid.unwrap_or_default());
        Some((row.instance.path.clone(), row.worker.id, about))
    }

    fn ask_for_stacks(&mut self, now: Instant) -> Option<Effect> {
        let (path, id, about) = self.chosen()?;
        self.note(format!("asking {about} for its stacks"), false, now);
        Some(Effect::Ask(Order {
            path,
            request: Request::Stack(id),
            about,
        }))
    }

    fn retire(&mut self, now: Instant) {
        let Some((path, id, about)) = self.chosen() else {
            return self.note("no worker is chosen".to_owned(), true, now);
        };
        let question = format!("Replace {about}?");
        let request = Request::Retire(id);
        self.confirm(
            Order {
                path,
                request,
                about,
            },
            question,
        );
    }

    fn scale(&mut self, by: i32, now: Instant) {
        let Some((path, about)) = self.target_name() else {
            return self.note("choose an instance with Tab".to_owned(), true, now);
        };
        let wanted = self.target().and_then(|instance| instance.status.as_ref());
        let wanted = wanted.map_or(0, |status| status.wanted);
        let question = format!(
            "Scale {about} from {wanted} to {} workers?",
            wanted.saturating_add_signed(by)
        );
        let request = Request::Scale(Scale::By(by));
        self.confirm(
            Order {
                path,
                request,
                about,
            },
            question,
        );
    }

    fn reload(&mut self, now: Instant) {
        let Some((path, about)) = self.target_name() else {
            return self.note("choose an instance with Tab".to_owned(), true, now);
        };
        let question = format!("Reload {about}?");
        let request = Request::Reload { wait: true };
        self.confirm(
            Order {
                path,
                request,
                about,
            },
            question,
        );
    }

    fn target_name(&self) -> Option<(PathBuf, String)> {
        let instance = self.target()?;
        Some((instance.path.clone(), instance.name()))
    }

    fn confirm(&mut self, order: Order, question: String) {
        self.mode = Mode::Confirm(order, question);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::instance::tests::status;

    /// One that shows two instances, with two workers and one.
    pub(crate) fn top(now: Instant) -> Top {
        let mut top = Top::new(true, Duration::from_secs(1));
        let paths = ["/run/a", "/run/b"].map(PathBuf::from);
        top.look(paths.to_vec(), now);
        let workers = [(1, "serving", 9), (2, "hung", 50)];
        top.seen(&paths[0], now, Ok(status(10, &workers)));
        top.seen(&paths[1], now, Ok(status(20, &[(1, "booting", 0)])));
        top
    }

    fn press(top: &mut Top, keys: &str) -> Option<Effect> {
        let mut last = None;
        for key in keys.chars() {
            let key = if key == '\x1b' {
                Key::Esc
            } else {
                Key::Char(key)
            };
            last = top.key(key, Instant::now());
        }
        last
    }

    fn chosen(top: &Top) -> (PathBuf, u64) {
        let (path, id, _) = top.chosen().unwrap();
        (path, id)
    }

    #[test]
    fn the_selection_stays_on_its_worker() {
        let now = Instant::now();
        let mut top = top(now);
        assert_eq!(chosen(&top), ("/run/a".into(), 1));
        press(&mut top, "G");
        let last = chosen(&top);
        press(&mut top, "i");
        assert_eq!(chosen(&top), last);
        press(&mut top, "ig");
        assert_eq!(chosen(&top), ("/run/a".into(), 1));
        press(&mut top, "kk");
        assert_eq!(chosen(&top), ("/run/a".into(), 1));
        // Its worker ends: the row that takes its place.
        press(&mut top, "j");
        assert_eq!(chosen(&top), ("/run/a".into(), 2));
        top.seen(
            Path::new("/run/a"),
            now,
            Ok(status(10, &[(1, "serving", 9)])),
        );
        assert_eq!(chosen(&top), ("/run/b".into(), 1));
        top.seen(Path::new("/run/b"), now, Ok(status(20, &[])));
        assert_eq!(chosen(&top), ("/run/a".into(), 1));
        top.seen(Path::new("/run/a"), now, Ok(status(10, &[])));
        assert_eq!(top.chosen(), None);
        assert_eq!(press(&mut top, "\nxjG"), None);
    }

    #[test]
    fn tab_shows_one_instance_after_the_other() {
        let mut top = top(Instant::now());
        let shown = |top: &Top| top.shown().map(|one| one.path.clone()).collect::<Vec<_>>();
        assert_eq!(shown(&top).len(), 2);
        press(&mut top, "\t");
        assert_eq!(shown(&top), [PathBuf::from("/run/a")]);
        press(&mut top, "\t");
        assert_eq!(shown(&top), [PathBuf::from("/run/b")]);
        press(&mut top, "\t");
        assert_eq!(shown(&top).len(), 2);
        top.key(Key::BackTab, Instant::now());
        assert_eq!(shown(&top), [PathBuf::from("/run/b")]);
        // The one that is shown ends.
        top.look(vec!["/run/a".into()], Instant::now());
        assert_eq!(shown(&top), [PathBuf::from("/run/a")]);
    }

    #[test]
    fn what_changes_something_is_asked_for_first() {
        let mut top = top(Instant::now());
        for (key, request) in [
            ("x", Request::Retire(1)),
            ("+", Request::Scale(Scale::By(1))),
            ("-", Request::Scale(Scale::By(-1))),
            ("r", Request::Reload { wait: true }),
        ] {
            assert_eq!(press(&mut top, key), None);
            assert!(matches!(top.mode, Mode::Confirm(..)), "{key}");
            assert_eq!(press(&mut top, "n"), None);
            assert!(matches!(top.mode, Mode::Table), "{key}");
            press(&mut top, key);
            let Some(Effect::Ask(order)) = press(&mut top, "y") else {
                panic!("{key} asks nothing");
            };
            assert_eq!((order.path, order.request), ("/run/a".into(), request));
        }
        // A key that was typed ahead answers no question.
        press(&mut top, "x");
        assert_eq!(press(&mut top, "\n"), None);
        assert_eq!(press(&mut top, "q"), Some(Effect::Quit));
    }

    #[test]
    fn without_a_row_an_order_needs_the_one_instance() {
        let mut top = top(Instant::now());
        press(&mut top, "/nothing\n+");
        assert!(matches!(top.mode, Mode::Table));
        let note = top.current_note(Instant::now()).unwrap();
        assert!(note.failed && note.text.contains("Tab"), "{note:?}");
        press(&mut top, "\t+");
        let Mode::Confirm(_, question) = &top.mode else {
            panic!("{top:?}");
        };
        assert_eq!(question, "Scale shop:app (pid 10) from 2 to 3 workers?");
    }

    #[test]
    fn stacks_are_shown_as_a_text_and_other_answers_as_a_note() {
        let now = Instant::now();
        let mut top = top(now);
        let Some(Effect::Ask(order)) = press(&mut top, "\n") else {
            panic!("Enter asks nothing");
        };
        assert_eq!(order.request, Request::Stack(1));
        top.answered(&order, Err("process 101 gave no answer".to_owned()), now);
        let note = top.current_note(now).unwrap();
        assert!(note.failed);
        assert_eq!(note.text, "worker 1 (pid 101): process 101 gave no answer");
        assert!(top.current_note(now + NOTE).is_none());
        top.page = 2;
        top.answered(&order, Ok("one\ntwo\nthree\nfour".to_owned()), now);
        press(&mut top, "jjjj");
        let Mode::Text(title, lines, above) = &top.mode else {
            panic!("{top:?}");
        };
        assert_eq!((lines.len(), *above), (4, 2));
        assert_eq!(title, "Stacks of worker 1 (pid 101)");
        press(&mut top, "\x1b");
        assert!(matches!(top.mode, Mode::Table));
    }

    #[test]
    fn the_filter_is_written_and_dropped() {
        let mut top = top(Instant::now());
        press(&mut top, "/huq");
        top.key(Key::Backspace, Instant::now());
        press(&mut top, "ng\n");
        assert_eq!(top.filter, "hung");
        assert_eq!(top.rows().len(), 1);
        press(&mut top, "\x1b");
        assert_eq!(top.rows().len(), 3);
    }
}
