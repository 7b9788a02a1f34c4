//! The environ key of a header field, and its meaning there (PEP 3333, "environ Variables"; RFC
//! 3875 section 4.1.18).

/// The meaning of a header field for the environ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Only `HTTP_…`.
    Plain,
    /// `Cookie`: several fields are joined by `; ` (RFC 6265 section 5.4).
    Cookie,
    /// The field of `secure_scheme_headers` at this index.
    Scheme(usize),
    /// The field of `forwarder_headers` at this index: it overrides an environ key if a trusted
    /// peer sends it.
    Forwarder(usize),
    /// The app does not see the field: its name contains an underscore, which the environ would
    /// confuse with a hyphen, or is the one by which a front tells of its client.
    Dropped,
}

impl Meaning {
    /// The separator between the values of a repeated field (RFC 9110 section 5.2).
    #[must_use]
    pub fn separator(self) -> &'static [u8] {
        match self {
            Self::Cookie => b"; ",
            Self::Plain | Self::Scheme(_) | Self::Forwarder(_) | Self::Dropped => b",",
        }
    }
}

/// The settings about header fields.
#[derive(Clone, Debug, Default)]
pub struct FieldRules {
    scheme: Vec<(String, String)>,
    forwarder: Vec<String>,
    underscores: bool,
}

impl FieldRules {
    /// The rules of these settings: `secure_scheme_headers` (a name, and the value that means
    /// https),
    /// `forwarder_headers` in upper case, and whether other names with an underscore are accepted
    /// (`header_map: dangerous`).
    #[must_use]
    pub fn new(scheme: &[(String, String)], forwarder: &[String], underscores: bool) -> Self {
        Self {
            scheme: scheme
                .iter()
                .map(|(name, value)| (name.to_uppercase(), value.clone()))
                .collect(),
            forwarder: forwarder.to_vec(),
            underscores,
        }
    }

    /// The meaning of the field of this name. `upper` is the name in upper case.
    #[must_use]
    pub fn meaning(&self, upper: &[u8]) -> Meaning {
        let is_it = |name: &String| name.as_bytes() == upper;
        if let Some(index) = self.forwarder.iter().position(is_it) {
            Meaning::Forwarder(index)
        } else if is_front(upper) || upper.contains(&b'_') && !self.underscores {
            Meaning::Dropped
        } else if let Some(index) = self.scheme.iter().position(|(name, _)| is_it(name)) {
            Meaning::Scheme(index)
        } else if upper == b"COOKIE" {
            Meaning::Cookie
        } else {
            Meaning::Plain
        }
    }

    /// Whether anybody may see the field of this name. `is_trusted`: a peer in
    /// `forwarded_allow_ips` has sent it.
    #[must_use]
    pub fn is_visible(&self, name: &[u8], is_trusted: bool) -> bool {
        match self.meaning(&name.to_ascii_uppercase()) {
            Meaning::Dropped => false,
            Meaning::Forwarder(_) => is_trusted,
            Meaning::Plain | Meaning::Cookie | Meaning::Scheme(_) => true,
        }
    }

    /// Whether this value of the field [`Meaning::Scheme`] says that the client uses https.
    #[must_use]
    pub fn is_https(&self, index: usize, value: &[u8]) -> bool {
        self.scheme
            .get(index)
            .is_some_and(|(_, https)| https.as_bytes() == value)
    }

    /// The environ key that the field [`Meaning::Forwarder`] overrides.
    #[must_use]
    pub fn forwarder(&self, index: usize) -> Option<&str> {
        self.forwarder.get(index).map(String::as_str)
    }

