//! The places of parked connections, shared by the event loop, the threads that serve, and the I/O
//! thread. Each of them takes a connection out of its place while it serves it.
//!
//! A place keeps the deadline of its connection while the connection is taken out. So no deadline
//! is lost, whichever thread puts the connection back, and whenever it does.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcorn_types::Monotonic;

use super::sync::{AtomicU64, Guard, Lock};

/// How often to look at a connection that is taken out while its time is over: a thread of several
/// serves it as long as its request lasts.
const TAKEN_LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Places for parked connections.
#[derive(Debug)]
pub(crate) struct Parking<T> {
    places: Lock<Places<T>>,
    /// No deadline is earlier; in nanoseconds of [`Monotonic`]. Written under the lock.
    next_deadline: AtomicU64,
    published: Published,
}

/// Where numbers of connections are published. Written under the lock of the places.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// The number of places in use.
    pub held: &'static AtomicU32,
    /// How many of their connections wait for the next request of their client.
    pub idle: &'static AtomicU32,
}

#[derive(Debug)]
pub(crate) struct Places<T> {
    list: Vec<Place<T>>,
    free: Vec<usize>,
    /// How many of the parked connections wait for the next request.
    idle: u32,
}

#[derive(Debug)]
struct Place<T> {
    deadline: Monotonic,
    /// What is parked waits for the next request of its client.
    is_idle: bool,
    // Boxed, because it is taken out and put back for each request.
    parked: Option<Box<T>>,
}

/// What is parked.
pub(crate) trait Parked {
    /// Whether it waits for the next request of its client.
    fn is_idle(&self) -> bool;
}

impl<T: Parked> Parking<T> {
    /// No places yet; `published` is told how many are in use.
    pub(crate) fn new(published: Published) -> Self {
        Self {
            places: Lock::new(Places {
                list: Vec::new(),
                free: Vec::new(),
                idle: 0,
            }),
            next_deadline: AtomicU64::new(Monotonic::NEVER.as_nanos()),
            published,
        }
    }

