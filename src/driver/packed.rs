//! The form that the native modules have in the executable: compressed (zlib, RFC 1950). One is
//! there whole. Of the others there is what differs from it, which is little: they come from the
//! same sources. `build.rs` writes this form; `packaging/building/elf.py` reads it, too.

use std::io::{self, ErrorKind, Read, Write};

use zlib_rs::{Inflate, InflateError, InflateFlush, Status};

/// What stands before the compressed bytes: a mark by which tools find them, and their number.
const HEAD_BYTES: usize = 32;

/// The window of the stream, as a power of two: the largest that there is.
const WINDOW_BITS: u8 = 15;

/// Writes the module of an image that has it whole.
///
/// # Errors
///
/// `InvalidData`: the image is damaged. Otherwise those of `out`.
pub(super) fn write_whole(image: &[u8], out: &mut impl Write) -> io::Result<()> {
    io::copy(&mut Unpacked::of(image), out)?;
    Ok(())
}

/// Writes the module of an image that has what differs from `base`.
///
/// # Errors
///
/// See [`write_whole`].
pub(super) fn write_changed(image: &[u8], base: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut image = Unpacked::of(image);
    let mut place = 0_usize;
    while let Some(step) = Step::read(&mut image)? {
        let end = place.checked_add(step.similar).ok_or_else(damaged)?;
        let similar = base.get(place..end).ok_or_else(damaged)?;
        add(&mut image, similar, out)?;
        let new = io::copy(&mut image.by_ref().take(step.new), out)?;
        if new < step.new {
            return Err(damaged());
        }
        place = step.next(end)?;
    }
    Ok(())
}

/// Writes the sum, byte by byte, of these bytes and of as many that are read.
fn add(image: &mut Unpacked, similar: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    for part in similar.chunks(buffer.len()) {
        let sum = buffer.get_mut(..part.len()).unwrap_or_default();
        image.fill(sum)?;
        for (byte, old) in sum.iter_mut().zip(part) {
            *byte = byte.wrapping_add(*old);
        }
        out.write_all(sum)?;
    }
    Ok(())
}

/// A step of bsdiff, as the crate of that name writes it.
struct Step {
    /// How many bytes of the base are to be added to what follows.
    similar: usize,
    /// How many bytes follow that are not in the base.
    new: u64,
    /// How many bytes of the base are left out then, or gone back if this has a [`SIGN`].
    skip: u64,
}

impl Step {
    /// `None`: there is none any more.
    fn read(image: &mut Unpacked) -> io::Result<Option<Self>> {
        let mut first = [0; 1];
        if image.read(&mut first)? == 0 {
            return Ok(None);
        }
        let [mut similar, mut new, mut skip] = [[0; 8]; 3];
        let [low, others @ ..] = &mut similar;
        [*low] = first;
        image.fill(others)?;
        image.fill(&mut new)?;
        image.fill(&mut skip)?;
        Ok(Some(Self {
            similar: number(similar)?,
            new: u64::from_le_bytes(new),
            skip: u64::from_le_bytes(skip),
        }))
    }

    /// Where the next step begins in the base, if this one ends there. The crate writes a sign and
    /// a number, not a complement.
    fn next(&self, end: usize) -> io::Result<usize> {
        let distance = number((self.skip & !SIGN).to_le_bytes())?;
        let next = if self.skip & SIGN == 0 {
            end.checked_add(distance)
        } else {
            end.checked_sub(distance)
        };
        next.ok_or_else(damaged)
    }
}

fn number(bytes: [u8; 8]) -> io::Result<usize> {
    let number = usize::try_from(u64::from_le_bytes(bytes));
    number.ok().ok_or_else(damaged)
}

/// Says that a number is to be subtracted.
const SIGN: u64 = 1 << 63;

/// What an image has in it, to be read.
struct Unpacked<'a> {
    packed: &'a [u8],
    inflate: Inflate,
    has_ended: bool,
}

