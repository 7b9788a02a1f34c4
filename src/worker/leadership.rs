//! Who of several threads leads (the pattern Leader/Followers): the leader has the event loop. It
//! releases it before it enters the app and reclaims it afterwards. A follower takes it over in
//! between, if the app takes long.
//!
//! A follower that is called waits for the GIL first. It gets it when the leader's app waits for
//! something, or after the switch interval: just when the loop would be left alone. A quick request
//! is over before, and costs no change of threads.

use std::fmt::Debug;
use std::sync::PoisonError;
#[cfg(not(all(loom, test)))]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
#[cfg(not(all(loom, test)))]
use std::sync::{Mutex, MutexGuard};
#[cfg(not(all(loom, test)))]
use std::thread::{self, Thread};
use std::time::Duration;

#[cfg(all(loom, test))]
use loom::sync::atomic::AtomicU64;
#[cfg(all(loom, test))]
use loom::sync::{Mutex, MutexGuard};
#[cfg(all(loom, test))]
use loom::thread::{self, Thread};

use rcorn_connection::Attendance;
use rcorn_types::Monotonic;

/// A follower is called for each request where requests take this long on average. To call one
/// costs about 10 us.
const LONG_ON_AVERAGE: Duration = Duration::from_micros(200);
/// A single request counts as this long at most.
const MAX_COUNTED: Duration = Duration::from_millis(20);
/// How many requests the average is about.
const AVERAGED_REQUESTS: u32 = 32;
/// How often the I/O thread looks at least. A request that turns out to be long holds up the others
/// for as long as this.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// The owner of a loop that no thread has led yet.
const NOBODY: u16 = 0;

/// The loop between threads. `T`: the loop; `C`: what its leader takes into the app, and a follower
/// must know of.
#[derive(Debug)]
pub(super) struct Leadership<T, C> {
    state: Mutex<State<T, C>>,
    /// [`Attendance::away_since`], in ns of [`Monotonic`]; 0: never.
    away_since: AtomicU64,
    requests: AtomicU64,
    /// Threads run Python at the same time: a follower takes over for each request.
    is_free_threaded: bool,
}

#[derive(Debug)]
struct State<T, C> {
    /// The loop, while its leader is in the app.
    released: Option<Released<T, C>>,
    /// Followers that wait to be called. The last one is called first: its memory is warm.
    followers: Vec<(u16, Thread)>,
    /// A follower that was called, and that has not looked yet.
    called: Option<u16>,
    /// Threads that are in the app and do not lead any more.
    elsewhere: usize,
    average: Duration,
    is_over: bool,
}

#[derive(Debug)]
struct Released<T, C> {
    event_loop: T,
    /// Who released it; [`NOBODY`] at the start.
    owner: u16,
    in_hand: Option<C>,
}

/// What a thread finds that comes back from the app.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reclaimed<T> {
    /// The loop as it left it.
    Kept(T),
    /// The loop, which others have led meanwhile.
    Changed(T),
    /// Another thread leads.
    Lost,
}

