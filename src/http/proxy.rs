//! The PROXY header, versions 1 and 2, at the beginning of a connection (`proxy-protocol.txt` of
//! `HAProxy`): a proxy that forwards bytes names its client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Progress, Refusal};

/// The signature of version 1.
const V1: &[u8] = b"PROXY ";
/// The signature of version 2.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Maximum length of a v1 header, in bytes with its line end.
const MAX_V1_BYTES: usize = 107;
/// Maximum length of a v2 header, in bytes. Addresses need at most 216, the rest is for extensions.
const MAX_V2_BYTES: usize = 4096;
/// The length of the fixed part of a v2 header, in bytes.
const V2_FIXED_BYTES: usize = 16;

/// The versions of the PROXY header that are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyVersions {
    /// Version 1, a line of text.
    pub v1: bool,
    /// Version 2, binary.
    pub v2: bool,
}

/// Both ends of the connection that the proxy forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxiedAddresses {
    /// The client.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub proxy: SocketAddr,
}

/// A PROXY header, or the absence of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preface {
    /// The length of the header, in bytes; 0 if the connection begins with something else.
    pub length: usize,
    /// The addresses; `None` if the header has none: the connection is the proxy's own (LOCAL), or
    /// its client has no IP address (UNKNOWN, UNSPEC, a unix socket).
    pub addresses: Option<ProxiedAddresses>,
}

/// Parses the PROXY header at the beginning of a connection, if there is one. `allowed`: the peer
/// may send one.
///
/// # Errors
///
/// The header is malformed or too long, or the peer may not send one.
pub fn parse_preface(
    bytes: &[u8],
    versions: ProxyVersions,
    allowed: bool,
) -> Result<Progress<Preface>, Refusal> {
    type Parser = fn(&[u8]) -> Result<Progress<Preface>, Refusal>;
    let forms: [(bool, &[u8], Parser); 2] =
        [(versions.v1, V1, parse_v1), (versions.v2, V2, parse_v2)];
    for (wanted, signature, parse) in forms {
        if wanted && bytes.starts_with(signature) {
            return if allowed {
                parse(bytes)
            } else {
                Err(Refusal::ProxyPeer)
            };
        }
        if wanted && signature.starts_with(bytes) {
            return Ok(Progress::More);
        }
    }
    Ok(Progress::Done(Preface::default()))
}

/// Parses a v1 header: `PROXY TCP4 192.0.2.1 192.0.2.2 5000 80`, and CR LF.
fn parse_v1(bytes: &[u8]) -> Result<Progress<Preface>, Refusal> {
    let bounded = bytes.get(..MAX_V1_BYTES).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', bounded) else {
        return if bounded.len() == MAX_V1_BYTES {
            Err(Refusal::ProxyTooLong)
        } else {
            Ok(Progress::More)
        };
    };
    let line = bounded
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .and_then(|line| str::from_utf8(line).ok())
        .ok_or(Refusal::ProxyHeader)?;
    let words: Vec<&str> = line.split(' ').collect();
    let addresses = match words.as_slice() {
        // What follows has no meaning (section 2.1).
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family @ ("TCP4" | "TCP6"), client, proxy, from, to] => {
            let end = |address: &str, port: &str| -> Option<SocketAddr> {
                let ip: IpAddr = if *family == "TCP4" {
                    address.parse::<Ipv4Addr>().ok()?.into()
                } else {
                    address.parse::<Ipv6Addr>().ok()?.into()
                };
                Some(SocketAddr::new(ip, port_of(port)?))
            };
            let ends = end(client, from).zip(end(proxy, to));
            let (client, proxy) = ends.ok_or(Refusal::ProxyHeader)?;
            Some(ProxiedAddresses { client, proxy })
        }
        _ => return Err(Refusal::ProxyHeader),
    };
    Ok(Progress::Done(Preface {
        length: end + 1,
        addresses,
    }))
}

/// A port: digits without a leading zero, which some parsers would read as octal.
fn port_of(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| plain)?;
    (text == "0" || !text.starts_with('0')).then_some(port)
}

/// Parses a v2 header.
fn parse_v2(bytes: &[u8]) -> Result<Progress<Preface>, Refusal> {
    // Version and command, then family and transport: checked as soon as they arrive.
    let kinds = bytes.get(V2.len()..).unwrap_or(&[]);
    let is_local = match kinds.first() {
        None => return Ok(Progress::More),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Refusal::ProxyHeader),
    };
    let family = match kinds.get(1).copied() {
        None => return Ok(Progress::More),
        Some(family) if family >> 4 <= 3 && family & 0x0f <= 2 => family,
        Some(_) => return Err(Refusal::ProxyHeader),
    };
    let Some(Ok(length)) = kinds.get(2..4).map(<[u8; 2]>::try_from) else {
        return Ok(Progress::More);
    };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes(length));
    if length > MAX_V2_BYTES {
        return Err(Refusal::ProxyTooLong);
    }
    let Some(rest) = bytes.get(V2_FIXED_BYTES..length) else {
        return Ok(Progress::More);
    };
    let addresses = match family {
        _ if is_local => None,
        0x11 => Some(ends::<4>(rest)?),
        0x21 => Some(ends::<16>(rest)?),
        // A family or transport that this connection cannot have: the peer stays the client, as in
        // `HAProxy`.
        _ => None,
    };
    Ok(Progress::Done(Preface { length, addresses }))
}

/// Two addresses of `N` bytes and two ports. Extensions may follow.
fn ends<const N: usize>(bytes: &[u8]) -> Result<ProxiedAddresses, Refusal>
where
    IpAddr: From<[u8; N]>,
{
    let parts = || {
        let (client, rest) = bytes.split_first_chunk::<N>()?;
        let (proxy, rest) = rest.split_first_chunk::<N>()?;
        let (from, rest) = rest.split_first_chunk::<2>()?;
        let (to, _extensions) = rest.split_first_chunk::<2>()?;
        let end = |ip: [u8; N], port: [u8; 2]| SocketAddr::new(ip.into(), u16::from_be_bytes(port));
        Some(ProxiedAddresses {
            client: end(*client, *from),
            proxy: end(*proxy, *to),
        })
    };
    parts().ok_or(Refusal::ProxyHeader)
}
