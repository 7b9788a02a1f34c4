//! The uwsgi protocol's request packet, as nginx's `uwsgi_pass` sends it: four bytes of header,
//! then variables, each with its lengths before it. The body follows the packet, the reply is one
//! of HTTP.

use super::cgi::{self, Variable};
use super::{Head, Limits, Progress, Refusal, Span};

/// `modifier1`, two bytes of size, `modifier2`.
const HEADER: usize = 4;

/// A packet. Used again for the next one, with its buffers.
#[derive(Debug, Default)]
pub struct Packet {
    /// The request as a head of HTTP; the parsed head's places are in it.
    pub text: Vec<u8>,
    /// All variables in order, as places in the packet.
    pub variables: Vec<Variable>,
    /// Bytes of the packet.
    pub length: usize,
}

/// Parses the packet at the beginning of `bytes`, and its request into `head`. Its format bounds it
/// to 64 KiB.
pub fn parse_packet(
    bytes: &[u8],
    limits: &Limits,
    packet: &mut Packet,
    head: &mut Head,
) -> Result<Progress<()>, Refusal> {
    // The first modifier chooses what a uWSGI server does; 0 is a WSGI request. The second is for
    // others.
    match bytes.first() {
        None => return Ok(Progress::More),
        Some(0) => {}
        Some(_) => return Err(Refusal::Modifier),
    }
    let Some(size) = length_at(bytes, 1) else {
        return Ok(Progress::More);
    };
    let end = HEADER.saturating_add(size);
    let Some(whole) = bytes.get(..end) else {
        return Ok(Progress::More);
    };
    packet.length = end;
    packet.variables.clear();
    let mut at = HEADER;
    while at < end {
        let name = part(whole, at)?;
        let value = part(whole, name.1)?;
        at = value.1;
        packet.variables.push(Variable {
            name: name.0,
            value: value.0,
        });
    }
    cgi::translate(whole, &packet.variables, limits, &mut packet.text, head)?;
    Ok(Progress::Done(()))
}

/// Two bytes, the lower one first.
fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let two = bytes.get(at..at.saturating_add(2))?;
    let two = <[u8; 2]>::try_from(two).ok()?;
    Some(u16::from_le_bytes(two).into())
}

/// A name or a value, and where it ends.
fn part(whole: &[u8], at: usize) -> Result<(Span, usize), Refusal> {
    let start = at.saturating_add(2);
    let end = length_at(whole, at).map(|length| start.saturating_add(length));
    let end = end.filter(|end| *end <= whole.len());
    let end = end.ok_or(Refusal::Packet)?;
    Ok((Span::new(start, end), end))
}
