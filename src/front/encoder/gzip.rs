//! gzip (RFC 1952).

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};

use super::room::{PART_BYTES, append};

/// The window of 32 KiB, with the header and the trailer of gzip (`deflateInit2` of zlib).
const GZIP_WINDOW_BITS: i32 = 15 + 16;

/// The body of one response.
pub(crate) struct Gzip(Deflate);

impl Gzip {
    /// From 1, fast, to 9, small.
    pub(super) fn new(level: u8) -> Self {
        Self(Deflate::new_with_config(DeflateConfig {
            level: i32::from(level.clamp(1, 9)),
            window_bits: GZIP_WINDOW_BITS,
            ..DeflateConfig::default()
        }))
    }

    /// Takes some of the body; what comes out may be less, or nothing yet.
    pub(super) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.run(data, DeflateFlush::NoFlush, out);
    }

    /// Puts out all that was taken, so that the client can read it.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.run(&[], DeflateFlush::SyncFlush, out);
    }

    /// Puts out the rest and the trailer.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(&[], DeflateFlush::Finish, out);
    }

    fn run(&mut self, mut data: &[u8], flush: DeflateFlush, out: &mut Vec<u8>) {
        loop {
            let (taken, written, status) = append(out, |room| {
                let before = (self.0.total_in(), self.0.total_out());
                let status = self.0.compress(data, room, flush);
                let moved =
                    |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(0);
                let taken = moved(before.0, self.0.total_in());
                let written = moved(before.1, self.0.total_out());
                (written, (taken, written, status))
            });
            data = data.get(taken..).unwrap_or_default();
            let is_full = written == PART_BYTES;
            let goes_on = matches!(status, Ok(Status::Ok)) && (is_full || !data.is_empty());
            if !goes_on {
                return;
            }
        }
    }
}
