//! The request packet of the uwsgi protocol, as nginx's `uwsgi_pass` sends it: a header of four
//! bytes, then variables, each part preceded by its length. The body follows the packet. The
//! response is one of HTTP.

use super::cgi::{self, Variable};
use super::{Head, Limits, Progress, Refusal, Span};

/// The length of the header, in bytes: `modifier1`, two bytes of size, `modifier2`.
const HEADER_BYTES: usize = 4;
/// The length of a length, in bytes.
const LENGTH_BYTES: usize = 2;

/// A parsed packet. It is reused for the next one, together with its buffers.
#[derive(Debug, Default)]
pub struct Packet {
    /// The request as a head of HTTP, of which the spans of the parsed head are parts.
    pub text: Vec<u8>,
    /// The variables in the order in which they were sent, as parts of the packet.
    pub variables: Vec<Variable>,
    /// The length of the packet, in bytes.
    pub length: usize,
}

/// Parses the packet at the beginning of `bytes`, and its request into `head`. The format limits a
/// packet to 64 KiB.
///
/// # Errors
///
/// The request must be refused. `packet` and `head` have no meaning then.
pub fn parse_packet(
    bytes: &[u8],
    limits: &Limits,
    packet: &mut Packet,
    head: &mut Head,
) -> Result<Progress<()>, Refusal> {
    packet.variables.clear();
    // modifier1 selects the plugin of a uWSGI server; 0 is a WSGI request, which has no use for
    // modifier2.
    match bytes.first() {
        None => return Ok(Progress::More),
        Some(0) => {}
        Some(_) => return Err(Refusal::Modifier),
    }
    let Some(size) = length_at(bytes, 1) else {
        return Ok(Progress::More);
    };
    let end = HEADER_BYTES + size;
    let Some(whole) = bytes.get(..end) else {
        return Ok(Progress::More);
    };
    packet.length = end;
    let mut at = HEADER_BYTES;
    while at < end {
        let (name, name_end) = part(whole, at)?;
        let (value, value_end) = part(whole, name_end)?;
        at = value_end;
        packet.variables.push(Variable { name, value });
    }
    cgi::translate(whole, &packet.variables, limits, &mut packet.text, head)?;
    Ok(Progress::Done(()))
}

/// The length at offset `at`: two bytes, the lower one first.
fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..)?.first_chunk::<LENGTH_BYTES>()?;
    Some(u16::from_le_bytes(*length).into())
}

/// The name or value whose length is at offset `at`, and its end.
fn part(whole: &[u8], at: usize) -> Result<(Span, usize), Refusal> {
    let start = at + LENGTH_BYTES;
    let length = length_at(whole, at).ok_or(Refusal::Packet)?;
    let end = start + length;
    if end > whole.len() {
        return Err(Refusal::Packet);
    }
    Ok((Span::new(start, end), end))
}
