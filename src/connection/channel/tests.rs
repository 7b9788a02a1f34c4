use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use super::*;
use crate::unlocked::tests::Alone;

fn channel(timeouts: ClientTimeouts) -> (Channel, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (
        Channel::new(Transport::plain(ours.into()), timeouts),
        theirs,
    )
}

const LIMITS: ClientTimeouts = ClientTimeouts {
    read: Some(Duration::from_millis(50)),
    write: Some(Duration::from_millis(50)),
    buffer: 0,
    entry: None,
};

#[test]
fn a_client_that_stalls_is_lost() {
    let (channel, _client) = channel(LIMITS);
    let lost = channel
        .wait_for_bytes(&Alone::default(), &mut WaitProgress::default(), 0)
        .unwrap_err();
    assert!(matches!(lost, Lost::Stalled("sent", _)));
    let response = vec![0; 1 << 20];
    let lost = channel
        .send(
            &Alone::default(),
            &mut [IoSlice::new(&response)],
            Flush::Now,
        )
        .unwrap_err();
    assert!(matches!(lost, Lost::Stalled("took", _)));
    assert!(channel.is_lost());
}

#[test]
fn a_short_rest_leaves_by_itself() {
    let (channel, mut client) = channel(ClientTimeouts {
        buffer: 1 << 20,
        ..LIMITS
    });
    let response = vec![7; 1 << 20];
    let sent = channel.send(
        &Alone::default(),
        &mut [IoSlice::new(&response)],
        Flush::Now,
    );
    assert!(!sent.unwrap() && channel.owes());
    let reader = thread::spawn(move || {
        let mut got = vec![0; 1 << 20];
        client.read_exact(&mut got).map(|()| got)
    });
    while !channel.pump_aside() {
        thread::yield_now();
    }
    assert!(!channel.owes());
    assert!(reader.join().unwrap().unwrap() == response);
}

#[test]
fn the_order_to_leave_ends_a_wait() {
    let (channel, mut client) = channel(LIMITS);
    client.write_all(b"x").unwrap();
    let waited = channel.wait_for_bytes(&Alone { leaving: true }, &mut WaitProgress::default(), 0);
    assert!(matches!(waited, Err(Lost::Leaving)));
}

#[test]
fn a_weak_channel_keeps_no_connection_open() {
    let (channel, mut client) = channel(LIMITS);
    let weak = channel.downgrade();
    assert!(weak.get().is_some());
    drop(channel);
    assert!(weak.get().is_none());
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn only_a_front_that_takes_memory_gets_bodies_in_it() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let nothing_has_come = || {
        let error = (&theirs).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    };
    let limits = ClientTimeouts {
        buffer: 1000,
        ..LIMITS
    };
    let channel = Channel::new(Transport::plain(ours.into()), limits);
    for _body in 0..2 {
        assert_eq!(channel.share([b"body"], 4), None);
    }
    nothing_has_come();
    channel.set_takes_memory(true);
    // The memory is offered, and the body must be sent.
    assert_eq!(channel.share([b"body"], 4), None);
    let offer = SharedBody { length: 0 }.encode();
    let mut got = [0; SharedBody::ENCODED_BYTES];
    (&theirs).read_exact(&mut got).unwrap();
    assert_eq!(got, offer);
    let announced = SharedBody { length: 4 }.encode();
    assert_eq!(channel.share([b"body"], 4), Some(announced));
    nothing_has_come();
    // Behind something that waits it could not be told.
    assert_eq!(channel.hold(&[IoSlice::new(b"x")]), 1);
    assert_eq!(channel.share([b"body"], 4), None);
    assert!(channel.pump().unwrap());
    (&theirs).read_exact(&mut [0]).unwrap();
    assert_eq!(channel.share([b"body"], 4), Some(announced));
    // The app has the connection to itself: there is no memory any more.
    channel.give_socket().unwrap();
    assert_eq!(channel.share([b"body"], 4), None);
}
