//! The settings as a front takes them.

use std::time::Duration;

use rcorn_front_link::{
    Coding, Compress, Configuration, Http2Limits, Limits, RedirectHttps, TicketKey, Tls,
};
use rcorn_settings::{Address, HeaderMap, Seconds, ServerHeader, Settings, Size};

/// The longest request line where `limit_request_line` is 0, as workers have it.
const MAX_REQUEST_LINE_BYTES: usize = 1024 * 1024;
/// The most fields where `limit_request_fields` is 0.
const MAX_FIELDS: usize = 32_768;
/// The longest field where `limit_request_field_size` is 0.
const DEFAULT_FIELD_BYTES: usize = 8190;
/// How long a connection to a worker is kept that nobody uses, at most.
const MAX_INNER_IDLE: Duration = Duration::from_secs(10);
/// How long an idle client is kept where `keepalive` is 0: HTTP/2 has no other way to be polite.
const LEAST_IDLE: Duration = Duration::from_secs(1);
/// The highest level of gzip.
const MAX_LEVEL: u8 = 9;
/// The port of `https`, which URLs do not name.
const HTTPS_PORT: u16 = 443;

/// How fronts are to serve by these settings.
pub(super) fn configuration(settings: &Settings, tls: Tls, keys: &[TicketKey]) -> Configuration {
    Configuration {
        tls: Some(tls).filter(|tls| !tls.sites.is_empty()),
        limits: limits(settings),
        http2: Http2Limits {
            enabled: settings.http2,
            concurrent_streams: settings.http2_max_concurrent_streams,
            header_list_size: settings.http2_max_header_list_size,
            window: settings.http2_initial_window_size,
            ..Http2Limits::default()
        },
        redirect_https: RedirectHttps {
            port: https_port(settings).filter(|port| *port != HTTPS_PORT),
            hosts: Vec::new(),
        },
        compress: compress(settings),
        hsts: settings.hsts.clone(),
        server: match &settings.server_header {
            ServerHeader::Off => None,
            ServerHeader::Text(text) => Some(text.clone()),
        },
        ticket_keys: keys.to_vec(),
    }
}

fn compress(settings: &Settings) -> Option<Compress> {
    let codings = settings
        .compress
        .codings()
        .iter()
        .map(|coding| match coding {
            rcorn_settings::Coding::Zstd => Coding::Zstd,
            rcorn_settings::Coding::Br => Coding::Br,
            rcorn_settings::Coding::Gzip => Coding::Gzip,
        });
    (!settings.compress.is_off()).then(|| Compress {
        codings: codings.collect(),
        types: settings.compress_types.clone(),
        min_bytes: settings.compress_min_size.bytes(),
        level: u8::try_from(settings.compress_level).unwrap_or(MAX_LEVEL),
    })
}

/// The port of the first address with TLS.
fn https_port(settings: &Settings) -> Option<u16> {
    let mut all = settings.bind.iter().filter(|address| address.is_https());
    all.find_map(|address| match address.socket() {
        Address::Tcp { port, .. } => Some(*port),
        Address::Unix(_)
        | Address::Abstract(_)
        | Address::Fd(_)
        | Address::Uwsgi(_)
        | Address::Https(_) => None,
    })
}

fn limits(settings: &Settings) -> Limits {
    let keepalive = settings.keepalive.duration();
    let inner_idle = keepalive.div_f64(2.0).min(MAX_INNER_IDLE);
    Limits {
        handshake_ms: milliseconds(settings.header_timeout),
        header_ms: milliseconds(settings.header_timeout),
        body_ms: milliseconds(settings.body_timeout),
        write_ms: milliseconds(settings.write_timeout),
        idle_ms: milliseconds(keepalive.max(LEAST_IDLE).into()),
        inner_idle_ms: milliseconds(inner_idle.into()).max(1),
        request_line: or(settings.limit_request_line, MAX_REQUEST_LINE_BYTES),
        fields: match settings.limit_request_fields {
            0 => MAX_FIELDS,
            fields => usize::try_from(fields).unwrap_or(usize::MAX),
        },
        field_size: or(settings.limit_request_field_size, DEFAULT_FIELD_BYTES),
        permit_obsolete_folding: settings.permit_obsolete_folding,
        permit_unconventional_http_method: settings.permit_unconventional_http_method,
        permit_unconventional_http_version: settings.permit_unconventional_http_version,
        casefold_http_method: settings.casefold_http_method,
        refuse_underscores: settings.header_map == HeaderMap::Refuse,
        ..Limits::default()
    }
}

fn milliseconds(time: Seconds) -> u64 {
    u64::try_from(time.duration().as_millis()).unwrap_or(u64::MAX)
}

/// A size, of which 0 means this one.
fn or(size: Size, otherwise: usize) -> usize {
    match usize::try_from(size.bytes()).unwrap_or(usize::MAX) {
        0 => otherwise,
        size => size,
    }
}

#[cfg(test)]
mod tests {
    use rcorn_settings::Value;

    use super::*;

    #[test]
    fn limits_are_those_of_workers() {
        let settings = Settings {
            limit_request_line: Size::new(0),
            limit_request_fields: 0,
            keepalive: Seconds::new(0),
            ..Settings::default()
        };
        let of = limits(&settings);
        assert_eq!((of.request_line, of.fields), (1024 * 1024, 32_768));
        assert_eq!((of.idle_ms, of.inner_idle_ms), (1000, 1));
        let of = limits(&Settings::default());
        assert_eq!(of.field_size, 8190);
        // Workers keep it for longer.
        assert_eq!((of.idle_ms, of.inner_idle_ms), (75_000, 10_000));
    }

    #[test]
    fn a_redirection_names_a_port_that_is_not_the_usual_one() {
        let port = |bind: &[&str]| {
            let bind = bind.iter().map(|text| Address::parse(text).ok().unwrap());
            let settings = Settings {
                bind: bind.collect(),
                ..Settings::default()
            };
            configuration(&settings, Tls::default(), &[])
                .redirect_https
                .port
        };
        assert_eq!(port(&[":80", "https://:443"]), None);
        assert_eq!(port(&[":80", "https://:8443"]), Some(8443));
        assert_eq!(port(&["https://fd://3"]), None);
    }
}
