use std::io::{IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcorn_sys::net::Peer;

use super::*;
use crate::channel::ClientTimeouts;
use crate::handoff::tests::queue;
use crate::poller::Events;
use crate::progress::TransferProgress;
use crate::state::{AfterResponse, ConnectionState};
use crate::transport::{Flush, Transport};
use crate::unlocked::tests::Alone;
use crate::wire_protocol::WireProtocol;

const TIMEOUTS: WaitTimeouts = WaitTimeouts {
    head: Some(Duration::from_secs(1)),
    body: Some(Duration::from_secs(2)),
    idle: Some(Duration::from_secs(3)),
    write: Some(Duration::from_secs(4)),
    close: Some(Duration::from_secs(5)),
};

pub(crate) fn connections(most: u32) -> (Connections<()>, &'static AtomicU32) {
    let published: &AtomicU32 = Box::leak(Box::default());
    let poller = Arc::new(Poller::new().unwrap());
    let budget = FdBudget::new(most);
    (
        Connections::new(
            poller,
            Published {
                held: published,
                idle: Box::leak(Box::default()),
            },
            TIMEOUTS,
            budget,
        ),
        published,
    )
}

pub(crate) fn connection() -> (Connection<()>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let timeouts = ClientTimeouts {
        read: None,
        write: None,
        buffer: 1 << 30,
        entry: None,
    };
    let channel = Channel::new(Transport::plain(ours.into()), timeouts);
    let state = ConnectionState {
        listener: 0,
        protocol: WireProtocol::Http,
        may_be_proxied: false,
        proxied: None,
        served: 0,
        waiting: Waiting::FirstByte,
        progress: TransferProgress::new(clock::coarse_now()),
    };
    (Connection::new(channel, Peer::Unix, state), theirs)
}

fn ready(connections: &Connections<()>) -> Vec<usize> {
    let mut events = Events::with_capacity(8);
    connections
        .poller
        .wait(&mut events, Some(Duration::ZERO))
        .unwrap();
    events.connections().collect()
}

#[test]
fn a_parked_connection_is_told_of_and_keeps_its_place() {
    let (connections, published) = connections(10);
    let (one, mut client) = connection();
    connections.park_or_close(Box::new(one), Next::Park(Waiting::FirstByte));
    assert!(ready(&connections).is_empty());
    client.write_all(b"GET").unwrap();
    let place = ready(&connections)[0];
    let taken = connections.take(place).unwrap();
    assert!(taken.has_place() && connections.take(place).is_none());
    connections.park_or_close(taken, Next::Park(Waiting::Head));
    assert_eq!(ready(&connections), [place]);
    let taken = connections.take(place).unwrap();
    connections.park_or_close(taken, Next::Abort);
    assert_eq!(
        (connections.held(), published.load(Ordering::Relaxed)),
        (0, 0)
    );
    client.read_to_end(&mut Vec::new()).unwrap_or(0);
}

#[test]
fn each_wait_has_a_time_of_its_own() {
    let (connections, _) = connections(10);
    let (one, _client) = connection();
    let before = clock::coarse_now();
    connections.park_or_close(Box::new(one), Next::Park(Waiting::NextRequest));
    let due = connections.next_deadline();
    assert!(due >= before.after(Duration::from_secs(3)));
    assert!(connections.expired(before).is_empty());
    connections.shorten_waits(before);
    assert_eq!(connections.next_deadline(), before);
    let [place] = connections.expired(before)[..] else {
        panic!("one is expired");
    };
    assert!(matches!(connections.end_wait(place), Expired::Nothing));
    assert_eq!(connections.held(), 0);
}

#[test]
fn a_request_that_is_late_is_for_the_server_to_answer() {
    let (connections, _) = connections(10);
    let (one, mut client) = connection();
    connections.park_or_close(Box::new(one), Next::Park(Waiting::Head));
    // Not a wait for a request to begin.
    connections.shorten_waits(Monotonic::ZERO);
    let late = clock::coarse_now().after(Duration::from_mins(1));
    let [place] = connections.expired(late)[..] else {
        panic!("one is expired");
    };
    let Expired::Request(connection) = connections.end_wait(place) else {
        panic!("its request is late");
    };
    connection.channel.send_or_give_up(b"408");
    connections.park_or_close(connection, Next::Close);
    let mut got = String::new();
    client.read_to_string(&mut got).unwrap();
    assert_eq!(got, "408");
    // Until the client closes too.
    assert_eq!(connections.held(), 1);
}

#[test]
fn what_is_owed_comes_before_everything_else() {
    let (connections, _) = connections(10);
    let (one, mut client) = connection();
    let response = vec![1; 4 << 20];
    let sent = one.channel.send(
        &Alone::default(),
        &mut [IoSlice::new(&response)],
        Flush::Now,
    );
    assert!(!sent.unwrap());
    connections.park_or_close(Box::new(one), Next::Done);
    let place = 0;
    let taken = connections.take(place).unwrap();
    assert_eq!(taken.state.waiting, Waiting::Response(AfterResponse::Done));
    connections.park_or_close(taken, Next::Park(Waiting::Response(AfterResponse::Done)));
    assert!(ready(&connections).is_empty());
    let mut some = vec![0; 2 << 20];
    client.set_nonblocking(true).unwrap();
    while client.read(&mut some).is_ok() {}
    assert_eq!(ready(&connections), [place]);
    // It has taken something since: its time is not over yet.
    let late = clock::coarse_now().after(Duration::from_mins(1));
    assert_eq!(connections.expired(late), [place]);
    assert!(matches!(connections.end_wait(place), Expired::Nothing));
    assert_eq!(connections.held(), 1);
}

#[test]
fn too_many_cost_the_most_dispensable_one() {
    let (connections, _) = connections(2);
    let waits = [
        Waiting::Head,
        Waiting::NextRequest,
        Waiting::Body(10),
        Waiting::FirstByte,
    ];
    let mut clients = Vec::new();
    for waiting in waits {
        let (one, client) = connection();
        connections.park_or_close(Box::new(one), Next::Park(waiting));
        clients.push(client);
    }
    let places = connections.parking.places();
    let left: Vec<_> = places.parked().map(|(_, one)| one.state.waiting).collect();
    assert_eq!(left, [Waiting::Head, Waiting::Body(10)]);
}

#[test]
fn all_that_can_travel_is_handed_on() {
    let (connections, _) = connections(10);
    let mut clients = Vec::new();
    for waiting in [Waiting::NextRequest, Waiting::Close, Waiting::Head] {
        let (one, client) = connection();
        connections.park_or_close(Box::new(one), Next::Park(waiting));
        clients.push(client);
    }
    let queue = queue();
    connections.hand_all_on(&queue);
    assert_eq!(connections.held(), 1);
    let handed: Vec<_> = std::iter::from_fn(|| queue.receive().unwrap()).collect();
    let waits: Vec<_> = handed.iter().map(|one| one.state.waiting).collect();
    assert_eq!(waits, [Waiting::NextRequest, Waiting::Head]);
    // Nothing of them is left in the poller.
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    assert_eq!(ready(&connections).len(), 1);
}

#[test]
fn a_lack_of_descriptors_costs_an_idle_connection() {
    let (connections, _) = connections(10);
    let (one, _client) = connection();
    connections.park_or_close(Box::new(one), Next::Park(Waiting::NextRequest));
    let lack = io::Error::from_raw_os_error(nix::libc::EMFILE);
    assert!(!connections.make_room(&io::Error::from_raw_os_error(nix::libc::EPERM)));
    assert!(connections.make_room(&lack));
    assert_eq!(connections.held(), 0);
    assert!(!connections.make_room(&lack));
    assert!(connections.has_room_for_one(&queue()));
}