    /// Whether this is a name in `forwarder_headers`, ignoring case.
    #[must_use]
    pub fn is_forwarder(&self, name: &[u8]) -> bool {
        self.forwarder
            .iter()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The field in which a front tells of its client. Nobody else's counts, and no app sees it.
pub const FRONT_FIELD: &str = "Rcorn-Front";

/// Whether a name in upper case is that of [`FRONT_FIELD`], or has the same environ key.
fn is_front(upper: &[u8]) -> bool {
    matches!(upper, b"RCORN-FRONT" | b"RCORN_FRONT")
}

/// The environ key of a field. `upper` is its name in upper case.
#[must_use]
pub fn environ_key(upper: &[u8], meaning: Meaning) -> Vec<u8> {
    let mut key = match upper {
        b"CONTENT-TYPE" | b"CONTENT-LENGTH" => Vec::new(),
        _ if matches!(meaning, Meaning::Forwarder(_)) => Vec::new(),
        _ => b"HTTP_".to_vec(),
    };
    key.extend(
        upper
            .iter()
            .map(|byte| if *byte == b'-' { b'_' } else { *byte }),
    );
    key
}

/// A folded value as one line: each fold becomes a space (RFC 9112 section 5.2).
#[must_use]
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = value
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .collect();
    parts.join(&b' ')
}

/// `SERVER_NAME` and `SERVER_PORT` of a listener without them (a unix socket): those that the
/// client asked for.
#[must_use]
pub fn server_of_host(host: Option<&[u8]>, https: bool) -> (&[u8], &[u8]) {
    let host = host.unwrap_or(b"localhost");
    let colon = host.iter().rposition(|byte| *byte == b':');
    let split = colon.and_then(|at| {
        let (name, port) = host.split_at_checked(at)?;
        let port = port.strip_prefix(b":")?;
        (!port.is_empty() && port.iter().all(u8::is_ascii_digit)).then_some((name, port))
    });
    let (name, port) = split.unwrap_or((host, if https { b"443" } else { b"80" }));
    (if name.is_empty() { b"localhost" } else { name }, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(underscores: bool) -> FieldRules {
        let scheme = [("X-Forwarded-Proto".to_owned(), "https".to_owned())];
        let forwarder = ["SCRIPT_NAME".to_owned(), "REMOTE_USER".to_owned()];
        FieldRules::new(&scheme, &forwarder, underscores)
    }

    #[test]
    fn a_name_means_what_the_settings_say() {
        let strict = rules(false);
        for (name, meaning, key) in [
            ("ACCEPT", Meaning::Plain, "HTTP_ACCEPT"),
            ("X-ONE-TWO", Meaning::Plain, "HTTP_X_ONE_TWO"),
            ("CONTENT-TYPE", Meaning::Plain, "CONTENT_TYPE"),
            ("CONTENT-LENGTH", Meaning::Plain, "CONTENT_LENGTH"),
            ("COOKIE", Meaning::Cookie, "HTTP_COOKIE"),
            (
                "X-FORWARDED-PROTO",
                Meaning::Scheme(0),
                "HTTP_X_FORWARDED_PROTO",
            ),
            ("SCRIPT_NAME", Meaning::Forwarder(0), "SCRIPT_NAME"),
            ("REMOTE_USER", Meaning::Forwarder(1), "REMOTE_USER"),
            // Would be the twin of X-ONE-TWO.
            ("X_ONE-TWO", Meaning::Dropped, "HTTP_X_ONE_TWO"),
        ] {
            assert_eq!(strict.meaning(name.as_bytes()), meaning, "{name}");
            assert_eq!(
                environ_key(name.as_bytes(), meaning),
                key.as_bytes(),
                "{name}"
            );
        }
        assert!(strict.is_https(0, b"https") && !strict.is_https(0, b"http"));
        assert!(!strict.is_https(1, b"https"));
        assert!(strict.is_forwarder(b"Remote_User") && !strict.is_forwarder(b"Remote-User"));
        assert_eq!(rules(true).meaning(b"X_ONE"), Meaning::Plain);
        for rules in [strict, rules(true)] {
            for name in [FRONT_FIELD, "rcorn_front"] {
                let upper = name.to_ascii_uppercase();
                assert_eq!(rules.meaning(upper.as_bytes()), Meaning::Dropped);
                assert!(!rules.is_visible(name.as_bytes(), true));
            }
        }
    }

    #[test]
    fn folds_become_spaces() {
        assert_eq!(unfold(b"a\r\n  b\r\n\tc"), b"a b c");
        assert_eq!(unfold(b"plain"), b"plain");
    }

    #[test]
    fn a_unix_socket_is_named_as_the_client_asked_for_it() {
        type Case = (Option<&'static str>, bool, &'static str, &'static str);
        let cases: [Case; 7] = [
            (None, false, "localhost", "80"),
            (Some("example.org"), false, "example.org", "80"),
            (Some("example.org"), true, "example.org", "443"),
            (Some("example.org:8000"), true, "example.org", "8000"),
            (Some("[::1]"), false, "[::1]", "80"),
            (Some("[::1]:81"), false, "[::1]", "81"),
            (Some(":81"), false, "localhost", "81"),
        ];
        for (host, https, name, port) in cases {
            let found = server_of_host(host.map(str::as_bytes), https);
            assert_eq!(found, (name.as_bytes(), port.as_bytes()), "{host:?}");
        }
    }
}