    /// Locks the places.
    pub(crate) fn places(&self) -> Guard<'_, Places<T>> {
        self.places.lock()
    }

    /// Takes a connection out of its place, which stays reserved for it.
    pub(crate) fn take(&self, index: usize) -> Option<Box<T>> {
        let mut all = self.places();
        let place = all.list.get_mut(index)?;
        let taken = place.parked.take()?;
        if std::mem::take(&mut place.is_idle) {
            all.idle = all.idle.saturating_sub(1);
            self.published.idle.store(all.idle, Ordering::Relaxed);
        }
        Some(taken)
    }

    /// Takes all connections out that `chosen` picks. Their places stay reserved for them.
    pub(crate) fn take_those(&self, mut chosen: impl FnMut(&T) -> bool) -> Vec<Box<T>> {
        self.take_where(|_deadline, parked| chosen(parked))
    }

    /// Takes those out whose time is over and that `chosen` picks. The others are still to be told
    /// of by [`Self::expired`].
    pub(crate) fn take_expired(&self, now: Monotonic, chosen: impl Fn(&T) -> bool) -> Vec<Box<T>> {
        self.take_where(|deadline, parked| deadline <= now && chosen(parked))
    }

    fn take_where(&self, mut chosen: impl FnMut(Monotonic, &T) -> bool) -> Vec<Box<T>> {
        let mut all = self.places();
        let mut taken = Vec::new();
        let mut idle = all.idle;
        for place in &mut all.list {
            let deadline = place.deadline;
            if let Some(one) = place.parked.take_if(|one| chosen(deadline, one)) {
                idle = idle.saturating_sub(u32::from(std::mem::take(&mut place.is_idle)));
                taken.push(one);
            }
        }
        all.idle = idle;
        self.published.idle.store(idle, Ordering::Relaxed);
        taken
    }

    /// Reserves a place for one more connection.
    pub(crate) fn reserve(&self) -> usize {
        let mut all = self.places();
        let index = all.free.pop().unwrap_or_else(|| {
            let index = all.list.len();
            all.list.push(Place {
                deadline: Monotonic::NEVER,
                is_idle: false,
                parked: None,
            });
            index
        });
        self.publish(&all);
        index
    }

    /// Puts a connection into its place, to wait until `deadline`.
    pub(crate) fn put(&self, index: usize, connection: Box<T>, deadline: Monotonic) {
        let mut all = self.places();
        if let Some(place) = all.list.get_mut(index) {
            let is_idle = connection.is_idle();
            place.parked = Some(connection);
            place.deadline = deadline;
            place.is_idle = is_idle;
            self.note_deadline(deadline);
            self.note_idle(&mut all, is_idle);
        }
    }

    /// Puts a connection back, which continues to wait as before.
    pub(crate) fn put_back(&self, index: usize, connection: Box<T>) {
        let mut all = self.places();
        if let Some(place) = all.list.get_mut(index) {
            let is_idle = connection.is_idle();
            place.parked = Some(connection);
            place.is_idle = is_idle;
            self.note_idle(&mut all, is_idle);
        }
    }

    fn note_idle(&self, all: &mut Places<T>, is_idle: bool) {
        if is_idle {
            all.idle = all.idle.saturating_add(1);
            self.published.idle.store(all.idle, Ordering::Relaxed);
        }
    }

    /// Frees the place of a connection that was taken out.
    pub(crate) fn vacate(&self, index: usize) {
        let mut all = self.places();
        if let Some(place) = all.list.get_mut(index) {
            place.deadline = Monotonic::NEVER;
            all.free.push(index);
        }
        self.publish(&all);
    }

    fn publish(&self, all: &Places<T>) {
        let held = u32::try_from(all.held()).unwrap_or(u32::MAX);
        self.published.held.store(held, Ordering::Relaxed);
    }

    /// Called under the lock only.
    fn note_deadline(&self, deadline: Monotonic) {
        if deadline < self.next_deadline() {
            self.next_deadline
                .store(deadline.as_nanos(), Ordering::Relaxed);
        }
    }

    /// How many places are in use, also by connections that are taken out.
    pub(crate) fn held(&self) -> usize {
        self.places().held()
    }

    /// When to call [`Self::expired`] next. It may be too early, and is never too late.
    pub(crate) fn next_deadline(&self) -> Monotonic {
        Monotonic::from_nanos(self.next_deadline.load(Ordering::Relaxed))
    }

    /// The places whose connections have waited too long. One that is taken out is checked again
    /// after it is put back: soon, if its time is over.
    pub(crate) fn expired(&self, now: Monotonic) -> Vec<usize> {
        let all = self.places();
        let (mut expired, mut next) = (Vec::new(), Monotonic::NEVER);
        for (index, place) in all.list.iter().enumerate() {
            if place.deadline > now {
                next = next.min(place.deadline);
            } else if place.parked.is_some() {
                expired.push(index);
            } else {
                next = next.min(now.after(TAKEN_LOOK_INTERVAL));
            }
        }
        self.next_deadline.store(next.as_nanos(), Ordering::Relaxed);
        expired
    }

    /// Limits the wait of each connection that `chosen` picks to the time `until`.
    pub(crate) fn shorten(&self, until: Monotonic, chosen: impl Fn(&T) -> bool) {
        for place in &mut self.places().list {
            if place.parked.as_deref().is_some_and(&chosen) {
                place.deadline = place.deadline.min(until);
                self.note_deadline(place.deadline);
            }
        }
    }
}

impl<T> Places<T> {
    /// How many places are in use, also by connections that are taken out.
    pub(crate) fn held(&self) -> usize {
        self.list.len().saturating_sub(self.free.len())
    }

