//! The requests that a worker has in hand, as the scoreboard shows them.

use std::fmt;
use std::time::Duration;

use rcorn_arbiter::CellIndex;
use rcorn_log::escaped;
use rcorn_scoreboard::{Answered, Cell, RequestEntry, RequestNow, Scoreboard};
use rcorn_types::Monotonic;

/// A thread of a worker that serves requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    /// Which of the worker's, counted from 1.
    pub(super) number: u16,
    /// Python's number of it (`threading.get_ident()`).
    pub(super) ident: u64,
    /// The kernel's.
    pub(super) tid: u32,
}

impl Thread {
    fn of(slot: u16, cell: &Cell) -> Self {
        let (ident, tid) = cell.thread();
        Self {
            number: slot.saturating_add(1),
            ident,
            tid,
        }
    }
}

/// A request in hand.
#[derive(Clone, Debug)]
pub(super) struct InHand {
    pub(super) request: RequestNow,
    /// For how long.
    pub(super) age: Duration,
    /// Whether its client has the response.
    pub(super) answered: Answered,
}

impl InHand {
    /// `None` when there is none.
    pub(super) fn of(entry: RequestEntry<'_>, now: Monotonic) -> Option<Self> {
        let begun = entry.begun()?;
        Some(Self {
            request: entry.request()?,
            age: now.since(begun),
            answered: entry.answered(),
        })
    }

    /// The id of the request, with which its line ends if it has one: `GET / HTTP/1.1 [ID]`. There
    /// is no other blank after the version.
    pub(super) fn request_id(&self) -> Option<&str> {
        let line = std::str::from_utf8(&self.request.line).ok()?;
        let (_line, id) = line.strip_suffix(']')?.rsplit_once(" [")?;
        Some(id)
    }
}

/// `GET /x HTTP/1.1 from 127.0.0.1, for 3.2 s`.
impl fmt::Display for InHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, age, .. } = self;
        write!(f, "{} from ", escaped(&request.line))?;
        if request.peer.is_empty() {
            f.write_str("a unix socket")?;
        } else {
            write!(f, "{}", escaped(&request.peer))?;
        }
        write!(f, ", for {:.1} s", age.as_secs_f64())
    }
}

/// The threads of the worker with this cell, each with its cell; none when it has one thread.
pub(super) fn threads(
    scoreboard: &Scoreboard,
    cell: CellIndex,
) -> impl Iterator<Item = (Thread, &Cell)> {
    let threads = scoreboard.threads(cell.0);
    threads.map(|(slot, cell)| (Thread::of(slot, cell), cell))
}

/// What the worker with this cell has in hand, the oldest first.
pub(super) fn requests(scoreboard: &Scoreboard, cell: CellIndex, now: Monotonic) -> Vec<InHand> {
    let entries = scoreboard.request_entries(cell.0);
    let mut all: Vec<InHand> = entries.filter_map(|entry| InHand::of(entry, now)).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.age));
    all
}

/// Where a worker makes no progress.
#[derive(Clone, Debug)]
pub(super) struct Silent {
    /// `None`: in its main thread, or in its loop.
    pub(super) thread: Option<Thread>,
    /// `None`: before or after a request, or between two.
    pub(super) request: Option<InHand>,
}

/// Where the worker with this cell has made no progress for longest. A request that waits for its
/// client is not the reason, whatever its age. `None`: it has made some meanwhile.
pub(super) fn silent(scoreboard: &Scoreboard, cell: CellIndex, now: Monotonic) -> Option<Silent> {
    let own = scoreboard.cell(cell.0)?;
    let threads = threads(scoreboard, cell).map(|(thread, cell)| (Some(thread), cell));
    let all = std::iter::once((None, own)).chain(threads);
    let all = all.filter_map(|(thread, cell)| Some((cell.no_progress_since()?, thread, cell)));
    let silent = all.min_by_key(|(since, _, _)| *since);
    let silent = silent.map(|(_, thread, cell)| (thread, cell));
    // One with one thread has at most one request.
    let (thread, cell) = silent.or_else(|| (own.slots() == 0).then_some((None, own)))?;
    Some(Silent {
        thread,
        request: InHand::of(cell.request_entry(), now),
    })
}

