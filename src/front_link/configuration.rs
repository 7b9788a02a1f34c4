//! How a front is to serve: what may change by a reload.

use serde::{Deserialize, Serialize};

use crate::base64;

/// All that a front can be told anew while it runs. It holds for new connections; open ones keep
/// what they began with, but for what concerns single requests ([`Limits`] of a request's head,
/// `hsts`, `server`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// TLS; `None` if no listener speaks it.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Limits on clients.
    #[serde(default)]
    pub limits: Limits,
    /// Limits on HTTP/2, and whether it is offered.
    #[serde(default)]
    pub http2: Http2Limits,
    /// Where listeners of [`ListenerKind::Redirect`](crate::ListenerKind::Redirect) send clients.
    #[serde(default)]
    pub redirect_https: RedirectHttps,
    /// Which responses are compressed; `None`: none.
    #[serde(default)]
    pub compress: Option<Compress>,
    /// The value of Strict-Transport-Security in responses over TLS (RFC 6797 section 6.1).
    #[serde(default)]
    pub hsts: Option<String>,
    /// The value of Server in the front's own pages; none without.
    #[serde(default)]
    pub server: Option<String>,
    /// The keys of session tickets, the newest first. All fronts share them, and a new one gets
    /// those of the one before. Without keys there are no tickets.
    #[serde(default)]
    pub ticket_keys: Vec<TicketKey>,
}

/// How the front speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The certificates. A client gets the first whose names fit the name that it asks for (SNI,
    /// RFC 6066 section 3), exactly rather than by a wildcard, and else the first of all.
    pub sites: Vec<TlsSite>,
    /// Whether clients are asked for a certificate.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
    /// Cipher suites in rustls's names, such as `TLS13_AES_128_GCM_SHA256` or
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, the preferred first. Empty: all that rustls has.
    #[serde(default)]
    pub ciphers: Vec<String>,
    /// The oldest version.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// The newest version; none: the newest there is.
    #[serde(default)]
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246)
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3 (RFC 8446)
    #[serde(rename = "1.3")]
    V13,
}

/// A certificate with its key. The contents were read by the arbiter; the names of the files are
/// for errors.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSite {
    /// The file of the certificate chain.
    pub certfile: String,
    /// The file of the private key.
    pub keyfile: String,
    /// The chain, the site's own certificate first, in PEM (RFC 7468).
    #[serde(with = "base64::bytes")]
    pub certificate: Vec<u8>,
    /// The private key in PEM: PKCS #8, PKCS #1 or SEC 1.
    #[serde(with = "base64::bytes")]
    pub key: Vec<u8>,
    /// The OCSP response to staple, in DER (RFC 6066 section 8).
    #[serde(default, with = "base64::optional_bytes")]
    pub ocsp: Option<Vec<u8>>,
}

/// Without the key.
impl std::fmt::Debug for TlsSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSite")
            .field("certfile", &self.certfile)
            .field("keyfile", &self.keyfile)
            .finish_non_exhaustive()
    }
}

/// Whether clients are asked for a certificate, and who may have signed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificates {
    /// Whether they are asked.
    pub mode: VerifyMode,
    /// The file of the authorities' certificates, for errors.
    #[serde(default)]
    pub ca_certs: String,
    /// Its contents, in PEM.
    #[serde(default, with = "base64::bytes")]
    pub certificates: Vec<u8>,
}

/// Whether clients need a certificate: `cert_reqs` of gunicorn, `verify_mode` of Python's `ssl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyMode {
    /// They are not asked for one.
    #[default]
    None,
    /// They are asked for one. A valid one is told to the app; an invalid one ends the handshake.
    Optional,
    /// The handshake fails without a valid one.
    Required,
}

/// A key of session tickets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// 32 random bytes.
    #[serde(with = "base64::bytes")]
    pub secret: Vec<u8>,
}

/// Without the secret.
impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketKey").finish_non_exhaustive()
    }
}

/// Limits on what clients take. Durations are in milliseconds; 0 means no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Connections at a time, over all listeners; 0: as many as half the limit of open files. More
    /// wait in the kernel's queue.
    pub connections: usize,
    /// From the accept to the end of the TLS handshake.
    pub handshake_ms: u64,
    /// From the first byte of a request to the end of its head.
    pub header_ms: u64,
    /// Between two parts of a request's body.
    pub body_ms: u64,
    /// Between two parts of a response that the client takes.
    pub write_ms: u64,
    /// Between two requests, and before the first.
    pub idle_ms: u64,
    /// How long to try when no worker takes a connection: then the answer is 503.
    pub connect_ms: u64,
    /// How long a connection to a worker is kept that nobody uses. Less than the workers keep it.
    pub inner_idle_ms: u64,
    /// `limit_request_line`
    pub request_line: usize,
    /// `limit_request_fields`
    pub fields: usize,
    /// `limit_request_field_size`
    pub field_size: usize,
    /// `permit_obsolete_folding`
    pub permit_obsolete_folding: bool,
    /// `permit_unconventional_http_method`
    pub permit_unconventional_http_method: bool,
    /// `permit_unconventional_http_version`
    pub permit_unconventional_http_version: bool,
    /// `casefold_http_method`
    pub casefold_http_method: bool,
    /// `header_map` is `refuse`.
    pub refuse_underscores: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 0,
            handshake_ms: 10_000,
            header_ms: 10_000,
            body_ms: 30_000,
            write_ms: 30_000,
            idle_ms: 15_000,
            connect_ms: 1_000,
            inner_idle_ms: 10_000,
            request_line: 4094,
            fields: 100,
            field_size: 8190,
            permit_obsolete_folding: false,
            permit_unconventional_http_method: false,
            permit_unconventional_http_version: false,
            casefold_http_method: false,
            refuse_underscores: false,
        }
    }
}

/// HTTP/2 (RFC 9113): whether it is offered, and limits on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http2Limits {
    /// It is offered by ALPN, and on plain listeners taken with prior knowledge.
    pub enabled: bool,
    /// Streams at a time on a connection: `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub concurrent_streams: u32,
    /// The size of a head as HTTP/2 counts it, 32 bytes a field included:
    /// `SETTINGS_MAX_HEADER_LIST_SIZE`.
    pub header_list_size: u32,
    /// How much of a body a client may send ahead, on a stream; on the connection it is four times
    /// as much.
    pub window: u32,
    /// Streams that a client may have reset on a connection and whose request has not ended yet.
    /// More end the connection (CVE-2023-44487).
    pub pending_resets: usize,
    /// Streams that the front may have to reset on a connection for a client's errors. More end the
    /// connection.
    pub error_resets: usize,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            enabled: true,
            concurrent_streams: 100,
            header_list_size: 64 * 1024,
            window: 256 * 1024,
            pending_resets: 20,
            error_resets: 100,
        }
    }
}

/// What listeners answer that only redirect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectHttps {
    /// The port to name; `None` is 443, which is not named.
    #[serde(default)]
    pub port: Option<u16>,
    /// The hosts to redirect to. Others get 421. Empty: all.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Which responses are compressed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compress {
    /// With what, the preferred first.
    #[serde(default)]
    pub codings: Vec<Coding>,
    /// Their media types, such as `application/json`, or `text/*` for all of a kind.
    pub types: Vec<String>,
    /// Those whose length is known and smaller are left alone, in bytes.
    pub min_bytes: u64,
    /// From 1, fast, to 9, small.
    pub level: u8,
}

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Its name in Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}
