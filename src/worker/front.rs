//! What may come before or instead of a request of HTTP: a PROXY header at the beginning of a connection, and the
//! packets of uwsgi.

use pyo3::prelude::*;

use rcorn_http::{Progress, ProxyVersions, Refusal, parse_packet, parse_preface};
use rcorn_settings::ProxyProtocol;
use rcorn_wsgi::variables::Variables;

use super::connection::{Connection, Waiting};
use super::desk::Desk;
use super::serve::{Request, Step};
use super::turn::Next;

impl Desk<'_> {
    /// Takes notice of a PROXY header at the beginning of a connection, or that there is none, and gives its length.
    pub(super) fn introduce(
        &self,
        connection: &mut Connection,
        bytes: &[u8],
    ) -> Result<usize, Next> {
        let versions = match self.settings.proxy_protocol {
            ProxyProtocol::Off => ProxyVersions::default(),
            ProxyProtocol::V1 => ProxyVersions {
                v1: true,
                v2: false,
            },
            ProxyProtocol::V2 => ProxyVersions {
                v1: false,
                v2: true,
            },
            ProxyProtocol::Auto => ProxyVersions { v1: true, v2: true },
        };
        let allowed = connection.is_on(&self.settings.proxy_allow_ips);
        match parse_preface(bytes, versions, allowed) {
            Ok(Progress::Done(preface)) => {
                connection.passport.may_be_proxied = false;
                connection.introduce(preface.passage);
                Ok(preface.length)
            }
            Ok(Progress::More) => {
                connection.buffer = bytes.to_vec();
                Err(Next::Park(Waiting::Head))
            }
            Err(refusal) => {
                self.refuse(connection, &refusal);
                Err(Next::Close)
            }
        }
    }

    /// Serves the one request of a uwsgi connection, once all of it is here.
    pub(super) fn serve_packet(
        &mut self,
        py: Python<'_>,
        connection: &mut Connection,
        bytes: &[u8],
    ) -> Next {
        if bytes.is_empty() {
            connection.buffer = Vec::new();
            return Next::Park(Waiting::FirstByte);
        }
        if !connection.is_on(&self.settings.uwsgi_allow_ips) {
            self.refuse(connection, &Refusal::UwsgiPeer);
            return Next::Close;
        }
        let mut head = std::mem::take(&mut self.head);
        let mut packet = std::mem::take(&mut self.packet);
        let parsed = parse_packet(bytes, &self.limits, &mut packet, &mut head);
        let step = match parsed {
            Ok(Progress::More) => Step::Wait(Waiting::Head),
            Ok(Progress::Done(())) => {
                let variables = Variables {
                    bytes,
                    list: &packet.variables,
                };
                let peer = match variables.get(b"REMOTE_ADDR") {
                    Some(address) => String::from_utf8_lossy(address).into(),
                    None => connection.peer_address(),
                };
                let request = Request {
                    head: &head,
                    text: &packet.text,
                    length: packet.length,
                    behind: bytes.get(packet.length..).unwrap_or(&[]),
                    variables: Some(variables),
                    peer: &peer,
                };
                self.one(py, connection, request)
            }
            Err(refusal) => {
                self.refuse(connection, &refusal);
                Step::Leave(Next::Close)
            }
        };
        self.head = head;
        self.packet = packet;
        match step {
            Step::Wait(waiting) => {
                connection.buffer = bytes.to_vec();
                Next::Park(waiting)
            }
            Step::Leave(next) => next,
            // Not possible: such a head does not let the connection go on.
            Step::Served(_) | Step::ServedStream(_) => Next::Close,
        }
    }
}
