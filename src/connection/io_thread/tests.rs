use std::io::{IoSlice, Read, Write};

use super::*;

use crate::acceptor::Listener;
use crate::channel::ClientTimeouts;
use crate::connections::Expired;
use crate::connections::tests::connection;
use crate::fd_budget::FdBudget;
use crate::handoff::tests::queue;
use crate::parking::Published;
use crate::queue_limit::{Answer, OverdueAnswer};
use crate::state::Next;
use crate::wire_protocol::WireProtocol;

/// What only one thread may drop.
#[derive(Debug)]
struct Pythons(thread::ThreadId);

impl Drop for Pythons {
    fn drop(&mut self) {
        assert_eq!(self.0, thread::current().id(), "dropped by another thread");
    }
}

struct World {
    connections: Connections<Pythons>,
    thread: IoThread<Pythons>,
    handoff: Arc<HandoffQueue>,
    cell: &'static Cell,
}

fn world(timeout: Duration) -> World {
    limited_world(timeout, None)
}

fn limited_world(timeout: Duration, queue_limit: Option<QueueLimit<Pythons>>) -> World {
    let (board, _fd) = Scoreboard::create(1).unwrap();
    let board: &'static Scoreboard = Box::leak(Box::new(board));
    let cell = board.cell(0).unwrap();
    board.shared().set_wanted(2);
    let poller = Arc::new(Poller::new().unwrap());
    let limit = Some(timeout);
    let timeouts = WaitTimeouts {
        head: limit,
        body: limit,
        idle: limit,
        write: limit,
        close: limit,
    };
    let budget = FdBudget::new(100);
    let connections = Connections::new(
        Arc::clone(&poller),
        Published {
            held: cell.connections_gauge(),
            idle: cell.idle_connections_gauge(),
        },
        timeouts,
        budget,
    );
    let handoff = Arc::new(queue());
    let thread = IoThread::new(
        &connections,
        poller,
        Arc::clone(&handoff),
        Arc::new(OneThread(cell)),
        (board, cell),
        LeaveFlags::default(),
        queue_limit,
    );
    World {
        connections,
        thread: thread.unwrap(),
        handoff,
        cell,
    }
}

fn parked(world: &World, waiting: Waiting) -> std::os::unix::net::UnixStream {
    let (one, client) = connection();
    let mut ours = Connection::new(one.channel.clone(), one.client(), one.state);
    ours.endpoints = Some(Pythons(thread::current().id()));
    world
        .connections
        .park_or_close(Box::new(ours), Next::Park(waiting));
    client
}

/// The app is in a long request from now on.
fn begin_request(world: &World) {
    world.cell.request_entry().begin(clock::now(), b"", b"");
    world.thread.attend();
}

fn until(what: impl Fn() -> bool) {
    let limit = clock::now().after(Duration::from_secs(10));
    while !what() {
        assert!(clock::now() < limit, "it never happens");
        thread::yield_now();
    }
}

#[test]
fn a_request_of_another_connection_is_handed_on_and_its_objects_are_dropped_here() {
    let world = world(Duration::from_mins(1));
    let mut client = parked(&world, Waiting::NextRequest);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    begin_request(&world);
    until(|| world.connections.held() == 0);
    let taken = world.handoff.receive().unwrap().unwrap();
    assert_eq!(taken.state.waiting, Waiting::NextRequest);
    assert_eq!(world.thread.take_discarded().len(), 1);
    assert!(world.thread.take_discarded().is_empty());
    // The connection lives on.
    taken.transport.send(b"hi", crate::Flush::Now).unwrap();
    let mut got = [0; 2];
    client.read_exact(&mut got).unwrap();
}

#[test]
fn nothing_is_handed_on_by_a_worker_that_is_alone_or_leaves() {
    let world = world(Duration::from_mins(1));
    let mut client = parked(&world, Waiting::NextRequest);
    client.write_all(b"GET").unwrap();
    let drain = &world.thread.0.leave.drain;
    drain.store(true, Ordering::Relaxed);
    assert!(!world.thread.0.may_hand_on());
    world.thread.0.service(0, clock::now());
    assert_eq!(world.connections.held(), 1);
    drain.store(false, Ordering::Relaxed);
    let shared = world.thread.0.scoreboard.shared();
    shared.set_wanted(1);
    world.thread.0.service(0, clock::now());
    assert_eq!(world.connections.held(), 1);
    assert!(world.handoff.receive().unwrap().is_none());
}

