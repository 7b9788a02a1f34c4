//! Every "no" to a request, with its status and the words for the log and the client.

use core::fmt;

/// Why a request is refused. The connection is closed after it: nothing behind it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A line ends with LF alone, or has a CR in its middle.
    LineEnd,
    /// The request line does not have three parts separated by one space.
    RequestLine,
    /// The request line is longer than the limit.
    RequestLineTooLong,
    /// The method has bytes or a length that methods do not have.
    Method,
    /// The target has bytes that a target cannot have, or a form that is none of RFC 9112's.
    Target,
    /// CONNECT: we are no proxy.
    Connect,
    /// The version is not `HTTP/` and two digits.
    VersionForm,
    /// The version is none that we speak.
    Version,
    /// There are more fields than the limit.
    TooManyFields,
    /// A field is longer than the limit.
    FieldTooLong,
    /// A field line has no colon, or a name that is no token (also: a space before the colon).
    FieldName,
    /// A field's name has an underscore.
    Underscore,
    /// A field's value has control bytes.
    FieldValue,
    /// A field line is folded.
    Folded,
    /// There is no Host.
    NoHost,
    /// There are several Hosts.
    ManyHosts,
    /// The Host cannot be one.
    Host,
    /// A field that must come once came again.
    Twice(&'static str),
    /// The Content-Length is not a number, or too large a one.
    Length,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndCoding,
    /// A field that another parser could take for one of framing.
    FramingTwin,
    /// Transfer-Encoding is not exactly `chunked`.
    Coding,
    /// Transfer-Encoding names a coding that we do not know.
    UnknownCoding,
    /// Transfer-Encoding in an HTTP/1.0 request.
    CodingInHttp10,
    /// Expect is not `100-continue`.
    Expectation,
    /// Two forwarding fields name different schemes.
    Scheme,
    /// A chunk's size is not hexadecimal, or too large.
    ChunkSize,
    /// A chunk's line is too long, or has bytes it cannot have.
    ChunkExtension,
    /// There is no CRLF after a chunk's data.
    ChunkEnd,
    /// The first byte is not that of a uwsgi request.
    Modifier,
    /// The parts of a uwsgi packet do not fill it.
    Packet,
    /// A variable has no name, one with control bytes, or one that is the server's own.
    VariableName,
    /// A variable's value has a NUL or a line end.
    VariableValue,
    /// The peer is not among those that may speak uwsgi.
    UwsgiPeer,
    /// A PROXY header is malformed.
    ProxyHeader,
    /// A PROXY header is longer than any can be.
    ProxyTooLong,
    /// The peer is not among those that may send a PROXY header.
    ProxyPeer,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::RequestLineTooLong => 414,
            Self::TooManyFields | Self::FieldTooLong => 431,
            Self::Version => 505,
            Self::UnknownCoding | Self::Connect => 501,
            Self::Expectation => 417,
            Self::UwsgiPeer | Self::ProxyPeer => 403,
            Self::LineEnd
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
            | Self::Modifier
            | Self::Packet
            | Self::VariableName
            | Self::VariableValue
            | Self::ProxyHeader
            | Self::ProxyTooLong => 400,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
            Self::NoHost => "there is no Host header field",
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
        })
    }
}