impl<'a> Unpacked<'a> {
    fn of(image: &'a [u8]) -> Self {
        Self {
            packed: image.get(HEAD_BYTES..).unwrap_or_default(),
            inflate: Inflate::new(true, WINDOW_BITS),
            has_ended: false,
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact(buffer).map_err(|error| {
            if error.kind() == ErrorKind::UnexpectedEof {
                damaged()
            } else {
                error
            }
        })
    }
}

impl Read for Unpacked<'_> {
    /// At the end the checksum is right.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.has_ended || buffer.is_empty() {
            return Ok(0);
        }
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(self.packed, buffer, InflateFlush::NoFlush)
            .map_err(|error| match error {
                InflateError::MemError => ErrorKind::OutOfMemory.into(),
                InflateError::NeedDict { .. }
                | InflateError::StreamError
                | InflateError::DataError => damaged(),
            })?;
        let count = |now: u64, before: u64| usize::try_from(now.saturating_sub(before));
        let read = count(self.inflate.total_in(), read).map_err(io::Error::other)?;
        let written = count(self.inflate.total_out(), written).map_err(io::Error::other)?;
        self.packed = self.packed.get(read..).unwrap_or_default();
        self.has_ended = status == Status::StreamEnd;
        if written == 0 && !self.has_ended {
            // There is nothing left to read.
            return Err(damaged());
        }
        Ok(written)
    }
}

fn damaged() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "the module for Python in this executable is damaged; hint: install rcorn again",
    )
}

#[cfg(test)]
pub(super) mod tests {
    use zlib_rs::{DeflateConfig, compress_bound, compress_slice};

    use super::*;

    /// As `build.rs` makes it.
    pub(in super::super) fn image(content: &[u8]) -> Vec<u8> {
        let mut out = vec![0; compress_bound(content.len())];
        let (packed, _) = compress_slice(&mut out, content, DeflateConfig::best_compression());
        [&[b' '; HEAD_BYTES], &*packed].concat()
    }

    /// As `build.rs` makes it.
    pub(in super::super) fn changes(base: &[u8], module: &[u8]) -> Vec<u8> {
        let mut steps = Vec::new();
        bsdiff::diff(base, module, &mut steps).unwrap();
        image(&steps)
    }

    /// Something like code: much of it repeats, and little is alike for long.
    fn code(seed: u32) -> Vec<u8> {
        let mut number = seed;
        let mut next = || {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            number.to_le_bytes()[3]
        };
        (0..20_000)
            .flat_map(|_| [0x48, next() & 7, 0xe8, next(), next(), 0])
            .collect()
    }

    fn whole(image: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        write_whole(image, &mut out).map(|()| out)
    }

    /// Of an image and its base.
    type Unpack = fn(&[u8], &[u8]) -> io::Result<Vec<u8>>;

    fn changed(image: &[u8], base: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        write_changed(image, base, &mut out).map(|()| out)
    }

    #[test]
    fn modules_are_what_they_were() {
        let base = code(1);
        assert!(whole(&image(&base)).unwrap() == base);
        let moved = [&base[60_000..], b"new", &base[..70_000]].concat();
        let mut other = base.clone();
        for byte in other.iter_mut().step_by(97) {
            *byte = byte.wrapping_add(200);
        }
        for module in [base.clone(), moved, other, code(2), Vec::new()] {
            assert!(changed(&changes(&base, &module), &base).unwrap() == module);
        }
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let base = code(1);
        let module = [&base[60_000..], b"new", &base[..70_000]].concat();
        let images = [image(&base), changes(&base, &module)];
        let reads: [Unpack; 2] = [|image, _| whole(image), changed];
        for (intact, read) in images.iter().zip(reads) {
            let places = HEAD_BYTES..intact.len();
            for place in places.clone().step_by(1 + places.len() / 500) {
                let mut broken = intact.clone();
                broken[place] ^= 1;
                let error = read(&broken, &base).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidData, "{place}");
                let error = read(&intact[..place], &base).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidData, "{place}");
            }
        }
    }

    #[test]
    fn changes_of_another_base_are_refused() {
        let base = code(1);
        let image = changes(&base, &base);
        let error = changed(&image, &base[..100]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
