//! All interleavings of the worker and its I/O thread at the parked connections, explored by loom:
//! `RUSTFLAGS="--cfg loom" cargo test -p rcorn-connection --release --lib loom`.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use rcorn_types::Monotonic;

use crate::parking::{Parked, Parking, Published};

fn at(seconds: u64) -> Monotonic {
    Monotonic::ZERO.after(Duration::from_secs(seconds))
}

impl Parked for char {
    fn is_idle(&self) -> bool {
        true
    }
}

/// One connection, which waits until 5 s.
fn parking() -> (Arc<Parking<char>>, usize) {
    static HELD: AtomicU32 = AtomicU32::new(0);
    static IDLE: AtomicU32 = AtomicU32::new(0);
    let parking = Arc::new(Parking::new(Published {
        held: &HELD,
        idle: &IDLE,
    }));
    let place = parking.reserve();
    parking.put(place, Box::new('a'), at(5));
    (parking, place)
}

#[test]
fn a_connection_is_taken_by_one_thread() {
    loom::model(|| {
        let (parking, place) = parking();
        let helpers = Arc::clone(&parking);
        let helper = thread::spawn(move || helpers.take(place).is_some());
        let ours = parking.take(place).is_some();
        assert!(ours != helper.join().unwrap());
    });
}

#[test]
fn no_deadline_is_lost_whoever_has_the_connection_meanwhile() {
    for (is_moved, deadline) in [(false, at(5)), (true, at(3))] {
        loom::model(move || {
            let (parking, place) = parking();
            let helpers = Arc::clone(&parking);
            let helper = thread::spawn(move || {
                if let Some(connection) = helpers.take(place) {
                    if is_moved {
                        helpers.put(place, connection, deadline);
                    } else {
                        helpers.put_back(place, connection);
                    }
                }
            });
            // The worker looks for those whose time is over: nobody's is.
            assert!(parking.expired(at(1)).is_empty());
            helper.join().unwrap();
            assert!(parking.next_deadline() <= deadline);
            assert_eq!(parking.expired(deadline), [place]);
        });
    }
}