#[test]
fn what_the_app_does_not_add_to_is_sent_soon() {
    let world = world(Duration::from_mins(1));
    let (one, mut client) = connection();
    one.channel.hold(&[IoSlice::new(b"part")]);
    world.thread.send_soon(&one.channel);
    let mut got = [0; 4];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"part");
}

#[test]
fn a_client_that_takes_nothing_meets_its_time_limit_though_the_thread_has_looked_at_it() {
    let world = world(Duration::from_millis(1));
    let (one, _client) = connection();
    let response = vec![1; 4 << 20];
    one.channel.hold(&[IoSlice::new(&response)]);
    let ours = Connection::new(one.channel.clone(), one.client(), one.state);
    world.connections.park_or_close(Box::new(ours), Next::Done);
    // The thread has the connection while the worker looks for those whose time is over.
    let taken = world.connections.take(0).unwrap();
    assert!(world.connections.expired(clock::coarse_now()).is_empty());
    world.thread.0.parking.put_back(0, taken);
    world.thread.0.service(0, clock::now());
    // Nobody parks anything else, and the time limit holds all the same.
    let mut reset = false;
    while world.connections.held() > 0 {
        until(|| clock::coarse_now() >= world.connections.next_deadline());
        for place in world.connections.expired(clock::coarse_now()) {
            reset |= matches!(world.connections.end_wait(place), Expired::Response(_));
        }
    }
    assert!(reset);
}

/// Answers with what was received.
#[derive(Debug)]
struct Repeated;

impl OverdueAnswer<Pythons> for Repeated {
    fn answer(&self, _: &Connection<Pythons>, received: &[u8], waited: Duration) -> Answer {
        assert!(waited >= Duration::from_millis(20));
        Answer {
            bytes: received.to_vec(),
            body_bytes: 0,
        }
    }
}

/// A listener with a limit, and a client that waits to be accepted.
fn listening(limit: Duration) -> (QueueLimit<Pythons>, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let listener: &'static std::net::TcpListener = Box::leak(Box::new(listener));
    let listeners = vec![Listener {
        socket: listener.as_fd(),
        protocol: WireProtocol::Http,
    }];
    let timeouts = ClientTimeouts {
        read: None,
        write: None,
        buffer: 0,
        entry: None,
    };
    (
        QueueLimit::new(limit, Box::new(Repeated), listeners, timeouts, false, 10),
        client,
    )
}

#[test]
fn a_worker_that_was_told_to_leave_accepts_nobody() {
    let (limit, _client) = listening(Duration::from_mins(1));
    let world = limited_world(Duration::from_mins(1), Some(limit));
    let shared = &world.thread.0;
    let accepted = || {
        shared.accept_waiting(shared.queue_limit.as_ref().unwrap(), clock::now());
        world.connections.held()
    };
    let LeaveFlags { drain, quit, abort } = &shared.leave;
    for flag in [drain, quit, abort] {
        flag.store(true, Ordering::Relaxed);
        assert_eq!(accepted(), 0);
        flag.store(false, Ordering::Relaxed);
    }
    assert_eq!(accepted(), 1);
}

#[test]
fn a_request_that_waits_too_long_is_answered_and_one_that_waits_to_be_accepted_too() {
    let (limit, mut late) = listening(Duration::from_millis(20));
    late.write_all(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let world = limited_world(Duration::from_mins(1), Some(limit));
    world.thread.0.scoreboard.shared().set_wanted(1);
    let mut client = parked(&world, Waiting::NextRequest);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let begun = clock::now();
    begin_request(&world);
    let mut page = String::new();
    client.read_to_string(&mut page).unwrap();
    assert_eq!(page, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(clock::now().since(begun) >= Duration::from_millis(20));
    let mut page = String::new();
    late.read_to_string(&mut page).unwrap();
    assert_eq!(page, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    // They wait for the close of their clients, also of those that have more to say.
    assert_eq!(world.connections.held(), 2);
    late.write_all(b"more").unwrap();
    drop((late, client));
    until(|| world.connections.held() == 0);
    assert_eq!(world.thread.take_discarded().len(), 1);
}
