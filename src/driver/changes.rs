//! What makes one native module of another, as it is written: `build.rs` does it, and tests.
//!
//! The steps of bsdiff, as its crate writes them, mix four kinds of bytes. Each kind for itself can
//! be compressed to less: 12 % less together. So what is written begins with the number of steps
//! (64 bits, little-endian). Then come three numbers of each step, first those of all steps of the
//! first kind: how many bytes are similar; how many follow that are new; how many of the base are
//! skipped then, shifted by one bit, the lowest of which says that the step goes back. They are in
//! the form of LEB128. Then come the new bytes of all steps, then the differences of all that are
//! similar.

/// The sign in the third number of a step.
const SIGN: u64 = 1 << 63;

/// Writes the steps of bsdiff anew; `None`: they are not such steps.
pub(super) fn sorted(steps: &[u8]) -> Option<Vec<u8>> {
    let mut rest = steps;
    let mut count = 0_u64;
    let [mut similar, mut new, mut skips] = [const { Vec::new() }; 3];
    let [mut added, mut differences] = [const { Vec::new() }; 2];
    while !rest.is_empty() {
        let numbers = [take_number(&mut rest)?, take_number(&mut rest)?];
        let skip = take_number(&mut rest)?;
        for (column, number) in [&mut similar, &mut new].into_iter().zip(numbers) {
            push_number(column, number);
        }
        push_number(&mut skips, ((skip & !SIGN) << 1) | (skip >> 63));
        for (all, number) in [&mut differences, &mut added].into_iter().zip(numbers) {
            let (here, behind) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            all.extend_from_slice(here);
            rest = behind;
        }
        count = count.checked_add(1)?;
    }
    let count = count.to_le_bytes();
    Some([&count[..], &similar, &new, &skips, &added, &differences].concat())
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u64::from_le_bytes(*number))
}

fn push_number(column: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        let [low, ..] = number.to_le_bytes();
        column.push(low | 0x80);
        number >>= 7;
    }
    let [low, ..] = number.to_le_bytes();
    column.push(low);
}
