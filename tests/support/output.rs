//! What the server prints: both its streams are pipes, read by a thread each; tests block on the
//! lines.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::Deadline;

/// The lines of a server.
#[derive(Debug)]
pub(crate) struct Output {
    shared: Arc<Shared>,
    deadline: Deadline,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    /// Streams that have not ended.
    open: usize,
}

#[derive(Debug)]
struct Line {
    stream: &'static str,
    text: String,
    /// Whether an `expect` has returned it.
    is_taken: bool,
}

impl Output {
    /// An output without lines; waiting ends at `deadline`.
    pub(crate) fn new(deadline: Deadline) -> Self {
        Self {
            shared: Arc::default(),
            deadline,
        }
    }

    /// Reads a stream to its end in a thread.
    pub(crate) fn collect(&self, name: &'static str, stream: impl Read + Send + 'static) {
        self.lock().open += 1;
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let text = String::from_utf8_lossy(&line).into_owned();
                shared.lock().lines.push(Line {
                    stream: name,
                    text,
                    is_taken: false,
                });
                shared.changed.notify_all();
            }
            shared.lock().open -= 1;
            shared.changed.notify_all();
        });
    }

    /// Waits for a line that contains `text`, marks it as taken, and returns it. The order of
    /// different texts does not matter; asking twice for the same text means two lines.
    pub(crate) fn expect(&self, text: &str) -> String {
        self.wait(&format!("a line with {text:?}"), |state| {
            let line = state
                .lines
                .iter_mut()
                .find(|l| !l.is_taken && l.text.contains(text))?;
            line.is_taken = true;
            Some(line.text.clone())
        })
    }

    /// Waits until at least `count` lines, taken or not, contain `text`.
    pub(crate) fn expect_count(&self, text: &str, count: usize) {
        self.wait(&format!("{count} lines with {text:?}"), |state| {
            (state.count(text) >= count).then_some(())
        });
    }

    /// How many lines contain `text` so far.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.lock().count(text)
    }

    /// Waits until no process holds the streams any more, so that everything has been read.
    pub(crate) fn expect_end(&self) {
        let shared = &self.shared;
        let open = |state: &mut State| state.open > 0;
        let (state, _) = shared
            .changed
            .wait_timeout_while(shared.lock(), self.deadline.left(), open)
            .unwrap();
        let left = state.open;
        drop(state);
        assert_eq!(left, 0, "a process still holds the server's output");
    }

    /// Everything printed so far, in order.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lock().lines {
            writeln!(text, "{}", line.text).unwrap();
        }
        text
    }

    /// Records that fail a test: ERROR, CRITICAL, tracebacks, panics; each with the lines that
    /// belong to it. A record that contains an `allowed` text is accepted.
    pub(crate) fn complaints(&self, allowed: &[String]) -> Vec<String> {
        let state = self.lock();
        let mut blocks: Vec<String> = Vec::new();
        for stream in ["stdout", "stderr"] {
            let mut block: Option<String> = None;
            for line in state.lines.iter().filter(|line| line.stream == stream) {
                match &mut block {
                    // A line without a prefix belongs to the record before it.
                    Some(block) if !starts_record(&line.text) => {
                        block.push('\n');
                        block.push_str(&line.text);
                    }
                    Some(_) | None => blocks.extend(block.replace(line.text.clone())),
                }
            }
            blocks.extend(block);
        }
        blocks.retain(|block| {
            is_complaint(block) && !allowed.iter().any(|text| block.contains(text))
        });
        blocks
    }

    /// Waits until `find` finds something; fails at the deadline, or when no line can come any
    /// more.
    fn wait<T>(&self, what: &str, mut find: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut state = self.lock();
        loop {
            if let Some(found) = find(&mut state) {
                return found;
            }
            let left = self.deadline.left();
            if state.open == 0 || left.is_zero() {
                let why = if state.open == 0 {
                    "the output ended"
                } else {
                    "waited too long"
                };
                // A panic while the lock is held would poison it for the guard that prints the
                // lines.
                drop(state);
                panic!("{why} without {what}");
            }
            (state, _) = self.shared.changed.wait_timeout(state, left).unwrap();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn count(&self, text: &str) -> usize {
        self.lines
            .iter()
            .filter(|line| line.text.contains(text))
            .count()
    }
}

/// Whether a line begins a record: `[2026-11-21 ...`.
fn starts_record(line: &str) -> bool {
    line.strip_prefix('[')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn is_complaint(block: &str) -> bool {
    let first = block.lines().next().unwrap_or_default();
    let is_loud =
        starts_record(first) && (first.contains("] [ERROR]") || first.contains("] [CRITICAL]"));
    is_loud || block.contains("Traceback (most recent call last)") || block.contains("panicked at")
}
