//! zstd (RFC 8878).

use zstd_safe::{CCtx, CParameter, ErrorCode, InBuffer, OutBuffer};

use super::room::append;

/// The window of 128 KiB, which every client has (RFC 9659 section 3 allows 8 MiB), and tables that
/// fit it: a stream takes 0.7 MiB at most. With the usual window it would be 3 MiB, and a page of
/// 1 MiB a fiftieth smaller.
const WINDOW_LOG: u32 = 17;
const TABLE_LOG: u32 = 15;

/// The body of one response.
pub(crate) struct Zstd(CCtx<'static>);

impl Zstd {
    /// `None` if there is no memory for it.
    pub(super) fn new(level: u8) -> Option<Self> {
        let mut context = CCtx::try_create()?;
        for parameter in [
            CParameter::CompressionLevel(level.into()),
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::HashLog(TABLE_LOG),
            CParameter::ChainLog(TABLE_LOG),
        ] {
            context.set_parameter(parameter).ok()?;
        }
        Some(Self(context))
    }

    pub(super) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let mut input = InBuffer::around(data);
        while input.pos() < data.len() {
            part(out, |room| self.0.compress_stream(room, &mut input))?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        while part(out, |room| self.0.flush_stream(room))? > 0 {}
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        while part(out, |room| self.0.end_stream(room))? > 0 {}
        Ok(())
    }
}

/// Appends what one call puts out, and returns what the call does: for the end of a block how much
/// is left.
fn part(
    out: &mut Vec<u8>,
    call: impl FnOnce(&mut OutBuffer<'_, [u8]>) -> Result<usize, ErrorCode>,
) -> Result<usize, ErrorCode> {
    append(out, |room| {
        let mut room = OutBuffer::around(room);
        let left = call(&mut room);
        (room.pos(), left)
    })
}
