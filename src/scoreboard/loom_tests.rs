//! All orders in which two processes can see the sequence lock, explored by loom: `RUSTFLAGS="--cfg
//! loom" cargo test -p rcorn-scoreboard --release`.

use loom::sync::Arc;
use loom::thread;

use crate::atomic::{AtomicU32, AtomicU64};
use crate::seqlock;

struct Texts {
    sequence: AtomicU32,
    line: [AtomicU64; 1],
    peer: [AtomicU64; 1],
}

impl Texts {
    fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            line: [AtomicU64::new(0)],
            peer: [AtomicU64::new(0)],
        }
    }

    fn write(&self, line: &[u8], peer: &[u8]) {
        seqlock::write(&self.sequence, [(&self.line, line), (&self.peer, peer)]);
    }

    fn read(&self) -> Option<[Vec<u8>; 2]> {
        seqlock::read(&self.sequence, [&self.line, &self.peer])
    }
}

#[test]
fn a_reader_never_sees_the_line_of_one_request_with_the_peer_of_another() {
    loom::model(|| {
        let texts = Arc::new(Texts::new());
        texts.write(b"a", b"a");
        let writer = Arc::clone(&texts);
        let writes = thread::spawn(move || writer.write(b"b", b"b"));
        if let Some([line, peer]) = texts.read() {
            assert_eq!(line, peer);
        }
        writes.join().unwrap();
        assert_eq!(texts.read(), Some([b"b".to_vec(), b"b".to_vec()]));
    });
}
