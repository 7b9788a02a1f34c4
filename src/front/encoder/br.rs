//! br (RFC 7932).

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;

/// The window of 64 KiB: with what belongs to it a stream takes 1.6 MiB at most. With that of
/// 4 MiB, which is usual for files, it would be 6 MiB.
const WINDOW_LOG: i32 = 16;

/// How much the library puts out at a time, in bytes.
const PART_BYTES: usize = 4096;

/// The body of one response.
pub(crate) struct Br {
    /// `None` once it has ended. What it puts out is taken after each call.
    writer: Option<CompressorWriter<Vec<u8>>>,
}

impl Br {
    pub(super) fn new(quality: u8) -> Self {
        let parameters = BrotliEncoderParams {
            quality: quality.into(),
            lgwin: WINDOW_LOG,
            ..BrotliEncoderParams::default()
        };
        let writer = CompressorWriter::with_params(Vec::new(), PART_BYTES, &parameters);
        Self {
            writer: Some(writer),
        }
    }

    pub(super) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.run(|writer| writer.write_all(data), out)
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.run(Write::flush, out)
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = self.writer.take() {
            out.append(&mut writer.into_inner());
        }
    }

    fn run(
        &mut self,
        call: impl FnOnce(&mut CompressorWriter<Vec<u8>>) -> io::Result<()>,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let done = call(writer);
        out.append(writer.get_mut());
        done
    }
}