impl<T: Debug, C: Debug> Leadership<T, C> {
    /// No thread leads yet, and there is no loop.
    pub(super) fn new(is_free_threaded: bool) -> Self {
        Self {
            state: Mutex::new(State {
                released: None,
                followers: Vec::new(),
                called: None,
                elsewhere: 0,
                average: Duration::ZERO,
                is_over: false,
            }),
            away_since: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            is_free_threaded,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T, C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the loop to whichever thread comes first.
    pub(super) fn start(&self, event_loop: T) {
        let mut state = self.state();
        state.released = Some(Released {
            event_loop,
            owner: NOBODY,
            in_hand: None,
        });
        state.call();
    }

    /// The leader `owner` enters the app with `in_hand`.
    pub(super) fn release(&self, event_loop: T, owner: u16, in_hand: Option<C>, now: Monotonic) {
        let mut state = self.state();
        state.released = Some(Released {
            event_loop,
            owner,
            in_hand,
        });
        self.set_away(Some(now));
        if self.is_long(&state) {
            state.call();
        }
    }

    /// The thread `owner` comes back from the app, which took so long; `None`: it was not in the
    /// app. One that has lost the loop, or finds it changed, calls [`Self::settled`] when it has
    /// settled what it had in hand.
    pub(super) fn reclaim(
        &self,
        owner: u16,
        took: Option<Duration>,
        part: impl FnOnce(&T, &C),
    ) -> Reclaimed<T> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        if let Some(took) = took {
            state.learn(took);
        }
        if state.is_over {
            // For whoever looks at what is left.
            if let Some(released) = state.released.as_mut().filter(|one| one.owner == owner) {
                released.owner = NOBODY;
                state.elsewhere = state.elsewhere.saturating_add(1);
            }
            return Reclaimed::Lost;
        }
        match state.released.take() {
            Some(released) if released.owner == owner => {
                self.set_away(None);
                Reclaimed::Kept(released.event_loop)
            }
            Some(released) => Reclaimed::Changed(self.begin_to_lead(&mut state, released, part)),
            None => Reclaimed::Lost,
        }
    }

    /// What a thread had in hand is settled that had lost the loop.
    pub(super) fn settled(&self) {
        let mut state = self.state();
        state.elsewhere = state.elsewhere.saturating_sub(1);
    }

    /// How many threads are in the app and do not lead any more.
    pub(super) fn elsewhere(&self) -> usize {
        self.state().elsewhere
    }

    /// Waits until this thread is called; `false`: the worker leaves.
    pub(super) fn wait(&self, number: u16) -> bool {
        let mut state = self.state();
        state.followers.push((number, thread::current()));
        // When the loop was released, there may have been no follower to call.
        let is_new = |released: &Released<T, C>| released.owner == NOBODY;
        if state.released.as_ref().is_some_and(is_new) || self.is_long(&state) {
            state.call();
        }
        loop {
            if state.is_over {
                return false;
            }
            if state.called == Some(number) {
                return true;
            }
            drop(state);
            thread::park();
            state = self.state();
        }
    }

    /// Whether the loop is released, probably for long.
    fn is_long(&self, state: &State<T, C>) -> bool {
        let is_long = self.is_free_threaded || state.average >= LONG_ON_AVERAGE;
        is_long && state.released.is_some()
    }

    /// A thread that was called has the GIL: it takes the loop over, if its leader is still in the
    /// app. `part` is told of what that has in hand.
    pub(super) fn take_over(&self, part: impl FnOnce(&T, &C)) -> Option<T> {
        let mut state = self.state();
        state.called = None;
        if state.is_over {
            return None;
        }
        let released = state.released.take()?;
        Some(self.begin_to_lead(&mut state, released, part))
    }

    fn begin_to_lead(
        &self,
        state: &mut State<T, C>,
        released: Released<T, C>,
        part: impl FnOnce(&T, &C),
    ) -> T {
        let Released {
            event_loop,
            owner,
            in_hand,
        } = released;
        if owner != NOBODY {
            state.elsewhere = state.elsewhere.saturating_add(1);
        }
        // Under the lock: its owner finds the loop lost, and must then find this done.
        if let Some(in_hand) = &in_hand {
            part(&event_loop, in_hand);
        }
        self.set_away(None);
        event_loop
    }

    /// Ends all waits; no thread leads any more. `event_loop`: what the last leader had.
    pub(super) fn end(&self, event_loop: Option<T>) {
        let mut state = self.state();
        state.is_over = true;
        if let Some(event_loop) = event_loop {
            state.released = Some(Released {
                event_loop,
                owner: NOBODY,
                in_hand: None,
            });
        }
        for (_, thread) in state.followers.drain(..) {
            thread.unpark();
        }
    }

    /// The loop, if it is left when no thread leads any more.
    pub(super) fn take_left(&self) -> Option<T> {
        let released = self.state().released.take();
        released.map(|released| released.event_loop)
    }

    /// Notes that the leader cannot attend to its connections since then; `None`: it can.
    pub(super) fn set_away(&self, since: Option<Monotonic>) {
        let since = since.map_or(0, Monotonic::as_nanos);
        self.away_since.store(since, Ordering::Relaxed);
    }
}

impl<T, C> State<T, C> {
    /// Calls a follower, if one waits and none was called already.
    fn call(&mut self) {
        if self.called.is_none()
            && let Some((number, thread)) = self.followers.pop()
        {
            self.called = Some(number);
            thread.unpark();
        }
    }

