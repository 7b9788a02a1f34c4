//! Refusals: each has a name, a status, and a text for the log and the client.

use core::fmt;

/// Why a request is refused. The connection is closed after it, because nothing that follows can be
/// trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The first byte is not text, so this is not HTTP.
    NotHttp,
    /// A line ends with a bare LF, or contains a CR (RFC 9112 section 2.2).
    LineEnd,
    /// The request line does not consist of three parts separated by one space (RFC 9112 section
    /// 3).
    RequestLine,
    /// The request line is longer than `limit_request_line`.
    RequestLineTooLong,
    /// The method contains bytes, or has a length, that methods do not have.
    Method,
    /// The request target contains invalid bytes, or has none of the forms of RFC 9112 section 3.2.
    Target,
    /// The method is CONNECT, which is for proxies.
    Connect,
    /// The version is not `HTTP/`, a digit, a point and a digit (RFC 9112 section 2.3).
    VersionForm,
    /// The version is not supported.
    Version,
    /// There are more fields than `limit_request_fields`.
    TooManyFields,
    /// A field is longer than `limit_request_field_size`.
    FieldTooLong,
    /// A field line has no colon, or its name is not a token, for example because a space is before
    /// the colon (RFC 9112 section 5.1).
    FieldName,
    /// A field name contains an underscore, and `header_map` is `refuse`.
    Underscore,
    /// A field value contains control characters (RFC 9110 section 5.5).
    FieldValue,
    /// A field line is folded (RFC 9112 section 5.2).
    Folded,
    /// Host is missing (RFC 9112 section 3.2).
    NoHost,
    /// There are several Host fields (RFC 9112 section 3.2).
    ManyHosts,
    /// The value of Host is not a host with an optional port.
    Host,
    /// The field of this name, of which only one is allowed, was sent twice.
    Twice(&'static str),
    /// Content-Length is not a number, or too large (RFC 9110 section 8.6).
    Length,
    /// There are both Content-Length and Transfer-Encoding (RFC 9112 section 6.3).
    LengthAndCoding,
    /// The name of a field with an underscore could be taken for a framing field.
    FramingTwin,
    /// Transfer-Encoding is not exactly `chunked` (RFC 9112 section 6.3).
    Coding,
    /// Transfer-Encoding names a coding that is not supported (RFC 9112 section 6.1).
    UnknownCoding,
    /// There is a Transfer-Encoding in an HTTP/1.0 request (RFC 9112 section 6.1).
    CodingInHttp10,
    /// Expect is not `100-continue` (RFC 9110 section 10.1.1).
    Expectation,
    /// Two forwarding fields name different schemes.
    Scheme,
    /// The size of a chunk is not hexadecimal, or too large (RFC 9112 section 7.1).
    ChunkSize,
    /// A chunk extension is malformed, or its line is too long (RFC 9112 section 7.1.1).
    ChunkExtension,
    /// The data of a chunk is not followed by CR LF (RFC 9112 section 7.1).
    ChunkEnd,
    /// A trailer field is one that must not be in a trailer section (RFC 9110 section 6.5.1).
    TrailerField,
    /// The first byte is not that of a uwsgi request.
    Modifier,
    /// The parts of a uwsgi packet do not fill it.
    Packet,
    /// The name of a uwsgi variable is empty, contains control characters, or is reserved for the
    /// server.
    VariableName,
    /// The value of a uwsgi variable contains a NUL or a line end.
    VariableValue,
    /// The peer is not in `uwsgi_allow_ips`.
    UwsgiPeer,
    /// A PROXY header is malformed.
    ProxyHeader,
    /// A PROXY header is longer than allowed.
    ProxyTooLong,
    /// The peer is not in `proxy_allow_ips`.
    ProxyPeer,
    /// What a front says of its client is missing or malformed.
    FrontFacts,
}