    /// All parked connections, with the numbers of their places.
    pub(crate) fn parked(&self) -> impl Iterator<Item = (usize, &T)> {
        let places = self.list.iter().enumerate();
        places.filter_map(|(index, place)| Some((index, place.parked.as_deref()?)))
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::ZERO.after(Duration::from_secs(seconds))
    }

    impl Parked for char {
        fn is_idle(&self) -> bool {
            *self == 'b'
        }
    }

    fn parking() -> (Parking<char>, Published) {
        let number = || -> &AtomicU32 { Box::leak(Box::default()) };
        let published = Published {
            held: number(),
            idle: number(),
        };
        (Parking::new(published), published)
    }

    #[test]
    fn a_place_is_taken_until_it_is_vacated() {
        let (parking, published) = parking();
        let (one, two) = (parking.reserve(), parking.reserve());
        parking.put(one, Box::new('a'), Monotonic::NEVER);
        parking.put(two, Box::new('b'), Monotonic::NEVER);
        assert_eq!(parking.take(one).as_deref(), Some(&'a'));
        assert!(parking.take(one).is_none() && parking.take(99).is_none());
        let told = || {
            let numbers = [published.held, published.idle];
            numbers.map(|number| number.load(Ordering::Relaxed))
        };
        assert_eq!((parking.held(), told()), (2, [2, 1]));
        parking.vacate(one);
        assert_eq!((parking.held(), told()), (1, [1, 1]));
        let taken = parking.take(two).unwrap();
        assert_eq!(told(), [1, 0]);
        parking.put_back(two, taken);
        assert_eq!(told(), [1, 1]);
        assert_eq!(parking.reserve(), one);
        assert_eq!(parking.places().parked().collect::<Vec<_>>(), [(two, &'b')]);
    }

    #[test]
    fn a_deadline_is_known_from_the_moment_that_a_connection_is_put() {
        let (parking, _) = parking();
        let (one, two) = (parking.reserve(), parking.reserve());
        parking.put(one, Box::new('a'), at(9));
        assert_eq!(parking.next_deadline(), at(9));
        parking.put(two, Box::new('b'), at(5));
        assert_eq!(parking.next_deadline(), at(5));
        assert!(parking.expired(at(4)).is_empty());
        assert_eq!(parking.expired(at(5)), [two]);
        assert_eq!(parking.next_deadline(), at(9));
        parking.shorten(at(7), |parked| *parked == 'a');
        assert_eq!(parking.next_deadline(), at(7));
    }

    #[test]
    fn those_that_are_chosen_are_taken_out_and_keep_their_places() {
        let (parking, _) = parking();
        for (content, deadline) in [('a', 5), ('b', 5), ('c', 9)] {
            let place = parking.reserve();
            parking.put(place, Box::new(content), at(deadline));
        }
        let not_a = |parked: &char| *parked != 'a';
        assert_eq!(parking.take_expired(at(6), not_a), [Box::new('b')]);
        assert_eq!(parking.expired(at(6)), [0]);
        assert_eq!(parking.take_those(not_a), [Box::new('c')]);
        assert!(parking.take_those(not_a).is_empty());
        assert_eq!(parking.held(), 3);
    }

    #[test]
    fn the_deadline_of_a_connection_that_is_taken_out_is_not_lost() {
        let (parking, _) = parking();
        let index = parking.reserve();
        parking.put(index, Box::new('a'), at(5));
        // The I/O thread has it while the worker looks for expired connections.
        let taken = parking.take(index).unwrap();
        assert!(parking.expired(at(1)).is_empty());
        assert_eq!(parking.next_deadline(), at(5));
        assert!(parking.expired(at(6)).is_empty());
        let soon = at(6).after(TAKEN_LOOK_INTERVAL);
        assert_eq!(parking.next_deadline(), soon);
        parking.put_back(index, taken);
        assert_eq!(parking.expired(at(6)), [index]);
        // Gone with its place.
        parking.vacate(index);
        assert!(parking.expired(at(6)).is_empty());
        assert_eq!(parking.next_deadline(), Monotonic::NEVER);
    }
}
