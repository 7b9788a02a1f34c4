//! The bytes of a response in a content coding (RFC 9110 section 8.4.1), while they come.

mod br;
mod gzip;
mod room;
mod zstd;

use rcorn_front_link::Coding;

use br::Br;
use gzip::Gzip;
use zstd::Zstd;

/// The highest quality of br here: the next one takes several times the memory.
const MAX_BR_QUALITY: u8 = 4;

/// It can go on no more: there is no memory for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// Compresses the body of one response.
pub(crate) enum Encoder {
    Zstd(Zstd),
    /// In a box: it is larger than the others.
    Br(Box<Br>),
    Gzip(Gzip),
}

impl Encoder {
    /// From level 1, fast, to 9, small. `None` if there is no memory for it.
    pub(crate) fn new(coding: Coding, level: u8) -> Option<Self> {
        let level = level.clamp(1, 9);
        Some(match coding {
            Coding::Zstd => Self::Zstd(Zstd::new(level.div_ceil(2))?),
            Coding::Br => Self::Br(Box::new(Br::new(level.min(MAX_BR_QUALITY)))),
            Coding::Gzip => Self::Gzip(Gzip::new(level)),
        })
    }

    /// Takes some of the body; what comes out may be less, or nothing yet.
    pub(crate) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Failed> {
        match self {
            Self::Zstd(zstd) => zstd.write(data, out).map_err(|_code| Failed),
            Self::Br(br) => br.write(data, out).map_err(|_error| Failed),
            Self::Gzip(gzip) => {
                gzip.write(data, out);
                Ok(())
            }
        }
    }

    /// Puts out all that was taken, so that the client can read it.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        match self {
            Self::Zstd(zstd) => zstd.flush(out).map_err(|_code| Failed),
            Self::Br(br) => br.flush(out).map_err(|_error| Failed),
            Self::Gzip(gzip) => {
                gzip.flush(out);
                Ok(())
            }
        }
    }

    /// Puts out the rest and the trailer.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        match self {
            Self::Zstd(zstd) => zstd.finish(out).map_err(|_code| Failed),
            Self::Br(br) => {
                br.finish(out);
                Ok(())
            }
            Self::Gzip(gzip) => {
                gzip.finish(out);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use zlib_rs::{InflateConfig, ReturnCode, decompress_slice};

    use super::*;

    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    fn decoded(coding: Coding, bytes: &[u8], length: usize) -> Vec<u8> {
        let mut out = vec![0; length.max(1)];
        match coding {
            Coding::Zstd => {
                let read = zstd_safe::decompress(&mut out[..], bytes).unwrap();
                out.truncate(read);
                out
            }
            Coding::Br => {
                let mut out = Vec::new();
                let mut reader = brotli::Decompressor::new(bytes, 4096);
                reader.read_to_end(&mut out).unwrap();
                out
            }
            Coding::Gzip => {
                let config = InflateConfig {
                    window_bits: 15 + 16,
                };
                let (out, code) = decompress_slice(&mut out, bytes, config);
                assert_eq!(code, ReturnCode::Ok);
                out.to_vec()
            }
        }
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let noise: Vec<u8> = (0..300_000_u32)
            .map(|number| (number.wrapping_mul(2_654_435_761) >> 24).to_be_bytes()[3])
            .collect();
        let same = vec![b'x'; 1_000_000];
        for coding in ALL {
            for (body, part) in [&b""[..], b"a", &same, &noise]
                .into_iter()
                .flat_map(|body| [1000, 65_536, 2_000_000].map(|part| (body, part)))
            {
                let (mut encoder, mut out) = (Encoder::new(coding, 5).unwrap(), Vec::new());
                for (number, data) in body.chunks(part).enumerate() {
                    encoder.write(data, &mut out).unwrap();
                    if number % 3 == 0 {
                        encoder.flush(&mut out).unwrap();
                    }
                }
                encoder.finish(&mut out).unwrap();
                let back = decoded(coding, &out, body.len());
                assert!(back == body, "{coding:?} {} {part}", body.len());
            }
        }
    }

    /// What is above would take too much memory; what is below must not be an error.
    #[test]
    fn every_level_makes_it_smaller() {
        let page = b"<p>hello, world</p>\n".repeat(1000);
        for coding in ALL {
            for level in 0..=10 {
                let (mut encoder, mut out) = (Encoder::new(coding, level).unwrap(), Vec::new());
                encoder.write(&page, &mut out).unwrap();
                encoder.finish(&mut out).unwrap();
                assert!(out.len() < 1000, "{coding:?} {level}: {}", out.len());
                assert_eq!(
                    decoded(coding, &out, page.len()),
                    page,
                    "{coding:?} {level}"
                );
            }
        }
    }
}
