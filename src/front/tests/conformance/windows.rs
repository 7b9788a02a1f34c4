//! Windows: how much may be sent (RFC 9113 section 6.9).

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use rcorn_front_link::Configuration;

use super::frames::{MALFORMED, WRONG_SIZE, WRONG_WINDOW};
use super::{Setup, case, frame, get, get_held, post_held, reset};
use crate::support::frames::{
    DATA, FLOW_CONTROL_ERROR, GOAWAY, Http2, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::support::front::Front;
use crate::support::worker::Worker;

/// 6.9
#[test]
fn window_update() {
    let update = |stream, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    let most = 0x7fff_ffff;
    Setup::new().run(&[
        case("by 0", [update(0, 0)], MALFORMED),
        case("by 0 on a stream", [get_held(1), update(1, 0)], MALFORMED),
        case(
            "of another size",
            [frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])],
            WRONG_SIZE,
        ),
        case(
            "of another size on a stream",
            [get_held(1), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 1])],
            WRONG_SIZE,
        ),
        case(
            "beyond the most",
            [update(0, most), update(0, most)],
            WRONG_WINDOW,
        ),
        case(
            "beyond the most on a stream",
            [get_held(1), update(1, most), update(1, most)],
            reset(FLOW_CONTROL_ERROR),
        ),
        case(
            "settings that lift a stream's beyond the most",
            [
                get_held(1),
                update(1, most - 65_535),
                frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
            ],
            WRONG_WINDOW,
        ),
    ]);
}

/// 6.9.2: a window may be less than nothing.
#[test]
fn windows_that_settings_change() {
    let setup = Setup::new();
    let initial = |size| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, size]);
    // The windows are 1, then -1, then 1.
    for (begin, bytes) in [
        (0, initial(1)),
        (
            1,
            [initial(0), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])].concat(),
        ),
    ] {
        let mut client = Http2::over(setup.session(), &[0, 4, 0, 0, 0, begin]);
        client.write(&get(1));
        if begin > 0 {
            assert_eq!(client.wait(DATA).payload, b"h");
        }
        client.write(&bytes);
        // Nothing comes between the first byte and the answer to this.
        client.send(PING, 0, 0, &[1; 8]);
        let next = loop {
            let frame = client.frame();
            if frame.kind == DATA || (frame.kind == PING && begin > 0) {
                break frame;
            }
        };
        if begin > 0 {
            assert_eq!(next.kind, PING);
            client.send(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]);
            assert_eq!(client.wait(DATA).payload, b"i");
        } else {
            assert_eq!(next.payload, b"h");
        }
    }
}

/// 6.9.1: who sends more than the window has room for is not waited for.
#[test]
fn windows_of_the_front_hold() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let worker = Worker::raw(move |connection| {
        connection.head();
        // It reads no body.
        gone.lock().unwrap().recv().ok();
    });
    let front = Front::http(&worker, Configuration::default());
    let mut client = Http2::plain(front.address());
    client.write(&post_held(1));
    let mut reader = Http2(client.0.try_clone().unwrap());
    let writer = std::thread::spawn(move || {
        // More than the buffers of sockets hold.
        let part = frame(DATA, 0, 1, &[0; 16_384]);
        for _part in 0..10_000 {
            if client.0.write_all(&part).is_err() {
                return;
            }
        }
    });
    let frame = loop {
        let frame = reader.frame();
        if matches!(frame.kind, RST_STREAM | GOAWAY) {
            break frame;
        }
    };
    assert_eq!(frame.error(), FLOW_CONTROL_ERROR);
    drop((reader, front, go));
    writer.join().unwrap();
}
