//! What is installed, and the configurations that come with it, under the real programs.

mod bill;
mod container;
mod debian;
mod deploy;
mod deploy_tls;
mod kubernetes;
mod monitoring;
mod nginx_sites;
mod pip;
pub(crate) mod portable;
mod supervisor;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::support::ROOT;

pub(super) fn shipped(name: &str) -> String {
    let path = Path::new(ROOT).join("packaging").join(name);
    fs::read_to_string(path).unwrap()
}

/// The text with each of these replaced; all of them must occur.
pub(super) fn substituted(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (old, new) in pairs {
        assert!(text.contains(old), "{old} is not in\n{text}");
        text = text.replace(old, new);
    }
    text
}

/// Addresses that nobody listens on.
pub(super) fn free_addresses() -> [SocketAddr; 2] {
    let bound = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    bound.map(|listener| listener.local_addr().unwrap())
}