    fn learn(&mut self, took: Duration) {
        let took = took.min(MAX_COUNTED);
        let share = |time: Duration| time.checked_div(AVERAGED_REQUESTS).unwrap_or_default();
        let rest = self.average.saturating_sub(share(self.average));
        self.average = rest.saturating_add(share(took));
    }
}

impl<T: Debug + Send, C: Debug + Send> Attendance for Leadership<T, C> {
    fn away_since(&self) -> Option<Monotonic> {
        let since = self.away_since.load(Ordering::Relaxed);
        (since != 0).then(|| Monotonic::from_nanos(since))
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn call(&self) {
        let mut state = self.state();
        if state.released.is_some() {
            state.call();
        }
    }

    fn max_look_interval(&self) -> Duration {
        LOOK_INTERVAL
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    type Loop = Leadership<&'static str, char>;

    const QUICK: Duration = Duration::from_micros(20);
    const LONG: Duration = Duration::from_millis(20);

    fn nothing(_: &&'static str, _: &char) {}

    fn at(milliseconds: u64) -> Monotonic {
        Monotonic::ZERO.after(Duration::from_millis(milliseconds))
    }

    /// A follower that takes over as soon as it is called; gives what it has then.
    fn follower<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        leadership: &'scope Loop,
        number: u16,
    ) -> thread::ScopedJoinHandle<'scope, Option<&'static str>> {
        let handle = scope.spawn(move || {
            leadership
                .wait(number)
                .then(|| leadership.take_over(nothing))
                .flatten()
        });
        while !leadership
            .state()
            .followers
            .iter()
            .any(|(waiting, _)| *waiting == number)
            && !handle.is_finished()
        {
            thread::yield_now();
        }
        handle
    }

    #[test]
    fn a_leader_has_the_loop_again_after_a_quick_request() {
        let leadership = Loop::new(false);
        thread::scope(|scope| {
            let idle = follower(scope, &leadership, 2);
            for _ in 0..100 {
                leadership.release("loop", 1, Some('a'), at(1));
                assert_eq!(leadership.away_since(), Some(at(1)));
                let reclaimed = leadership.reclaim(1, Some(QUICK), nothing);
                assert_eq!(reclaimed, Reclaimed::Kept("loop"));
                assert_eq!(leadership.away_since(), None);
            }
            assert_eq!((leadership.elsewhere(), leadership.requests()), (0, 100));
            leadership.end(None);
            assert_eq!(idle.join().unwrap(), None);
        });
    }

    #[test]
    fn a_follower_takes_over_and_the_leader_finds_the_loop_lost() {
        let leadership = Loop::new(false);
        thread::scope(|scope| {
            let second = follower(scope, &leadership, 2);
            leadership.release("loop", 1, Some('a'), at(1));
            // The I/O thread finds the request long.
            leadership.call();
            assert_eq!(second.join().unwrap(), Some("loop"));
            assert_eq!(leadership.elsewhere(), 1);
            assert_eq!(leadership.reclaim(1, Some(LONG), nothing), Reclaimed::Lost);
            assert_eq!(leadership.elsewhere(), 1, "not settled yet");
            leadership.settled();
            assert_eq!(leadership.elsewhere(), 0);
        });
    }

    #[test]
    fn where_requests_are_long_a_follower_is_called_at_once() {
        let leadership = Loop::new(false);
        for _ in 0..AVERAGED_REQUESTS {
            leadership.release("loop", 1, None, at(1));
            assert_eq!(
                leadership.reclaim(1, Some(LONG), nothing),
                Reclaimed::Kept("loop")
            );
        }
        thread::scope(|scope| {
            let second = follower(scope, &leadership, 2);
            leadership.release("loop", 1, None, at(1));
            assert_eq!(second.join().unwrap(), Some("loop"));
            leadership.release("loop", 2, None, at(1));
            // One that comes later is called too.
            let third = follower(scope, &leadership, 3);
            assert_eq!(third.join().unwrap(), Some("loop"));
        });
        assert_eq!(leadership.elsewhere(), 2);
    }

    #[test]
    fn one_that_comes_back_takes_the_loop_of_another_that_is_in_the_app() {
        let leadership = Loop::new(false);
        leadership.release("loop", 1, Some('a'), at(1));
        let told = Cell::new(None);
        let took = leadership.take_over(|_, in_hand| told.set(Some(*in_hand)));
        assert_eq!((took, told.get()), (Some("loop"), Some('a')));
        leadership.release("loop", 2, Some('b'), at(2));
        let reclaimed = leadership.reclaim(1, Some(LONG), |_, in_hand| told.set(Some(*in_hand)));
        assert_eq!(reclaimed, Reclaimed::Changed("loop"));
        assert_eq!((told.get(), leadership.elsewhere()), (Some('b'), 2));
        leadership.settled();
        assert_eq!(leadership.reclaim(2, Some(LONG), nothing), Reclaimed::Lost);
    }

    #[test]
    fn nobody_leads_after_the_end() {
        let leadership = Loop::new(false);
        leadership.release("loop", 1, Some('a'), at(1));
        assert_eq!(leadership.take_over(nothing), Some("loop"));
        leadership.release("loop", 2, Some('b'), at(2));
        leadership.end(None);
        assert_eq!(leadership.take_over(nothing), None);
        let reclaimed = leadership.reclaim(2, Some(LONG), nothing);
        assert_eq!((reclaimed, leadership.elsewhere()), (Reclaimed::Lost, 2));
        let reclaimed = leadership.reclaim(1, Some(LONG), nothing);
        assert_eq!(reclaimed, Reclaimed::Lost);
        leadership.settled();
        leadership.settled();
        assert_eq!(leadership.elsewhere(), 0);
        assert_eq!(leadership.take_left(), Some("loop"));
        assert!(!leadership.wait(3));
    }

    #[test]
    fn what_does_not_enter_the_app_is_not_learned() {
        let leadership = Loop::new(false);
        for took in [Some(LONG), None, None] {
            leadership.release("loop", 1, None, at(1));
            leadership.reclaim(1, took, nothing);
            assert_eq!(leadership.state().average, LONG / AVERAGED_REQUESTS);
        }
    }

    #[test]
    fn the_first_thread_that_comes_leads() {
        let leadership = Loop::new(false);
        thread::scope(|scope| {
            leadership.start("loop");
            let first = follower(scope, &leadership, 1);
            assert_eq!(first.join().unwrap(), Some("loop"));
            assert_eq!(leadership.elsewhere(), 0);
        });
    }

    #[test]
    fn one_follower_is_called_at_a_time_and_the_last_that_came_first() {
        let leadership = Loop::new(false);
        thread::scope(|scope| {
            let second = follower(scope, &leadership, 2);
            let third = scope.spawn(|| leadership.wait(3));
            while leadership.state().followers.len() < 2 {
                thread::yield_now();
            }
            leadership.release("loop", 1, None, at(1));
            leadership.call();
            leadership.call();
            assert!(third.join().unwrap());
            assert_eq!(leadership.state().followers.len(), 1);
            // It comes too late.
            let reclaimed = leadership.reclaim(1, Some(QUICK), nothing);
            assert_eq!(reclaimed, Reclaimed::Kept("loop"));
            assert_eq!(leadership.take_over(nothing), None);
            leadership.end(None);
            assert_eq!(second.join().unwrap(), None);
        });
    }
}
