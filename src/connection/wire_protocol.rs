//! What is spoken on a connection.

use serde::{Deserialize, Serialize};

use rcorn_settings::Protocol;

/// What is spoken on a connection. The names are fixed: they travel between workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireProtocol {
    /// HTTP/1.1 and 1.0.
    Http,
    /// uwsgi.
    Uwsgi,
    /// HTTP/1.1 from a front of ours: each request begins with a field that tells of its client.
    Front,
}

impl WireProtocol {
    /// That of a listener. `is_inner`: only fronts connect to it.
    #[must_use]
    pub fn of(protocol: Protocol, is_inner: bool) -> Self {
        match (is_inner, protocol) {
            (true, _) => Self::Front,
            (false, Protocol::Http) => Self::Http,
            (false, Protocol::Uwsgi) => Self::Uwsgi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers of builds before fronts write the name of the setting.
    #[test]
    fn the_names_are_those_of_the_setting() {
        for protocol in [Protocol::Http, Protocol::Uwsgi] {
            let written = serde_json::to_string(&protocol).unwrap();
            let read: WireProtocol = serde_json::from_str(&written).unwrap();
            assert_eq!(read, WireProtocol::of(protocol, false));
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
    }

    #[test]
    fn an_inner_listener_has_fronts_for_peers() {
        let inner = WireProtocol::of(Protocol::Http, true);
        assert_eq!(inner, WireProtocol::Front);
    }
}
