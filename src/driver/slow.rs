//! Requests that take longer than `slow_request`: where each is, in Python, is logged once while it
//! runs. The stacks are dumped as those of a worker that hangs, without the GIL.

use std::collections::VecDeque;
use std::time::Duration;

use rcorn_arbiter::{CellIndex, Pid};
use rcorn_log as log;
use rcorn_scoreboard::{Cell, Scoreboard};
use rcorn_sys::clock;
use rcorn_types::{Level, Monotonic};

use super::children::Children;
use super::in_hand::{InHand, Thread, ident_of, threads};

/// How many are remembered for `rcorn ctl slow`.
const MAX_REMEMBERED: usize = 20;
/// How long a process may take to dump its stacks before the first look, and between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How many looks there are.
const MAX_LOOKS: u32 = 20;

/// A request of a worker: when it began tells it from the ones before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    cell: CellIndex,
    /// The number of its thread, if the worker has several.
    thread: Option<u16>,
    begun: Monotonic,
}

/// A request whose stack was asked for.
#[derive(Debug)]
struct Asked {
    key: Key,
    pid: Pid,
    /// When to look for the stack.
    due: Monotonic,
    looks_left: u32,
}

/// The requests that were found to be slow.
#[derive(Debug, Default)]
pub(super) struct SlowRequests {
    /// Those that still run, and were found.
    found: Vec<Key>,
    asked: Vec<Asked>,
    /// What was logged of the last ones, the latest last.
    remembered: VecDeque<String>,
    /// When the next request can be slow.
    next: Option<Monotonic>,
}

impl SlowRequests {
    /// When there is something to look at; `None`: never.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let asked = self.asked.iter().map(|asked| asked.due);
        asked.chain(self.next).min()
    }

    /// Looks for slow requests. `limit`: `None` if none is slow; `serving`: the cells of workers
    /// that serve.
    pub(super) fn look(
        &mut self,
        limit: Option<Duration>,
        scoreboard: &Scoreboard,
        children: &Children,
        serving: &[CellIndex],
    ) {
        let Some(limit) = limit else {
            self.next = None;
            self.asked.clear();
            return;
        };
        let now = clock::now();
        self.read(scoreboard, children, now);
        if self.next.is_some_and(|next| next > now) {
            return;
        }
        let running: Vec<(Key, Pid)> = serving
            .iter()
            .flat_map(|cell| in_hand(scoreboard, *cell))
            .collect();
        self.found
            .retain(|key| running.iter().any(|(one, _)| one == key));
        // A request that begins now is slow at the earliest then.
        let mut next = now.after(limit);
        for (key, pid) in running {
            let due = key.begun.after(limit);
            if due > now {
                next = next.min(due);
            } else if !self.found.contains(&key) {
                self.found.push(key);
                self.ask(key, pid, children, now);
            }
        }
        self.next = Some(next);
    }

    /// Asks for the stacks, once for all requests of a worker.
    fn ask(&mut self, key: Key, pid: Pid, children: &Children, now: Monotonic) {
        if !self.asked.iter().any(|asked| asked.pid == pid) {
            children.request_stacks(pid);
        }
        self.asked.push(Asked {
            key,
            pid,
            due: now.after(LOOK_INTERVAL),
            looks_left: MAX_LOOKS,
        });
    }

    /// Reads the stacks that have been dumped, and logs them if their requests still run.
    fn read(&mut self, scoreboard: &Scoreboard, children: &Children, now: Monotonic) {
        for mut asked in std::mem::take(&mut self.asked) {
            if asked.due > now {
                self.asked.push(asked);
                continue;
            }
            let runs = in_hand(scoreboard, asked.key.cell).any(|(key, _)| key == asked.key);
            let stacks = children.stacks_of(asked.pid);
            if !runs {
                // It has ended: the stack may be that of another.
            } else if stacks.is_empty() && asked.looks_left > 0 {
                asked.looks_left = asked.looks_left.saturating_sub(1);
                asked.due = now.after(LOOK_INTERVAL);
                self.asked.push(asked);
            } else if let Some((request, thread)) = request(scoreboard, asked.key, now) {
                self.report(asked.pid, &request, thread, &stacks);
            }
        }
    }

    fn report(&mut self, pid: Pid, request: &InHand, thread: Option<Thread>, stacks: &str) {
        let place =
            thread.map(|Thread { number, tid, .. }| format!(", thread {number} (tid {tid})"));
        let place = place.unwrap_or_default();
        let stack = match stack_of(stacks, thread) {
            Some(stack) => format!("\n{stack}"),
            None => "; its Python did not respond".to_owned(),
        };
        let text = format!("Slow request: {request}, in worker (pid:{pid}){place}{stack}");
        let id = request.request_id();
        log::record_about(Level::Warning, id, format_args!("{text}"));
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(text);
    }

    /// The last ones, the latest first; a line if there are none.
    pub(super) fn last(&self, limit: Option<Duration>) -> String {
        if self.remembered.is_empty() {
            return match limit {
                None => "slow requests are not looked for; set slow_request".to_owned(),
                Some(_) => "no request was slow".to_owned(),
            };
        }
        let last: Vec<&str> = self.remembered.iter().rev().map(String::as_str).collect();
        last.join("\n\n")
    }
}

