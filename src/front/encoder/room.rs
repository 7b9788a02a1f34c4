//! Room for what an encoder puts out.

/// How much is written at a time, in bytes.
pub(crate) const PART_BYTES: usize = 16 * 1024;

/// Appends what `write` puts into the room that it gets: so many bytes, with what else it returns.
pub(crate) fn append<T>(out: &mut Vec<u8>, write: impl FnOnce(&mut [u8]) -> (usize, T)) -> T {
    let start = out.len();
    out.resize(start.saturating_add(PART_BYTES), 0);
    let (written, result) = write(out.get_mut(start..).unwrap_or_default());
    out.truncate(start.saturating_add(written));
    result
}
