//! Lists of trusted peers: addresses, networks, or everyone.

use std::net::IpAddr;

use ipnet::IpNet;

use super::refusal::Cause;
use super::table::Shape;
use super::value::{Value, text_form};

/// A list of addresses and networks. Peers on unix sockets have no address; callers decide about
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    everyone: bool,
    networks: Vec<IpNet>,
}

impl AllowList {
    /// These networks.
    pub fn of(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            everyone: false,
            networks: networks.into_iter().collect(),
        }
    }

    /// Whether the list contains the peer. A dual-stack socket shows an IPv4 peer as
    /// `::ffff:127.0.0.1`; it is looked up as IPv4, too.
    pub fn allows(&self, peer: IpAddr) -> bool {
        let canonical = peer.to_canonical();
        self.everyone
            || self
                .networks
                .iter()
                .any(|net| net.contains(&canonical) || net.contains(&peer))
    }

    /// Whether it contains every peer.
    pub fn allows_all(&self) -> bool {
        self.everyone
    }
}

impl Value for AllowList {
    const NOUN: &'static str = "a list of IP addresses, networks or *";
    const VALUE_NAME: &'static str = "LIST";
    const SHAPE: Shape = Shape::Joined;

    fn parse(text: &str) -> Result<Self, Cause> {
        let mut list = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            if part == "*" {
                list.everyone = true;
            } else {
                list.networks.push(network(part)?);
            }
        }
        Ok(list)
    }

    fn show(&self) -> String {
        let everyone = self.everyone.then(|| "*".to_owned());
        let networks = self.networks.iter().map(|net| {
            if net.prefix_len() == net.max_prefix_len() {
                net.addr().to_string()
            } else {
                net.to_string()
            }
        });
        everyone
            .into_iter()
            .chain(networks)
            .collect::<Vec<_>>()
            .join(",")
    }
}

fn network(part: &str) -> Result<IpNet, Cause> {
    let wrong = |what: &str| {
        Cause::because(
            format!("has {what}: '{part}'"),
            "write addresses and networks with commas between them, 127.0.0.1,10.0.0.0/8,::1, or * for everyone",
        )
    };
    if let Ok(address) = part.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    if !part.contains('/') {
        return Err(wrong("something that is not an IP address"));
    }
    let net = part
        .parse::<IpNet>()
        .map_err(|_no_network| wrong("something that is not a network"))?;
    // 10.0.0.7/8 may mean 10.0.0.7 or 10.0.0.0/8: trust must not be guessed.
    if net.trunc() != net {
        let hint = format!(
            "the network is {}, the address is {}",
            net.trunc(),
            net.addr()
        );
        return Err(Cause::because(
            format!("has a network with bits of a host: '{part}'"),
            hint,
        ));
    }
    Ok(net)
}

text_form!(AllowList);
