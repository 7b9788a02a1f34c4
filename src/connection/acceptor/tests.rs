use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::SndBuf;

use super::*;
use crate::handoff::Handed;
use crate::handoff::tests::queue;
use crate::poller::Events;

const TIMEOUTS: ClientTimeouts = ClientTimeouts {
    read: None,
    write: None,
    buffer: 0,
    entry: None,
};

struct World {
    acceptor: Acceptor,
    poller: Arc<Poller>,
    events: Events,
    address: std::net::SocketAddr,
}

impl World {
    fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let socket: &'static OwnedFd = Box::leak(Box::new(socket.into()));
        let listener = Listener {
            socket: socket.as_fd(),
            protocol: WireProtocol::Http,
        };
        let poller = Arc::new(Poller::new().unwrap());
        let mut acceptor = Acceptor::new(
            Arc::clone(&poller),
            vec![listener],
            Arc::new(queue()),
            TIMEOUTS,
            false,
        );
        acceptor.open().unwrap();
        Self {
            acceptor,
            poller,
            events: Events::with_capacity(4),
            address,
        }
    }

    fn ready(&mut self) -> Vec<Source> {
        let timeout = Some(Duration::ZERO);
        self.poller.wait(&mut self.events, timeout).unwrap();
        self.events.iter().collect()
    }
}

#[test]
fn a_pause_leaves_connections_to_wait() {
    let mut world = World::new();
    let _client = TcpStream::connect(world.address).unwrap();
    assert_eq!(world.ready(), [Source::Listener(0)]);
    let now = clock::now();
    world.acceptor.pause_for_siblings(now).unwrap();
    assert!(world.ready().is_empty() && !world.acceptor.is_open());
    let until = world.acceptor.paused_until().unwrap();
    assert_eq!(until, now.after(FAIR_SHARE_PAUSE));
    while clock::now() < until {
        std::thread::yield_now();
    }
    world.acceptor.resume_if_due().unwrap();
    assert_eq!(world.ready(), [Source::Listener(0)]);
    let accepted = world.acceptor.accept::<()>(0);
    assert!(matches!(accepted, Accepted::Connection(_)));
    assert!(matches!(world.acceptor.accept::<()>(0), Accepted::Nothing));
    assert!(matches!(world.acceptor.accept::<()>(1), Accepted::Nothing));
}

#[test]
fn a_lack_keeps_away_from_the_queue_too() {
    let mut world = World::new();
    let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
    let state = ConnectionState {
        listener: 5,
        protocol: WireProtocol::Http,
        may_be_proxied: false,
        proxied: None,
        served: 1,
        waiting: Waiting::NextRequest,
        progress: TransferProgress::default(),
    };
    let transport = Transport::plain(one.into());
    let sent = world.acceptor.handoff().send(&transport, &state, b"GET");
    assert_eq!(sent, Handed::On);
    assert_eq!(world.ready(), [Source::Handoff]);
    world.acceptor.pause_for_lack(Monotonic::ZERO).unwrap();
    assert!(world.ready().is_empty());
    // Over long ago.
    world.acceptor.resume_if_due().unwrap();
    assert_eq!(world.ready(), [Source::Handoff]);
    let transferred = world.acceptor.handoff().receive().unwrap().unwrap();
    let connection = world.acceptor.welcome::<()>(transferred);
    assert_eq!(
        (connection.state.listener, &connection.buffer[..]),
        (0, &b"GET"[..])
    );
}

#[test]
fn what_is_closed_does_not_open_by_a_pause() {
    let mut world = World::new();
    let _client = TcpStream::connect(world.address).unwrap();
    world.acceptor.close().unwrap();
    world.acceptor.pause_for_lack(Monotonic::ZERO).unwrap();
    world.acceptor.resume_if_due().unwrap();
    assert!(world.ready().is_empty());
    // A server that stops empties its queue.
    world.acceptor.open().unwrap();
    assert_eq!(world.ready(), [Source::Listener(0)]);
}

#[test]
fn errors_of_accept_are_told_apart() {
    let meaning = |errno| refused::<()>(io::Error::from_raw_os_error(errno));
    assert!(matches!(meaning(ECONNABORTED), Accepted::Left));
    assert!(matches!(meaning(EAGAIN), Accepted::Nothing));
    assert!(matches!(meaning(nix::libc::EMFILE), Accepted::Failed(_)));
}

#[test]
fn a_fair_share_counts_only_those_who_can_take_connections() {
    let (board, _fd) = Scoreboard::create(8).unwrap();
    let now = Monotonic::from_nanos(10_000_000_000);
    let set = |index: u16, held: u32| {
        let cell = board.cell(index).unwrap();
        cell.register(u64::from(index) + 1, 1, 1);
        cell.set_connections(held);
    };
    board.shared().set_wanted(4);
    set(0, 3);
    set(1, 1);
    set(2, 1);
    set(3, 0);
    assert!(has_more_than_its_share(&board, 3, now));
    assert!(!has_more_than_its_share(&board, 2, now));
    // One that is busy counts for nothing, and so do its connections.
    set(3, 90);
    let busy = board.cell(3).unwrap().request_entry();
    busy.begin(Monotonic::from_nanos(9_000_000_000), b"", b"");
    assert!(has_more_than_its_share(&board, 3, now));
    board.shared().set_wanted(1);
    assert!(!has_more_than_its_share(&board, 3, now));
}

/// What the kernel holds for a client of a unix socket that was accepted on this kind of listener.
fn send_buffer(protocol: WireProtocol, response_buffer: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let socket: &'static OwnedFd = Box::leak(Box::new(socket.into()));
    let listener = Listener {
        socket: socket.as_fd(),
        protocol,
    };
    let timeouts = ClientTimeouts {
        buffer: response_buffer,
        ..TIMEOUTS
    };
    let Accepted::Connection(connection) = accept::<()>(&listener, 0, timeouts, false) else {
        panic!("there is a connection");
    };
    getsockopt(&connection.channel.transport().copy().unwrap(), SndBuf).unwrap()
}

#[test]
fn the_kernel_holds_more_for_a_front() {
    let most = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap();
    let most: usize = most.trim().parse().unwrap();
    let usual = send_buffer(WireProtocol::Http, 1 << 20);
    let larger = send_buffer(WireProtocol::Front, 1 << 20);
    assert_eq!(larger, 2 * most.min(FRONT_SEND_BUFFER));
    assert!(larger > usual);
    // Who wants less to wait gets less.
    assert_eq!(send_buffer(WireProtocol::Front, 1 << 16), usual);
    assert_eq!(send_buffer(WireProtocol::Front, 0), usual);
}