/// A stack dump (`faulthandler`) in which each thread is named that serves requests, with what it
/// has in hand.
pub(super) fn name_threads(
    stacks: &str,
    scoreboard: &Scoreboard,
    cell: CellIndex,
    now: Monotonic,
) -> String {
    let known: Vec<(Thread, Option<InHand>)> = threads(scoreboard, cell)
        .map(|(thread, cell)| (thread, InHand::of(cell.request_entry(), now)))
        .collect();
    if known.is_empty() {
        return stacks.to_owned();
    }
    let lines = stacks.lines().map(|line| {
        let thread = ident_of(line).and_then(|ident| {
            let mut known = known.iter();
            known.find(|(thread, _)| thread.ident == ident)
        });
        match thread {
            None => line.to_owned(),
            Some((Thread { number, tid, .. }, request)) => {
                let request = request.as_ref();
                let what = request.map_or_else(|| "no request".to_owned(), ToString::to_string);
                format!("{line} thread {number} (tid {tid}): {what}")
            }
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The number of the thread in a heading of a stack dump: `Thread 0x00007f9c3b7fe6c0 (most recent
/// call first):`.
pub(super) fn ident_of(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("Current ").unwrap_or(line);
    let rest = rest
        .strip_prefix("Thread 0x")
        .or_else(|| rest.strip_prefix("thread 0x"))?;
    let end = rest
        .find(|sign: char| !sign.is_ascii_hexdigit())
        .unwrap_or(rest.len());
    u64::from_str_radix(rest.get(..end)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use rcorn_scoreboard::Slots;

    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::ZERO.after(Duration::from_secs(seconds))
    }

    fn board() -> Scoreboard {
        let (mut board, _memory) = Scoreboard::create(2).unwrap();
        board.add_slots(Slots::create(2, 3).unwrap().0);
        let own = board.cell(0).unwrap();
        own.request_entry().begin(at(5), b"GET /own HTTP/1.1", b"");
        board.cell(1).unwrap().set_slots(3);
        for (slot, begun) in [(0, 7), (2, 3)] {
            let cell = board.slot(1, slot).unwrap();
            cell.register_thread(0xabc0 + u64::from(slot), 40 + u32::from(slot));
            let line = format!("GET /{slot} HTTP/1.1");
            cell.request_entry()
                .begin(at(begun), line.as_bytes(), b"10.0.0.1");
        }
        board.slot(1, 1).unwrap().register_thread(0xabc1, 41);
        board
    }

    #[test]
    fn the_oldest_request_comes_first() {
        let shown = |cell| -> Vec<String> {
            let all = requests(&board(), CellIndex(cell), at(10));
            all.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            shown(0),
            ["GET /own HTTP/1.1 from a unix socket, for 5.0 s"]
        );
        let expected = [
            "GET /2 HTTP/1.1 from 10.0.0.1, for 7.0 s",
            "GET /0 HTTP/1.1 from 10.0.0.1, for 3.0 s",
        ];
        assert_eq!(shown(1), expected);
    }

    #[test]
    fn a_request_that_waits_for_its_client_is_not_the_silent_one() {
        let shown = |board: &Scoreboard| {
            let silent = silent(board, CellIndex(1), at(10))?;
            let request = silent.request.map(|request| request.request.line);
            let line = request.map(|line| String::from_utf8(line).unwrap());
            Some((silent.thread.map(|thread| thread.number), line))
        };
        let board = board();
        let line = |number| Some(format!("GET /{number} HTTP/1.1"));
        assert_eq!(shown(&board), Some((Some(3), line(2))));
        board.slot(1, 2).unwrap().request_entry().wait();
        assert_eq!(shown(&board), Some((Some(1), line(0))));
        // One that is stuck after its request, and the loop.
        board.slot(1, 1).unwrap().wake(at(6));
        assert_eq!(shown(&board), Some((Some(2), None)));
        board.cell(1).unwrap().wake(at(2));
        assert_eq!(shown(&board), Some((None, None)));
        assert!(silent(&board, CellIndex(9), at(10)).is_none());
    }

    #[test]
    fn threads_of_a_stack_dump_get_their_requests() {
        let dump = "\
Thread 0x000000000000abc0 (most recent call first):
  File \"x.py\", line 1 in f

Current thread 0x000000000000abc1 [worker] (most recent call first):
  File \"x.py\", line 2 in Thread
Thread 0x0000000000000001 (most recent call first):
  <no Python frame>";
        let named = name_threads(dump, &board(), CellIndex(1), at(10));
        let lines: Vec<&str> = named.lines().collect();
        assert_eq!(lines.len(), 7);
        let first =
            "(most recent call first): thread 1 (tid 40): GET /0 HTTP/1.1 from 10.0.0.1, for 3.0 s";
        assert!(lines[0].ends_with(first), "{named}");
        assert!(
            lines[3].ends_with("thread 2 (tid 41): no request"),
            "{named}"
        );
        assert!(lines[5].ends_with("first):"), "{named}");
        assert_eq!(name_threads(dump, &board(), CellIndex(0), at(10)), dump);
    }
}
