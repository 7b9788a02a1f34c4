//! All interleavings of the threads that lead in turn, explored by loom: `tests/soundness`.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use rcorn_connection::Attendance as _;
use rcorn_types::Monotonic;

use crate::leadership::{Leadership, Reclaimed};

/// How many requests the loop has served.
#[derive(Debug, PartialEq, Eq)]
struct Loop(u32);

type Threads = Leadership<Loop, u16>;

const LONG: Duration = Duration::from_millis(20);
const QUICK: Duration = Duration::from_micros(20);

/// One thread of a worker that leaves after so many requests.
fn serve(threads: &Threads, number: u16, requests: u32, took: Duration) {
    // Nobody takes over what a thread has in hand itself.
    let others = |_: &Loop, in_hand: &u16| assert_ne!(*in_hand, number);
    while threads.wait(number) {
        let Some(mut event_loop) = threads.take_over(others) else {
            continue;
        };
        loop {
            if event_loop.0 == requests {
                threads.end(Some(event_loop));
                break;
            }
            event_loop.0 += 1;
            threads.release(
                event_loop,
                number,
                Some(number),
                Monotonic::ZERO.after(LONG),
            );
            match threads.reclaim(number, Some(took), others) {
                Reclaimed::Kept(same) => event_loop = same,
                Reclaimed::Changed(same) => {
                    threads.settled();
                    event_loop = same;
                }
                Reclaimed::Lost => {
                    threads.settled();
                    break;
                }
            }
        }
    }
}

/// A worker with two threads serves so many requests that take so long, while the I/O thread calls.
fn explore(is_free_threaded: bool, requests: u32, took: Duration, calls: u32) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let threads = Arc::new(Threads::new(is_free_threaded));
        let members: Vec<_> = (1..3)
            .map(|number| {
                let threads = Arc::clone(&threads);
                thread::spawn(move || serve(&threads, number, requests, took))
            })
            .collect();
        threads.start(Loop(0));
        for _ in 0..calls {
            if threads.away_since().is_some() {
                threads.call();
            }
        }
        // That all come to their end says that no call is lost.
        for member in members {
            member.join().unwrap();
        }
        assert_eq!(threads.elsewhere(), 0);
        assert_eq!(threads.requests(), u64::from(requests));
        assert_eq!(threads.take_left(), Some(Loop(requests)));
    });
}

#[test]
fn quick_requests_are_served_whoever_is_called() {
    explore(false, 2, QUICK, 2);
}

#[test]
fn long_requests_are_served_by_whoever_is_free() {
    explore(false, 3, LONG, 0);
}

#[test]
fn without_a_gil_a_follower_takes_over_for_each_request() {
    explore(true, 2, QUICK, 1);
}
