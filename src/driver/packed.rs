//! The form that the native modules have in the executable: compressed (zlib, RFC 1950). One is
//! there whole. Of the others there is what differs from it, which is little: they come from the
//! same sources. `build.rs` writes this form; `packaging/building/elf.py` reads it, too.

use std::io::{self, BufReader, ErrorKind, Read, Write};

use zlib_rs::{Inflate, InflateError, InflateFlush, Status};

/// What stands before the compressed bytes: a mark by which tools find them, and their number.
const HEAD_BYTES: usize = 32;

/// More than any module has: a damaged number must not ask for all memory.
const MAX_MODULE_BYTES: u64 = 64 << 20;

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

/// Writes the module of an image that has what differs from `base`; `changes.rs` says how.
///
/// # Errors
///
/// See [`write_whole`].
pub(super) fn write_changed(image: &[u8], base: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut image = BufReader::new(Unpacked::of(image));
    let [similar, new, skips] = read_columns(&mut image)?;
    let mut added = vec![0; sum(&new)?];
    fill(&mut image, &mut added)?;
    let mut added = added.as_slice();
    let mut place = 0_usize;
    for ((similar, new), skip) in similar.into_iter().zip(new).zip(skips) {
        let end = place.checked_add(index(similar)?).ok_or_else(damaged)?;
        let old = base.get(place..end).ok_or_else(damaged)?;
        add(&mut image, old, out)?;
        let (here, rest) = added.split_at_checked(index(new)?).ok_or_else(damaged)?;
        out.write_all(here)?;
        added = rest;
        place = after(end, skip)?;
    }
    // Only at its end is the checksum compared.
    match image.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(damaged()),
    }
}

/// The three numbers of each step of bsdiff: of all steps the first, then the second, the third.
fn read_columns(image: &mut impl Read) -> io::Result<[Vec<u64>; 3]> {
    let mut count = [0; 8];
    fill(image, &mut count)?;
    let count = u64::from_le_bytes(count);
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for column in &mut columns {
        for _ in 0..count {
            column.push(read_number(image)?);
        }
    }
    Ok(columns)
}

/// A number in the form of LEB128: seven bits a byte, the lowest first.
fn read_number(image: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let mut byte = [0];
        fill(image, &mut byte)?;
        let [byte] = byte;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged())
}

/// Where the next step begins in the base, if this one ends at `end`. The lowest bit of `skip` says
/// that it goes back.
fn after(end: usize, skip: u64) -> io::Result<usize> {
    let distance = index(skip >> 1)?;
    let next = if skip & 1 == 0 {
        end.checked_add(distance)
    } else {
        end.checked_sub(distance)
    };
    next.ok_or_else(damaged)
}

/// Writes the sum, byte by byte, of these bytes and of as many that are read.
fn add(image: &mut impl Read, similar: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    for part in similar.chunks(buffer.len()) {
        let sum = buffer.get_mut(..part.len()).unwrap_or_default();
        fill(image, sum)?;
        for (byte, old) in sum.iter_mut().zip(part) {
            *byte = byte.wrapping_add(*old);
        }
        out.write_all(sum)?;
    }
    Ok(())
}

/// The sum of these numbers of bytes. None is larger than a module may be.
fn sum(numbers: &[u64]) -> io::Result<usize> {
    let mut sum = 0_u64;
    for number in numbers {
        sum = sum.checked_add(*number).ok_or_else(damaged)?;
    }
    if sum > MAX_MODULE_BYTES {
        return Err(damaged());
    }
    index(sum)
}

fn index(number: u64) -> io::Result<usize> {
    usize::try_from(number).ok().ok_or_else(damaged)
}

/// Reads as many bytes as the buffer has.
fn fill(image: &mut impl Read, buffer: &mut [u8]) -> io::Result<()> {
    image.read_exact(buffer).map_err(|error| {
        if error.kind() == ErrorKind::UnexpectedEof {
            damaged()
        } else {
            error
        }
    })
}

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

    use super::super::changes::sorted;
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
        image(&sorted(&steps).unwrap())
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
        let reads: [(Unpack, _); 2] = [(|image, _| whole(image), &base), (changed, &module)];
        for (intact, (read, right)) in images.iter().zip(reads) {
            let places = HEAD_BYTES..intact.len();
            for place in places.clone().step_by(1 + places.len() / 500) {
                let mut broken = intact.clone();
                broken[place] ^= 1;
                match read(&broken, &base) {
                    // A bit that nothing depends on: the checksum is right.
                    Ok(made) => assert!(made == *right, "{place}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidData, "{place}"),
                }
                let error = read(&intact[..place], &base).map(drop).unwrap_err();
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