impl Refusal {
    /// The status code of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::RequestLineTooLong => 414,
            Self::TooManyFields | Self::FieldTooLong => 431,
            Self::Version => 505,
            Self::UnknownCoding | Self::Connect => 501,
            Self::Expectation => 417,
            Self::UwsgiPeer | Self::ProxyPeer => 403,
            Self::NotHttp
            | Self::LineEnd
            | Self::RequestLine
            | Self::Method
            | Self::Target
            | Self::VersionForm
            | Self::FieldName
            | Self::Underscore
            | Self::FieldValue
            | Self::Folded
            | Self::NoHost
            | Self::ManyHosts
            | Self::Host
            | Self::Twice(_)
            | Self::Length
            | Self::LengthAndCoding
            | Self::FramingTwin
            | Self::Coding
            | Self::CodingInHttp10
            | Self::Scheme
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkEnd
            | Self::TrailerField
            | Self::Modifier
            | Self::Packet
            | Self::VariableName
            | Self::VariableValue
            | Self::ProxyHeader
            | Self::ProxyTooLong
            | Self::FrontFacts => 400,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "this is not HTTP",
            Self::LineEnd => "a line does not end with CR LF",
            Self::RequestLine => "the request line is not 'METHOD target HTTP/1.1'",
            Self::RequestLineTooLong => "the request line is too long (limit_request_line)",
            Self::Method => "the method is malformed",
            Self::Target => "the request target is malformed",
            Self::Connect => "CONNECT is not served here",
            Self::VersionForm => "the HTTP version is malformed",
            Self::Version => "the HTTP version is not supported",
            Self::TooManyFields => "there are too many header fields (limit_request_fields)",
            Self::FieldTooLong => "a header field is too long (limit_request_field_size)",
            Self::FieldName => "a header field's name is malformed",
            Self::Underscore => "a header field's name has an underscore (header_map)",
            Self::FieldValue => "a header field's value has control characters",
            Self::Folded => "a header field is folded over several lines (permit_obsolete_folding)",
            Self::NoHost => "there is no Host header field (require_host)",
            Self::ManyHosts => "there are several Host header fields",
            Self::Host => "the Host header field is malformed",
            Self::Twice(name) => return write!(f, "the header field {name} came twice"),
            Self::Length => "the Content-Length is not a number of bytes",
            Self::LengthAndCoding => "there are both Content-Length and Transfer-Encoding",
            Self::FramingTwin => {
                "a header field is spelled like one of framing, with an underscore"
            }
            Self::Coding => "the Transfer-Encoding is not exactly 'chunked'",
            Self::UnknownCoding => "the Transfer-Encoding is not supported",
            Self::CodingInHttp10 => "there is a Transfer-Encoding in an HTTP/1.0 request",
            Self::Expectation => "the Expect header field is not '100-continue'",
            Self::Scheme => "the forwarding header fields disagree about http or https",
            Self::ChunkSize => "a chunk's size is malformed",
            Self::ChunkExtension => "a chunk's extension is malformed or too long",
            Self::ChunkEnd => "a chunk's data is not followed by CR LF",
            Self::TrailerField => "a trailer field is about framing, routing or authentication",
            Self::Modifier => "this is not a uwsgi request (modifier1 is not 0)",
            Self::Packet => "the uwsgi packet is malformed",
            Self::VariableName => {
                "a uwsgi variable's name is empty, malformed, or the server's own (wsgi., rcorn.)"
            }
            Self::VariableValue => "a uwsgi variable's value has a NUL or a line end",
            Self::UwsgiPeer => "the peer may not speak uwsgi (uwsgi_allow_ips)",
            Self::ProxyHeader => "the PROXY header is malformed",
            Self::ProxyTooLong => "the PROXY header is too long",
            Self::ProxyPeer => "the peer may not send a PROXY header (proxy_allow_ips)",
            Self::FrontFacts => "what the front says of its client is missing or malformed",
        })
    }
}