/// The requests of a worker whose app makes no visible progress, and its pid. One that waits for
/// its client is not among them.
fn in_hand(scoreboard: &Scoreboard, index: CellIndex) -> impl Iterator<Item = (Key, Pid)> {
    let cell = scoreboard.cell(index.0);
    let pid = cell.map_or(0, Cell::pid);
    let pid = Pid(i32::try_from(pid).unwrap_or(0));
    let own = cell
        .filter(|cell| cell.slots() == 0)
        .map(|cell| (None, cell));
    let of_threads = threads(scoreboard, index).map(|(thread, cell)| (Some(thread.number), cell));
    own.into_iter()
        .chain(of_threads)
        .filter_map(move |(thread, cell)| {
            let begun = cell.request_entry().no_progress_since()?;
            let key = Key {
                cell: index,
                thread,
                begun,
            };
            Some((key, pid))
        })
}

/// What the scoreboard knows of a request, and its thread.
fn request(scoreboard: &Scoreboard, key: Key, now: Monotonic) -> Option<(InHand, Option<Thread>)> {
    let Some(number) = key.thread else {
        let entry = scoreboard.cell(key.cell.0)?.request_entry();
        return Some((InHand::of(entry, now)?, None));
    };
    let (thread, cell) = threads(scoreboard, key.cell).find(|(one, _)| one.number == number)?;
    let request = InHand::of(cell.request_entry(), now)?;
    Some((request, Some(thread)))
}

/// The stack of one thread in a dump; without a thread that of the main thread, which is the last
/// one in it.
fn stack_of(stacks: &str, thread: Option<Thread>) -> Option<&str> {
    let sections = stacks.split("\n\n").map(str::trim);
    let mut sections = sections.filter(|one| !one.is_empty());
    match thread {
        None => sections.last(),
        Some(thread) => sections.find(|section| {
            let heading = section.lines().next().unwrap_or_default();
            ident_of(heading) == Some(thread.ident)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "\
Thread 0x000000000000abc0 (most recent call first):
  File \"x.py\", line 1 in helper

Current thread 0x000000000000abc1 (most recent call first):
  File \"x.py\", line 2 in app
  File \"x.py\", line 3 in main
";

    #[test]
    fn the_stack_is_that_of_the_thread_of_the_request() {
        let thread = |ident| Thread {
            number: 1,
            ident,
            tid: 7,
        };
        let helper = stack_of(DUMP, Some(thread(0xabc0))).unwrap();
        assert!(helper.ends_with("in helper"), "{helper}");
        assert!(stack_of(DUMP, None).unwrap().ends_with("in main"));
        assert_eq!(stack_of(DUMP, Some(thread(1))), None);
        assert_eq!(stack_of("", None), None);
    }

    #[test]
    fn a_request_is_found_once_and_only_if_it_does_not_wait_for_its_client() {
        let (board, _memory) = Scoreboard::create(2).unwrap();
        let entry = board.cell(0).unwrap().request_entry();
        let second = Duration::from_secs(1);
        let mut slow = SlowRequests::default();
        let children = Children::default();
        let cells = [CellIndex(0)];
        let look = |slow: &mut SlowRequests| {
            slow.next = None;
            slow.look(Some(second), &board, &children, &cells);
        };
        entry.begin(Monotonic::from_nanos(1), b"GET / HTTP/1.1", b"");
        entry.wait();
        look(&mut slow);
        assert_eq!(slow.found, []);
        entry.resume(Duration::ZERO);
        look(&mut slow);
        look(&mut slow);
        assert_eq!((slow.found.len(), slow.asked.len()), (1, 1));
        assert!(slow.deadline().is_some());
        // The next one is another.
        entry.end(Monotonic::from_nanos(2));
        look(&mut slow);
        assert_eq!(slow.found, []);
        entry.begin(Monotonic::from_nanos(3), b"GET / HTTP/1.1", b"");
        look(&mut slow);
        assert_eq!((slow.found.len(), slow.asked.len()), (1, 2));
        slow.look(None, &board, &children, &cells);
        assert_eq!(slow.deadline(), None);
    }
}
